"""A generative adversarial network on 25 Gaussians, without and with the information term.

The generator reads noise and a code c; with the term it maximises I(G([z, c]); c) as well, whose
gradient is clipped to the length of the adversarial one (Belghazi et al. 2018, section 5.1). The
code is one of 25 categories, which tells the number of modes; with ``--code uniform`` it is two
numbers in [-1, 1], which tell nothing. Both generators get the code.

    python examples/gan_25_gaussians.py [--code uniform] [--beta 1] [--seeds 0 1 2] [--steps 3000]
"""

from __future__ import annotations

from collections.abc import Sequence

import gaussians25
from common import finish, options, parsed, seeded
from gan import Result, add_options, category_code, draw, measure, uniform_code

CODES = {"categories": category_code(25), "uniform": uniform_code(2)}


def main(given: Sequence[str] | None = None) -> Result:
    """The example from its command line."""
    parser = options(__doc__, "gan_25_gaussians", seeds=range(3), steps=3000)
    parser.add_argument("--code", choices=CODES, default="categories", help="what c is")
    add_options(parser)
    arguments = parsed(parser, given)
    parts = gaussians25.MODES
    result = measure(
        arguments, gaussians25.sample, CODES[arguments.code], gaussians25.quality, parts
    )
    with seeded(0):
        data = gaussians25.sample(2500)
    finish(result.summary(), draw(result, data, "25 Gaussians", gaussians25.LIMIT), arguments)
    return result


if __name__ == "__main__":
    main()

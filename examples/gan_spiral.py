"""A generative adversarial network on a spiral, without and with the information term.

The generator reads noise and a code c, one number in [-1, 1]; with the term it maximises
I(G([z, c]); c) as well, whose gradient is clipped to the length of the adversarial one (Belghazi et
al. 2018, section 5.1). Both generators get the code.

    python examples/gan_spiral.py [--beta 1] [--seeds 0 1 2] [--steps 1200]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from common import finish, options, parsed, seeded
from gan import Quality, Result, add_options, draw, measure, uniform_code
from torch import Tensor

TURNS, OUTER, DEVIATION = 1.5, 2.0, 0.02
PIECES, RESOLUTION = 50, 40
RADIUS = 3 * DEVIATION


def curve(place: Tensor) -> Tensor:
    """``(n, 2)`` points of the spiral; for places uniform in [0, 1] nearly uniform in length."""
    angle = 2 * math.pi * TURNS * place.sqrt()
    radius = OUTER * place.sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def sample(n: int) -> Tensor:
    """``(n, 2)`` from torch's global generator."""
    return curve(torch.rand(n)) + DEVIATION * torch.randn(n, 2)


def quality(samples: Tensor) -> Quality:
    """Near is within three standard deviations; parts are 50 pieces that the data visit equally."""
    points = curve((torch.arange(PIECES * RESOLUTION) + 0.5) / (PIECES * RESOLUTION))
    distance, nearest = torch.cdist(samples, points).min(dim=1)
    return Quality.of(nearest // RESOLUTION, distance, PIECES, RADIUS)


def main(given: Sequence[str] | None = None) -> Result:
    """The example from its command line."""
    parser = options(__doc__, "gan_spiral", seeds=range(3), steps=1200)
    add_options(parser)
    arguments = parsed(parser, given)
    result = measure(arguments, sample, uniform_code(1), quality, PIECES)
    with seeded(0):
        data = sample(2500)
    finish(result.summary(), draw(result, data, "Spiral", 2.4), arguments)
    return result


if __name__ == "__main__":
    main()

"""Whether steering does what it says: trains on planted data and reads the models independently.

    python -m bench.steering honesty [--before] [--only invariant] [--values 0.1,-0.1]
    python -m bench.steering dose [--only invariant,complementary] [--values -1,-0.3,0.3,1]
    python -m bench.steering default
    python -m bench.steering study [--cells 128/0,512/0.2]
    python -m bench.steering honesty dose default study --report

Each training that ends leaves one line in OUT/NAME.jsonl; what has a line is not trained again, so
an interrupted call goes on where it was. --report prints tables of the lines that are there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.steering import default, dose, honesty, study
from bench.steering.lines import Work, read, run
from bench.steering.options import Options

STUDIES = {each.NAME: each for each in (honesty, dose, default, study)}
OUT = Path("runs/bench_steering")


def main(argv: Sequence[str] | None = None) -> int:
    """1 when a training failed."""
    arguments = _parser().parse_args(argv)
    options = Options(
        seeds=arguments.seeds,
        quick=arguments.quick,
        before=arguments.before,
        only=arguments.only,
        values=tuple(map(float, arguments.values)),
        cells=arguments.cells,
    )
    failed = 0
    for name in arguments.studies:
        chosen, path = STUDIES[name], arguments.out / f"{name}.jsonl"
        if not arguments.report:
            work = Work(chosen.measure, arguments.out / "trainings" / name)
            failed += run(path, chosen.cells(options), work, jobs=arguments.jobs)
        print(f"## {chosen.TITLE}\n\n{chosen.report(read(path), arguments.out)}\n", flush=True)
    return 1 if failed else 0


def _parts(text: str) -> tuple[str, ...]:
    """``a,b`` is a and b."""
    return tuple(part for part in text.split(",") if part)


def _seeds(text: str) -> tuple[int, ...]:
    """``3`` is 0, 1, 2; ``4,7`` is 4 and 7; ``4,`` is 4."""
    return tuple(map(int, _parts(text))) if "," in text else tuple(range(int(text)))


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("studies", nargs="+", choices=list(STUDIES), help="what to run, in this order")
    add("--out", type=Path, default=OUT, help=f"folder of lines and pictures; default {OUT}")
    add("--seeds", type=_seeds, help="a number of seeds, or seeds: 3,5")
    add("--jobs", type=int, default=1, help="processes, each with one thread; default 1")
    add("--quick", action="store_true", help="tiny settings, to see that everything runs")
    add("--report", action="store_true", help="tables and pictures of the lines; trains nothing")
    add("--before", action="store_true", help="honesty: critics and weights as they were")
    add("--only", type=_parts, default=(), help="honesty, dose: quantities; study: settings")
    add("--values", type=_parts, default=(), help="weights or doses: --values=-1,1")
    add("--cells", type=_parts, default=(), help="study: TRAINING_CLIPS/LABEL_FLIPS: 128/0,512/0.2")
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Product samples of the six conditional terms against the size of the bank.

Ours: everything that depends on the bank alone is prepared once an epoch, and one draw for all six
terms is then timed. Baseline: the published order of work in a Python loop, anchor by anchor, with
the distances to the whole bank and a full sort, once a term; timed in the same run on the same
bank. Ratings have 31 values, so that a search given the label is full of ties. Wanted: under 30 ms
for 16,326 rows of 128 columns, 32 samples a term, 2 neighbours (published: 1.9 s).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial

import torch

from bench.speed.machine import timed
from bench.speed.made_critics import arguments_of, made
from bench.speed.plain import loop_product
from bench.speed.rows import Found, Row, Table, counted_threads, number, parser, report
from mimrl import mi
from mimrl.terms import LABEL
from mimrl.training.critics import Critics

GOAL, GOAL_ROWS = 30.0, 16326  # ms
BANKS = (1284, GOAL_ROWS, 100_000)
LOOP_ROWS = 20_000
"""Beyond so many rows the loop is not run: it takes minutes."""
TRIES = 25


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 if the goal is missed."""
    own = parser(__doc__)
    own.add_argument("--banks", type=int, nargs="+", default=list(BANKS))
    arguments = arguments_of(own, argv)
    found = measure(arguments.banks, device=arguments.device, quick=arguments.quick)
    return report(found, "product_samples", arguments.json)


def measure(
    banks: Sequence[int] = BANKS,
    *,
    batch: int = 32,
    neighbours: int = 2,
    width: int = 128,
    device: torch.device | str = "cpu",
    quick: bool = False,
) -> Found:
    """Seconds of a draw for six terms, and of what is prepared once an epoch."""
    if quick:
        banks, width = (200, 400), 8
    rows, lines = [], []
    for size in banks:
        critics, variables = made(size, width, device)
        started = time.perf_counter()
        bank = critics.bank(variables)
        prepared = time.perf_counter() - started
        half = critics.bank(variables, dtype=torch.float16)
        draw = partial(_seconds, count=batch, neighbours=neighbours, device=device)
        everything = [term.name for term in critics.table if term.given is not None]
        seconds, in_half = draw(bank, everything), draw(half, everything)
        loop = _loop(critics, bank, batch, neighbours) if size <= LOOP_ROWS else None
        rows.append(
            Row(
                f"product samples, six terms, bank of {size:,} x {width}, batch {batch}",
                1e3 * seconds,
                None if loop is None else 1e3 * loop,
                "ms",
                goal=GOAL if size == GOAL_ROWS else None,
                note=f"{neighbours} neighbours, {counted_threads(torch.get_num_threads())}"
                + ("" if loop is None else "; baseline: Python loop over anchors"),
            )
        )
        parts = [draw(bank, names) for names in _by_condition(critics)]
        columns = (seconds, in_half, *parts, prepared)
        lines.append((f"{size:,}", *(number(1e3 * value) for value in columns)))
    header = ("rows", "all six", "bank in float16", "given text", "given the label", "given audio",
              "given video", "prepared once an epoch")  # fmt: skip
    return Found(tuple(rows), (Table("Product samples by condition, ms", header, tuple(lines)),))


def _seconds(
    bank: mi.Bank, names: Sequence[str], *, count: int, neighbours: int, device: torch.device | str
) -> float:
    """Of one draw for the named terms, the shortest of some: each takes milliseconds."""
    generator = torch.Generator().manual_seed(0)
    tries = [
        timed(lambda: bank.draw(names, count, neighbours, generator), device) for _ in range(TRIES)
    ]
    return min(tries)


def _by_condition(critics: Critics) -> list[list[str]]:
    """Terms that share a search: given text, label, audio, video."""
    return [
        [term.name for term in critics.table if term.given == given]
        for given in ("text", LABEL, "audio", "video")
    ]


def _loop(critics: Critics, bank: mi.Bank, batch: int, neighbours: int) -> float:
    """Seconds of the six searches one after the other, in a Python loop."""
    triples = [
        mi.Triples(*(bank.variables[v].cpu() for v in (term.x, term.y, term.given)))
        for term in critics.table
        if term.given is not None
    ]
    generator = torch.Generator().manual_seed(0)
    anchors = -(-batch // neighbours)

    def once() -> None:
        for rows in triples:
            chosen = torch.randperm(len(rows), generator=generator)[:anchors]
            loop_product(rows, chosen, batch, neighbours)

    return timed(once)


if __name__ == "__main__":
    sys.exit(main())

"""Does LSMI find what was planted? Trains on generated data, reads the features, shows the table.

For each interaction and seed: generated data, a MIMRL model trained on them, its features of a
pair of modalities read by LSMI on the test split, which neither the model nor the estimators have
seen. The planted component has to be the largest of the four adjusted totals. Beside it stand the
same totals from the exact densities of the latent variables behind the data: the raw ones differ
from the planted component by construction (for unique information raw r is positive and s too,
and u of the other modality is negative).

    python bench/planted_lsmi.py [--seeds 0,1,2] [--interactions redundant,synergy] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lsmi.decomposition import (
    PointwiseDecomposition,
    PointwiseInformation,
    decompose_pointwise,
)
from lsmi.features import checkpoint_features
from lsmi.pipeline import analyse
from lsmi.settings import AnalysisSettings
from mimrl.datasets.planted import truth
from mimrl.settings import Settings, from_mapping
from mimrl.training.run import train

# interaction -> the pair that is read, the component that has to lead
CASES = {
    "redundant": (("text", "audio"), "r"),
    "unique_text": (("text", "audio"), "u1"),
    "unique_audio": (("text", "audio"), "u2"),
    "unique_video": (("text", "video"), "u2"),
    "synergy": (("text", "audio"), "s"),
}
DEFAULT = ("redundant", "unique_text", "synergy")


@dataclass(frozen=True)
class Row:
    """One reading; totals in nats."""

    interaction: str
    seed: int
    pair: tuple[str, str]
    planted: str
    found: str
    raw: dict[str, float]
    adjusted: dict[str, float]
    exact_raw: dict[str, float]
    exact_adjusted: dict[str, float]
    components: int
    train_seconds: float
    reading_seconds: float


def settings_for(interaction: str, seed: int, output: Path, *, small: bool) -> Settings:
    """A model for planted data of one interaction; data and training share the seed."""
    sizes = (768, 192, 384) if small else (1024, 256, 512)
    width = 32 if small else 64
    return from_mapping(
        {
            "name": interaction,
            "output": str(output),
            "seed": seed,
            "device": "cpu",
            "data": {
                "target": "class",
                "planted": {
                    "interaction": interaction,
                    "seed": seed,
                    **dict(zip(("train_size", "valid_size", "test_size"), sizes, strict=True)),
                },
            },
            "model": {
                "width": width,
                "encoders": {name: {"layers": 1} for name in ("text", "audio", "video")},
                "fusion": {"time_len": 10, "sizes": [[5, 3, width], [2, 3, width]]},
            },
            "critics": {"hidden": 64, "embedding": 32, "conditional": {"hidden": 64}},
            "training": {
                "epochs": 8 if small else 12,
                "batch_size": 64,
                "loss": "ce",
                "optimizer": {"rate": 0.002},
                "schedule": "cosine",
                "controls": 0,
            },
        }
    )


def exact(settings: Settings, pair: tuple[str, str]) -> PointwiseDecomposition:
    """The test split's decomposition from the exact latent densities."""
    known = truth(settings.data.planted, settings.task).pair("test", *pair)
    return decompose_pointwise(
        PointwiseInformation(known.i1, known.i2, known.i12, known.h1, known.h2)
    )


def measure(interaction: str, seed: int, *, small: bool = False) -> Row:
    """Trains, reads and compares one case."""
    pair, planted = CASES[interaction]
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(interaction, seed, Path(folder), small=small)
        started = time.perf_counter()
        result = train(settings, progress=False)
        trained = time.perf_counter()
        features = checkpoint_features(result.folder, features=pair)
        plain = AnalysisSettings(seed=seed, shuffles=0, measures=False)
        reading = analyse(features.splits, [pair], plain).pairs[pair]
        done = time.perf_counter()
    found = reading.splits["test"].decomposition
    known = exact(settings, pair)
    return Row(
        interaction=interaction,
        seed=seed,
        pair=pair,
        planted=planted,
        found=found.adjusted.totals.largest,
        raw=asdict(found.raw.totals),
        adjusted=asdict(found.adjusted.totals),
        exact_raw=asdict(known.raw.totals),
        exact_adjusted=asdict(known.adjusted.totals),
        components=reading.components[0],
        train_seconds=trained - started,
        reading_seconds=done - trained,
    )


def line(row: Row) -> str:
    """One row of the printed table."""

    def four(totals: dict[str, float]) -> str:
        return " ".join(f"{round(value, 3) + 0.0:6.3f}" for value in totals.values())

    verdict = "ok" if row.found == row.planted else "WRONG"
    return (
        f"{row.interaction:13} {row.seed:4}  {four(row.adjusted)} | {four(row.exact_adjusted)} | "
        f"{four(row.raw)} | {four(row.exact_raw)} | {row.components:2} "
        f"{row.train_seconds:5.0f} {row.reading_seconds:5.0f}  {row.planted} {verdict}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table or JSON; 1 if a planted component does not lead."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--interactions", default=",".join(DEFAULT), help=", ".join(CASES))
    parser.add_argument("--seeds", default="0,1,2", help="seeds of data, training and reading")
    parser.add_argument("--small", action="store_true", help="fewer samples and epochs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args(argv)
    if not arguments.json:
        each = "R      U1     U2      S    "
        print(f"test split, nats {'':4}adjusted{'':20} exact adjusted{'':14} raw{'':25} exact raw")
        print(f"interaction   seed  {each} | {each} | {each} | {each} |  m train  read  planted")
    rows = []
    for interaction in arguments.interactions.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            rows.append(measure(interaction, seed, small=arguments.small))
            if not arguments.json:
                print(line(rows[-1]), flush=True)
    if arguments.json:
        report: list[dict[str, Any]] = [asdict(row) for row in rows]
        print(json.dumps({"unit": "nats", "rows": report}, indent=1))
    return 0 if all(row.found == row.planted for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

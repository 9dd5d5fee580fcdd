"""Rows of a table of ratings from predictions: means, ensembles, paired differences, refusals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from bench.rating_rows import main
from mimrl.training.metrics import sentiment_metrics

CLIPS = 60


def write_run(folder, errors, clips=CLIPS):
    """A run whose seeds err by so much times noise of their own; returns labels and predictions."""
    labels = np.random.default_rng(9).uniform(-3, 3, clips).round(1)
    found = []
    for seed, size in errors.items():
        noise = np.random.default_rng(seed).normal(size=clips)
        table = pd.DataFrame(
            {
                "split": ["valid"] * 3 + ["test"] * (clips - 3),
                "id": [f"c{i:03d}" for i in range(clips)],
                "label": labels,
                "prediction": labels + size * noise,
            }
        )
        place = folder / f"seed{seed}"
        place.mkdir(parents=True)
        table.sample(frac=1, random_state=seed).to_csv(place / "predictions.csv", index=False)
        found.append(table["prediction"].to_numpy()[3:])
    return labels[3:], found


def test_means_ensembles_and_differences(tmp_path, capsys):
    labels, good = write_run(tmp_path / "good", {0: 0.2, 1: 0.2, 2: 0.2})
    _, bad = write_run(tmp_path / "bad", {0: 0.8, 1: 0.8})
    out = tmp_path / "out.json"
    assert main([str(tmp_path / "good"), str(tmp_path / "bad"), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    mae = [sentiment_metrics(p, labels)["mae"] for p in good]
    assert found["rows"][0][:3] == [
        "good",
        "0 1 2",
        f"{np.mean(mae):.3f} ({np.std(mae, ddof=1):.3f})",
    ]
    together = sentiment_metrics(np.mean(good, axis=0), labels)
    assert found["rows"][0][6] == f"{together['mae']:.3f}"
    name, seeds, difference, *_ = found["differences"][0]
    assert (name, seeds) == ("bad", "0 1")
    expected = np.mean([sentiment_metrics(p, labels)["mae"] for p in bad]) - np.mean(mae[:2])
    point, low, high = (float(part.strip("[],")) for part in difference.split())
    assert point == pytest.approx(expected, abs=5e-4)
    assert 0 < low < point < high  # errors of .8 and .2 cannot be confused on 57 clips
    assert "| good | 0 1 2 |" in capsys.readouterr().out


def test_a_run_does_not_differ_from_itself(tmp_path, capsys):
    write_run(tmp_path / "one", {0: 0.5, 1: 0.5})
    write_run(tmp_path / "two", {0: 0.5, 1: 0.5})
    assert main([str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert "+0.000 [+0.000, +0.000]" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    write_run(tmp_path / "one", {0: 0.5})
    write_run(tmp_path / "fewer", {0: 0.5}, clips=50)
    assert main([str(tmp_path / "one"), str(tmp_path / "absent")]) == 2
    assert "absent holds no seed<k>/predictions.csv" in capsys.readouterr().err
    assert main([str(tmp_path / "one"), str(tmp_path / "fewer")]) == 2
    assert "fewer was read on other clips or labels than one" in capsys.readouterr().err

"""The files of the report: what each holds, their names, and what a failure leaves."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import ORIGIN, PAIRS, SIZES, analysis, information, reading
from report_reading import Page, every

from lsmi.decomposition import PointwiseInformation
from lsmi.report import COLUMNS, files, measures_table, save, scales_table, summary_table
from lsmi.report.words import number, slugs
from lsmi.results import ATOMS, INFORMATION, Analysis, PairReading
from mimrl.errors import ConfigError

ENDINGS = ("bars", "intervals", "samples_train", "samples_valid", "samples_test", "leading",
           "calibration", "scales")  # fmt: skip


def test_csv_has_every_sample_and_keeps_the_identities(made, saved):
    with saved["out.csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(PAIRS) * sum(SIZES.values())
    for names, split, one in every(made):
        mine = [row for row in rows if (row["first"], row["second"]) == names]
        mine = [row for row in mine if row["split"] == split]
        assert [row["id"] for row in mine] == list(one.ids)
        assert [int(row["label"]) for row in mine] == one.labels.tolist()
        assert [row["leading"] for row in mine] == one.leading.tolist()
        endings = ["", "_adjusted"] + ["_feasible"] * (one.decomposition.feasible is not None)
        for ending in endings:
            r, u1, u2, s = (np.array([float(row[name + ending]) for row in mine]) for name in ATOMS)
            i1, i2, i12 = (np.array([float(row[name]) for row in mine]) for name in INFORMATION)
            # nine digits are written
            assert r + u1 == pytest.approx(i1, abs=1e-7)
            assert r + u2 == pytest.approx(i2, abs=1e-7)
            assert r + u1 + u2 + s == pytest.approx(i12, abs=1e-7)
            assert r.mean() == pytest.approx(one.quantities[f"r{ending}"].value, abs=1e-7)
        if one.decomposition.feasible is None:
            assert {row[f"{name}_feasible"] for row in mine for name in ATOMS} == {""}


def test_a_reading_without_feasible_shift_leaves_its_columns_empty():
    rng = np.random.default_rng(1)
    poor = reading(information(rng, 30, (0.5, 0.1, 0.2)), np.arange(30) % 2)  # I12 < I1
    assert poor.decomposition.feasible is None
    pair = PairReading(("a", "b"), {"test": poor}, (1, 1), {})
    made = Analysis({("a", "b"): pair}, (0, 1), np.full(2, 0.5), {}, analysis().settings)
    rows = list(csv.DictReader(io.StringIO(files.csv_text(made))))
    assert {row[f"{name}_feasible"] for row in rows for name in ATOMS} == {""}
    assert "feasible: none" in summary_table(made)


def test_json_has_everything_but_the_samples(made, saved):
    text = saved["out.json"].read_text(encoding="utf-8")
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert report["origin"] == ORIGIN
    assert report["unit"] == "nats"
    assert report["settings"]["folds"] == made.settings.folds
    assert set(report["versions"]) == {"mimrl", "torch", "numpy", "scikit-learn"}
    assert report["prior"] == [0.4, 0.6]
    assert [(one["first"], one["second"]) for one in report["pairs"]] == list(PAIRS)
    for written, (names, pair) in zip(report["pairs"], made.pairs.items(), strict=True):
        assert written["components"] == [3, 4], names
        assert written["choices"]["x1"]["test"] == ["network", "network", "linear"]
        assert list(written["splits"]) == list(SIZES)
        for split, one in pair.splits.items():
            found = written["splits"][split]
            assert found["samples"] == SIZES[split]
            for name, quantity in one.quantities.items():
                assert found["quantities"][name]["value"] == quantity.value
                assert found["quantities"][name]["low"] == quantity.low
                assert found["quantities"][name]["control_high"] == quantity.control_high
                assert found["quantities"][name]["distinguishable"] == quantity.distinguishable
            assert found["published_shift"] == one.decomposition.shift
            assert found["feasible_shift"] == one.decomposition.feasible_shift
            assert set(found["scales"]) == set(one.scales)
            assert found["scales"]["own"]["raw"]["r"] == one.scales["own"].raw.r
            assert found["measures"][0]["note"] == "four bins each"
            assert found["reliability"]["i12"]["count"] == one.reliability["i12"].count.tolist()
            assert found["largest_identity_residual"] < 1e-9
            assert sum(found["leading"].values()) == pytest.approx(1)


def test_pictures_lie_beside_the_page_and_in_it_with_words(made, saved, page):
    wanted = {"out.html", "out.csv", "out.json", "out.png"}
    wanted |= {f"out_{a}_{b}_{ending}.png" for a, b in PAIRS for ending in ENDINGS}
    assert set(saved) == wanted
    assert {path.name for path in saved["out.html"].parent.iterdir()} == wanted
    inside = [base64.b64decode(one["src"].split(",", 1)[1]) for one in page.find("img")]
    beside = {path.read_bytes() for path in saved.values() if path.suffix == ".png"}
    assert all(data.startswith(b"\x89PNG\r\n") for data in beside)
    assert set(inside) == beside
    assert len(inside) == len(wanted) - 3
    alts = [one["alt"] for one in page.find("img")]
    assert len(set(alts)) == len(alts)
    r = number(made.pairs[PAIRS[0]].splits["test"].quantities["r"].value)
    assert f"text (1) and audio (2), test: R {r}" in alts[0]


def test_an_analysis_with_next_to_nothing_in_it(tmp_path):
    """One sample, no interval, control, scale, calibration, measure, choice or note."""
    known = PointwiseInformation(*(np.array([value]) for value in (0.1, 0.2, 0.4, 3.0, 3.5)))
    one = replace(
        reading(known, np.array([1]), control=None), scales={}, reliability={}, measures=()
    )
    nowhere = {name: replace(found, low=float("nan"), high=float("nan"))
               for name, found in one.quantities.items()}  # fmt: skip
    one = replace(one, quantities=nowhere)
    names = ("layers.0/out$put", "a<b")
    pair = PairReading(names, {"test": one}, (1, 2), {})
    made = Analysis({names: pair}, (0, 1), np.full(2, 0.5), {}, analysis().settings)
    paths = {path.name: path for path in save(made, tmp_path / "out")}
    assert set(paths) == {"out.html", "out.csv", "out.json", "out.png"} | {
        f"out_layers.0-out-put_a-b_{ending}.png"
        for ending in ("bars", "intervals", "samples_test", "leading", "scales")
    }
    found = Page(paths["out.html"].read_text(encoding="utf-8"))
    assert "layers.0/out$put (1) and a<b (2)" in found.text
    assert "No control with shuffled labels was made." in found.text
    assert measures_table(made) == scales_table(made) == ""
    report = json.loads(paths["out.json"].read_text(encoding="utf-8"))
    assert report["pairs"][0]["splits"]["test"]["quantities"]["r"]["low"] is None


@pytest.mark.parametrize("broken", ["disk", "folder"])
def test_a_failure_to_write_leaves_nothing_behind(made, tmp_path, monkeypatch, broken):
    stem = tmp_path / "new" / "deep" / "out"
    monkeypatch.setattr(files, "gallery", lambda *args: {})
    monkeypatch.setattr(files, "page", lambda *args: "page")
    if broken == "folder":
        (tmp_path / "new").write_text("in the way")
    else:
        write, written = Path.write_bytes, []

        def full(path, data):
            written.append(path)
            if len(written) == 3:
                raise OSError("No space left on device")
            return write(path, data)

        monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match="cannot write the report"):
        save(made, stem)
    assert [path.name for path in tmp_path.rglob("*")] == ["new"] * (broken == "folder")


def test_a_failure_keeps_the_report_that_was_there(made, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "gallery", lambda *args: {})
    monkeypatch.setattr(files, "page", lambda *args: "page")
    before = {path: path.read_bytes() for path in save(made, tmp_path / "out")}

    def broken(*args):
        raise RuntimeError("a picture that cannot be drawn")

    monkeypatch.setattr(files, "gallery", broken)
    with pytest.raises(RuntimeError):
        save(analysis(seed=1), tmp_path / "out")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_file_names_of_pairs_differ_also_where_case_does_not():
    pairs = [("a/b", "c"), ("a:b", "c"), ("A-B", "C"), ("...", "c"), ("x" * 90, "y" * 90)]
    found = slugs(pairs)
    assert len({name.lower() for name in found.values()}) == len(pairs)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,60}", name) for name in found.values())

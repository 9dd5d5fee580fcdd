"""The report: tables, files and the page say what the analysis holds, and nothing else."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up import PAIRS, SIZES, analysis, information, reading
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsmi.decomposition import PointwiseInformation
from lsmi.report import (
    COLUMNS,
    bars,
    curves,
    files,
    measures_table,
    readings,
    save,
    scales_table,
    summary_table,
    verdicts,
)
from lsmi.report.explain import guide
from lsmi.report.scatter import samples
from lsmi.report.style import png
from lsmi.report.tables import measure_notes
from lsmi.report.words import number, slugs
from lsmi.results import APART, ATOMS, INFORMATION, Analysis, PairReading, Quantity
from lsmi.settings import AnalysisSettings
from mimrl.errors import ConfigError

ORIGIN = {
    "checkpoint": "runs/a/best.safetensors",
    "data": "b&c.pkl",
    "label_rule": "sign: rating >= 0 against rating < 0",
    "class_names": ["<no>", "yes"],
}
ENDINGS = ("bars", "intervals", "samples_train", "samples_valid", "samples_test", "leading",
           "calibration", "scales")  # fmt: skip
CELL = re.compile(r"(-?\d\.\d{3})(?: \[(-?\d\.\d{3}), (-?\d\.\d{3})\])?(~?)")
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would find in a page: elements, links, texts; fails where tags cross."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts, self.tables = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
        if "tr" in self.open:
            self.tables[-1][-1][-1] += data + " "

    def find(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def made():
    return analysis()


@pytest.fixture(scope="module")
def saved(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return {path.name: path for path in save(made, folder / "deep" / "out", ORIGIN)}


@pytest.fixture(scope="module")
def page(saved):
    return Page(saved["out.html"].read_text(encoding="utf-8"))


def every(made):
    for names, pair in made.pairs.items():
        for split, one in pair.splits.items():
            yield names, split, one


def unclear(found):
    """Whether interval and shuffled values overlap."""
    above = found.low > found.control_high + APART
    return not above and found.high >= found.control_low - APART


def same(cells, quantities):
    """Cells of a table against the totals they stand for: rounded to three digits."""
    assert len(cells) == len(quantities)
    for cell, found in zip(cells, quantities, strict=True):
        value, low, high, mark = cell
        assert float(value) == pytest.approx(found.value, abs=5.1e-4)
        assert float(low) == pytest.approx(found.low, abs=5.1e-4)
        assert float(high) == pytest.approx(found.high, abs=5.1e-4)
        assert (mark == "~") == unclear(found)


def test_summary_table_has_the_numbers_of_the_analysis(made):
    blocks = summary_table(made).split("\n\n")
    assert [block.splitlines()[0] for block in blocks[1:-1]] == [
        *("text (1) and audio (2)", "text (1) and video (2)")
    ]
    assert "~ not distinguishable from shuffled labels" in blocks[-1]
    assert max(map(len, summary_table(made).splitlines())) <= 128  # four totals with intervals
    assert {unclear(found) for _, _, one in every(made) for found in one.quantities.values()} == {
        *(True, False)
    }
    for block, pair in zip(blocks[1:-1], made.pairs.values(), strict=True):
        lines = iter(block.splitlines()[3:])
        for split, one in pair.splits.items():
            line = next(lines)
            assert line.split()[:3] == [split, "N", str(SIZES[split])]
            *cells, entropy = CELL.findall(line)
            same(cells, [one.quantities[name] for name in INFORMATION])
            assert float(entropy[0]) == pytest.approx(np.log(2), abs=5.1e-4)
            for kind in readings.distinct_kinds(one):
                line = next(lines)
                assert line.split()[0] == kind
                shift = "" if kind == "raw" else line.split()[1]
                same(CELL.findall(line.replace(shift, "", 1) if shift else line),
                     list(readings.quantities(one, kind).values()))  # fmt: skip
                if shift:
                    assert float(shift) == pytest.approx(readings.shift_of(one, kind), abs=5.1e-4)
            if one.decomposition.feasible is None:
                assert "feasible: none" in next(lines)
        assert list(lines) == []


def test_marks_need_a_control_and_intervals_need_draws():
    plain = analysis(control=None)
    assert "~" not in summary_table(plain)
    assert "no control with shuffled labels" in summary_table(plain)
    one = plain.pairs[PAIRS[0]].splits["test"]
    values = {name: Quantity(found.value, found.value, found.value)
              for name, found in one.quantities.items()}  # fmt: skip
    pair = replace(plain.pairs[PAIRS[0]], splits={"test": replace(one, quantities=values)})
    text = summary_table(replace(plain, pairs={PAIRS[0]: pair}))
    assert text.count("[") == 1  # only in the legend


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


def test_the_page_needs_nothing_from_elsewhere(saved, page):
    text = saved["out.html"].read_text(encoding="utf-8")
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "video"}
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert len(anchors) == sum("id" in attributes for _, attributes in page.elements)
    targets = [attributes["href"] for attributes in page.find("a")]
    assert len(targets) > 10
    assert {target[0] for target in targets} == {"#"}
    assert {target[1:] for target in targets} <= anchors
    for attributes in page.find("img"):
        assert attributes["src"].startswith("data:image/png;base64,")
        assert set(attributes) == {"src", "alt"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)


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


def test_texts_names_and_remarks_are_escaped(made, saved, page):
    text = saved["out.html"].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<odd>" not in text
    assert "The features are <odd>." in page.text
    assert "0 (<no>)" in page.text
    assert "b&c.pkl" in page.text
    one = made.pairs[PAIRS[1]].splits["test"]
    row = int(np.argmax(one.decomposition.raw.s))  # a shift does not change the order
    assert made.notes["test"].texts[row] in page.text
    assert one.ids[row] in page.text


def test_the_page_lists_the_most_synergistic_and_most_one_sided_samples(made, page):
    tables = [table for table in page.tables if table[0][0].strip() == "id"]
    assert len(tables) == 2 * len(PAIRS) * len(SIZES)
    for (_, split, one), (synergy, sides) in zip(
        every(made), zip(tables[::2], tables[1::2], strict=True), strict=True
    ):
        raw, notes = one.decomposition.raw, made.notes[split]
        for table, values in ((synergy, raw.s), (sides, np.abs(raw.u1 - raw.u2))):
            order = sorted(range(len(values)), key=lambda row, v=values: -v[row])[:20]
            assert len(table) == 21
            head = [cell.strip() for cell in table[0]]
            assert head == ["id", "text", "label", "rating", "prediction", *ATOMS, "led by"]
            for row, cells in zip(order, table[1:], strict=True):
                found = dict(zip(head, (cell.strip() for cell in cells), strict=True))
                assert found["id"] == one.ids[row]
                assert found["text"] == notes.texts[row]
                assert found["label"].startswith(f"{one.labels[row]} (")
                assert float(found["rating"]) == pytest.approx(notes.ratings[row], abs=5.1e-3)
                assert float(found["prediction"]) == pytest.approx(
                    notes.predictions[row], abs=5.1e-3
                )
                for atom in ATOMS:
                    adjusted = getattr(one.decomposition.adjusted, atom)[row]
                    assert float(found[atom]) == pytest.approx(adjusted, abs=5.1e-3)
                assert found["led by"] == one.leading[row].upper()


def test_the_summary_of_the_page_has_the_numbers_of_the_analysis(made, page):
    heads = [["split", "", "R", "U1", "U2", "S", "I1", "I2", "I12", "H(Y)"]]
    tables = [t for t in page.tables if [[cell.strip() for cell in t[0]]] == heads]
    assert len(tables) == len(PAIRS)
    for table, pair in zip(tables, made.pairs.values(), strict=True):
        rows = iter(table[1:])
        for split, one in pair.splits.items():
            for kind in readings.distinct_kinds(one):
                cells = next(rows)
                totals = list(readings.quantities(one, kind).values())
                if kind == "raw":
                    assert cells[0].split() == [split, "N", "=", str(len(one.ids))]
                    totals += [one.quantities[name] for name in INFORMATION]
                    assert float(cells[9]) == pytest.approx(np.log(2), abs=5.1e-4)
                for cell, found in zip(cells[2:], totals, strict=False):
                    value, low, high = map(float, re.findall(r"-?\d\.\d{3}", cell)[:3])
                    assert [value, low, high] == pytest.approx(
                        [found.value, found.low, found.high], abs=5.1e-4
                    )
                    assert ("~" in cell) == unclear(found)
                    assert f"shuffled {number(found.control)}" in cell
            if one.decomposition.feasible is None:
                assert "feasible: none" in next(rows)[1]
        assert list(rows) == []


def test_terms_checks_settings_and_versions_are_on_the_page(page):
    for word in ("How to read this", "R: redundant", "S: synergy", "Raw", "Adjusted", "Interval",
                 "Control", "Scale and offset", "Calibration of the classifiers",
                 "Sensitivity to scale", "Other measures", "four bins each",
                 "What judged each split", "2 \N{MULTIPLICATION SIGN} network; linear",
                 "largest residual", "discriminator_epochs", "scikit-learn", "chosen for each pair",
                 "Scale: whiten, which is centring and PCA whitening", "0.005 nats of zero or of",
                 "sign: rating >= 0 against rating < 0",
                 "runs/a/best.safetensors"):  # fmt: skip
        assert word in page.text, word


def test_the_guide_says_who_read_the_samples(made):
    published = replace(made, settings=AnalysisSettings(method="published"))
    assert "models that were not fitted on it" in guide(made)
    assert "models that were not fitted on it" not in guide(published)
    assert "models fitted on them" in guide(published)
    assert "equal classes" in guide(published)


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


def test_the_published_shift_for_a_negative_u_is_named_as_what_it_is():
    """The gate in which y is x1: raw (log 2, 0, -log 2, log 2), I1 = log 2, I2 = 0."""
    zero, log2 = np.zeros(2), np.full(2, np.log(2))
    unique = reading(PointwiseInformation(log2, zero, log2, zero, zero), np.arange(2))
    assert list(unique.decomposition.totals) == pytest.approx([np.log(2), 0, -np.log(2), np.log(2)])
    said = " ".join(verdicts.adjustments(unique))
    assert "shift -0.693, because raw U2 is below zero" in said
    assert "R equal to min(I1, I2) = 0.000 and U2 exactly zero" in said
    assert "Feasible adjustment: the same shift." in said
    xor = reading(PointwiseInformation(zero, zero, log2, zero, zero), np.arange(2))
    assert "min(I1, I2)" not in " ".join(verdicts.adjustments(xor))


@pytest.mark.parametrize(
    ("means", "words"),
    [((-0.1, 0.2, 0.4), "I1 = -0.100 is negative"), ((0.3, 0.1, 0.2), "I12 = 0.200 is below I1")],
)
def test_a_missing_feasible_shift_is_explained(means, words):
    columns = [np.full(4, mean) for mean in means]
    one = reading(PointwiseInformation(*columns, np.zeros(4), np.ones(4)), np.arange(4) % 2)
    said = " ".join(verdicts.adjustments(one))
    assert "there is none, because" in said
    assert words in said


def test_numbers_that_differ_little_are_told_apart():
    columns = [np.full(4, mean) for mean in (0.3, 0.1, 0.29996)]
    one = reading(PointwiseInformation(*columns, np.zeros(4), np.ones(4)), np.arange(4) % 2)
    assert "I12 = 0.29996 is below I1 = 0.30000" in " ".join(verdicts.adjustments(one))


def test_a_total_at_zero_is_nothing_whatever_the_control_says():
    assert Quantity(0.0, 0.0, 0.0, -0.02, -0.03, -0.01).distinguishable is False
    assert Quantity(-0.5, -0.6, -0.4, -0.02, -0.03, -0.01).distinguishable is True
    assert Quantity(0.1, 0.02, 0.2, 0.0, -0.01, 0.01).distinguishable is True


def test_information_above_the_entropy_is_flagged():
    columns = [np.full(1000, value) for value in (0.1, 0.1, 0.71, 0.0, 0.0)]
    above = reading(PointwiseInformation(*columns), np.arange(1000) % 2)
    assert verdicts.bound(above) == ("no", "0.710 > 0.693")
    # class shares of 1,000 samples differ from the prior's by .01 nats once in a thousand times
    assert verdicts.bound(replace(above, label_entropy=0.705)) == (
        "within chance",
        "0.710 > 0.705",
    )
    assert verdicts.bound(replace(above, label_entropy=0.71))[0] == "yes"


def test_totals_far_from_the_scale_are_those_of_one_modality(made):
    """As h1 - h2 falls, min(h1, h2) is h1 before and after the label: r = i1; and the reverse."""
    for _, _, one in every(made):
        known = one.decomposition.information
        assert readings.totals_at(one, -1e3).r == pytest.approx(known.i1.mean(), abs=1e-9)
        assert readings.totals_at(one, 1e3).r == pytest.approx(known.i2.mean(), abs=1e-9)
        h1 = known.h1 + 1.5
        r = np.minimum(h1, known.h2) - np.minimum(h1 - known.i1, known.h2 - known.i2)
        assert readings.totals_at(one, 1.5).r == pytest.approx(r.mean(), abs=1e-9)


def test_the_curves_over_the_offset_go_through_the_analysis_itself(made):
    pair = made.pairs[PAIRS[0]]
    figure = curves.scales(pair)
    for panel, one in zip(figure.axes, pair.splits.values(), strict=True):
        lines = [line for line in panel.get_lines() if len(line.get_xdata()) > 2]
        assert len(lines) == 4
        for line, total in zip(lines, one.decomposition.totals, strict=True):
            at_zero = np.interp(0.0, line.get_xdata(), line.get_ydata())
            # a straight line between two of the 97 offsets, each sample moves r by < 1 nat there
            assert at_zero == pytest.approx(total, abs=0.02)
        low, high = panel.get_xlim()
        assert low <= 0 <= high
        assert low > -60  # the far scale is marked at the edge, it does not stretch the axis


def test_stacked_bars_stack_up_and_down_and_mark_the_sum():
    values = dict(zip(ATOMS, (0.3, -0.1, -0.2, 0.4), strict=True))
    found = {name: Quantity(value, value - 0.1, value + 0.1) for name, value in values.items()}
    panel = Figure().subplots()
    assert isinstance(panel, Axes)
    bars.stack(panel, 1.0, found)
    spans = [sorted((p.get_y(), p.get_y() + p.get_height())) for p in panel.patches]
    expected = [(0, 0.3), (-0.1, 0), (-0.3, -0.1), (0.3, 0.7)]
    assert np.array(spans) == pytest.approx(np.array(expected))
    sums = [line.get_ydata()[0] for line in panel.get_lines() if len(set(line.get_ydata())) == 1
            and len(line.get_ydata()) == 2]  # fmt: skip
    assert sums == pytest.approx([0.4])


def test_shares_of_leading_atoms(made):
    for _, _, one in every(made):
        whole = readings.leading_shares(one)
        assert sum(whole.values()) == pytest.approx(1)
        for atom in ATOMS:
            parts = [
                readings.leading_shares(one, label)[atom] * (one.labels == label).mean()
                for label in (0, 1)
            ]
            assert sum(parts) == pytest.approx(whole[atom])
        assert np.isnan(readings.leading_shares(one, 7)["r"])


def test_tables_of_scales_and_measures(made):
    lines = scales_table(made).splitlines()
    first = made.pairs[PAIRS[0]].splits["train"]
    row = next(line for line in lines if line.startswith("own")).split()
    expected = [-60, *first.scales["own"].raw, *first.scales["own"].adjusted]
    assert [float(cell) for cell in row[1:]] == pytest.approx(expected, abs=5.1e-4)
    text = measures_table(made)
    assert text.count("MMI: four bins each") == len(PAIRS) * len(SIZES)
    row = next(line for line in text.splitlines() if line.startswith("LSMI raw")).split()[2:]
    values = [first.quantities[name].value for name in (*ATOMS, *INFORMATION)]
    assert [float(cell) for cell in row] == pytest.approx(values, abs=5.1e-4)
    row = next(line for line in text.splitlines() if line.startswith("MMI")).split()[1:]
    assert [float(cell) for cell in row[4:]] == [0.11, 0.22, 0.33]


def test_notes_on_measures_name_splits_only_where_they_differ(made):
    splits = made.pairs[PAIRS[0]].splits
    (first,) = splits["train"].measures
    twice = replace(splits["train"], measures=(first, replace(first, name="BROJA")))
    assert measure_notes({"train": twice}) == ["MMI, BROJA: four bins each"]
    other = replace(splits["test"], measures=(replace(first, note="three bins"),))
    assert measure_notes({"train": splits["train"], "test": other}) == [
        *("MMI (train): four bins each", "MMI (test): three bins")
    ]


def test_file_names_of_pairs_differ_also_where_case_does_not():
    pairs = [("a/b", "c"), ("a:b", "c"), ("A-B", "C"), ("...", "c"), ("x" * 90, "y" * 90)]
    found = slugs(pairs)
    assert len({name.lower() for name in found.values()}) == len(pairs)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,60}", name) for name in found.values())


def test_samples_whose_values_differ_by_rounding_alone_are_drawn_without_a_warning():
    """An uninformative modality: i1 is 0 but for rounding, the others are small."""
    rng = np.random.default_rng(0)
    known = PointwiseInformation(
        i1=rng.choice([0.0, -1.1e-16], 22), **{name: rng.normal(0, 0.04, 22) for name in
                                               ("i2", "i12", "h1", "h2")}
    )  # fmt: skip
    splits = {"test": reading(known, rng.integers(0, 2, 22))}
    pair = PairReading(("video", "fused"), splits, (3, 4), choices={})
    figure = samples(pair, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where panels find no room
        assert png(figure).startswith(b"\x89PNG")
    nats = [np.ptp(panel.get_xlim()) for panel in every_panel(figure)]
    assert len(nats) == 7
    assert min(nats) >= 0.1


def every_panel(figure):
    return [panel for part in figure.subfigs for panel in part.axes]

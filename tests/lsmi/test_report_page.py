"""The page of the report: it stands alone, and says what the analysis holds."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from made_up import PAIRS, SIZES
from report_reading import Page, every, unclear

from lsmi.report import readings
from lsmi.report.explain import guide
from lsmi.report.gallery import gallery
from lsmi.report.page import page as render
from lsmi.report.words import number
from lsmi.results import ATOMS, INFORMATION
from lsmi.settings import AnalysisSettings


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


def test_classes_are_not_shown_a_second_time_as_ratings(made):
    splits = next(iter(made.pairs.values())).splits
    notes = {
        split: replace(made.notes[split], ratings=one.labels.astype(float))
        for split, one in splits.items()
    }
    found = Page(render(replace(made, notes=notes), gallery(made)))
    heads = [table[0] for table in found.tables if table[0][0].strip() == "id"]
    assert heads
    assert not any(cell.strip() == "rating" for head in heads for cell in head)


def test_the_guide_says_who_read_the_samples(made):
    published = replace(made, settings=AnalysisSettings(method="published"))
    assert "models that were not fitted on it" in guide(made)
    assert "models that were not fitted on it" not in guide(published)
    assert "models fitted on them" in guide(published)
    assert "equal classes" in guide(published)

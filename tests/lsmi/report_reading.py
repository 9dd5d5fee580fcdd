"""What tests read back out of reports: pages, cells of tables, marks."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from lsmi.results import APART

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

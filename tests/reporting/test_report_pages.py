"""HTML and Markdown: whole, accessible, without network, and hostile names stay text."""

import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from edge_se.core.errors import UnavailableError
from edge_se.reporting.report.document import report_document
from edge_se.reporting.report.inputs import Material
from edge_se.reporting.report.page import page, require_page
from edge_se.reporting.report.text import escaped, text

EMPTY_TAGS = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Collects elements; raises AssertionError where tags do not nest."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.text, self._open = [], [], []
        self.feed(source)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY_TAGS:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes something else in line {self.getpos()[0]}"

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module", autouse=True)
def _jinja2():
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")


def test_every_section_is_there_and_none_without_its_input(whole, build_named) -> None:
    sections = {"summary", "accuracy", "latency", "classes", "flips", "calibration", "sensitivity", "robustness",
                "provenance"}
    full = Page(page(whole))
    assert {found["id"] for found in full.all("section")} == sections
    bare = Page(page(report_document([Material(name="net", build=build_named())], margin_pp=0.5, alpha=0.025)))
    assert {found["id"] for found in bare.all("section")} == {"summary", "accuracy", "provenance", "missing"}
    assert "edge-se bench --model NAME --out bench.json" in "".join(bare.text)
    for each in (full, bare):
        targets = {found["href"][1:] for found in each.all("a")}
        assert targets <= {found["id"] for _, found in each.elements if "id" in found}


def test_it_is_accessible(whole) -> None:
    found = Page(page(whole))
    assert found.all("html") == [{"lang": "en"}] and len(found.all("h1")) == 1
    assert len(found.all("main")) == 1 and len(found.all("title")) > 1
    assert all(cell.get("scope") in ("col", "row") for cell in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table")) > 5
    assert all(image["alt"] for image in found.all("img")) and len(found.all("img")) == 4
    identifiers = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    charts = [svg for svg in found.all("svg") if "chart" in svg.get("class", "").split()]
    assert len(charts) == 4 and sum("small" in svg["class"] for svg in charts) == 2
    for svg in charts:
        assert svg["role"] == "img" and set(svg["aria-labelledby"].split()) <= set(identifiers)
    for box in found.all("div"):
        if "scroll" in box.get("class", ""):
            assert box["tabindex"] == "0" and box["role"] == "region" and box["aria-label"]
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def luminance(colour):
    """Relative luminance (WCAG 2.2) of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast_in_both_schemes(whole) -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    schemes = re.findall(r":root \{(.*?)\}", page(whole), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w+);", scheme))
        letters = [name for name in colours if name in ("text", "muted", "good", "bad", "open") or "hue" in name]
        assert len(letters) == 10
        for name in letters:
            assert min(contrast(colours[name], colours[under]) for under in ("back", "panel")) >= 4.5, name
        assert contrast(colours["filled"], colours["covered"]) >= 3  # histograms on the range behind them


def test_it_needs_no_network(whole) -> None:
    source = page(whole)
    found = Page(source)
    assert not found.all("script") and not found.all("iframe") and "url(" not in source
    for tag, attributes in found.elements:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), tag
        assert not [name for name in attributes if name.startswith("on")]


def test_hostile_texts_stay_text(hostile) -> None:
    found = Page(page(hostile))
    assert not found.all("script")
    assert all(image["src"].startswith("data:image/png;base64,") for image in found.all("img"))
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    shown = "".join(found.text)
    assert shown.count("<script>alert(1)</script>") > 20 and "{{ 7 * 7 }}" in shown


def test_markdown_has_the_same_tables_and_takes_no_markup_from_outside(whole, hostile) -> None:
    ordinary = text(whole)
    for heading in ("Accuracy", "Latency", "Drop by class", "Flipped images", "Calibration", "Sensitivity",
                    "Robustness", "Provenance"):
        assert f"\n## {heading}\n" in ordinary
    assert "| net | ? inconclusive |" in ordinary and "Excitations (1): SQNR" in ordinary
    for written in (ordinary, text(hostile)):
        for block in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
            lines = block.splitlines()
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(counts) == 1, block
    bare = re.sub(r"`[^`\n]*`", "", re.sub(r"\\.", "", text(hostile)))
    assert "script" in bare and not re.search(r"[<>\[\]*]", bare) and "http:" not in bare
    assert len(re.findall(r"^# ", text(hostile), re.MULTILINE)) == 1


def test_what_markdown_means_something_by_is_escaped() -> None:
    assert escaped("a|b <i> `c`\nd") == r"a\|b \<i\> \`c\` d"
    assert escaped("se_resnet18 int8.cpu.onnx +0.02 (-0.09 to +0.13)") == (
        "se_resnet18 int8.cpu.onnx +0.02 (-0.09 to +0.13)")
    assert escaped("_x_ http://a www.b") == r"\_x\_ http\://a www\.b"


def test_without_jinja2_there_is_one_message(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UnavailableError, match=r"pip install 'edge-se\[report\]'"):
        require_page()

"""Corrupted images in a report: whose they are, what the charts draw, what the tables say."""

import re

import pytest

from edge_se.core.errors import EdgeSeError
from edge_se.core.files import write_json
from edge_se.reporting.report import robustness, views
from edge_se.reporting.report.document import report_document
from edge_se.reporting.report.inputs import Material, Robustness, read_given
from edge_se.reporting.report.page import page
from edge_se.reporting.report.text import text


@pytest.fixture
def reported(build_named):
    """(documents) -> the report of `net` with them."""

    def make(*documents):
        return report_document([Material(name="net", build=build_named())], margin_pp=0.5, alpha=0.025,
                               robust=[(f"{number}.json", one) for number, one in enumerate(documents)])
    return make


def test_it_is_taken_as_it_was_measured(reported, robust_of) -> None:
    (section,) = reported(robust_of("shot_noise"))["builds"][0]["robustness"]
    assert [item["label"] for item in section["files"]] == ["fp32", "int8.cpu", "int8.tensorrt"]
    assert [(one["corruption"], one["severity"]) for one in section["conditions"]] == [
        ("clean", 0), ("shot_noise", 1), ("shot_noise", 5)]
    assert section["conditions"][2]["files"][1]["drop_pp"] == 5.0


def test_documents_and_files_of_other_builds_are_left_out_and_named(reported, robust_of) -> None:
    document = reported(robust_of("a", model="older"), robust_of("b", int8=("int8.cpu", "int8.arm")))
    (section,) = document["builds"][0]["robustness"]
    assert [item["label"] for item in section["files"]] == ["fp32", "int8.cpu"]
    tables = (section["overall"], *(one["files"] for one in section["conditions"]))
    assert all([row["file"] for row in rows] == ["fp32.onnx", "int8.cpu.onnx"] for rows in tables)
    assert [note.split(":")[0] for note in document["notes"]] == ["0.json", "1.json"]
    assert "another FP32 file" in document["notes"][0] and "1 of 3 files" in document["notes"][1]


def test_what_is_missing_says_how_to_get_it(reported, robust_of) -> None:
    def named(document):
        return [item["how"] for item in document["missing"] if item["section"] == "Robustness of net"]

    assert named(reported()) == ["Run `edge-se robustness --model net --out robustness.json` and give "
                                 "`--robustness robustness.json`."]
    assert named(reported(robust_of("a"))) == []


@pytest.mark.parametrize(("changes", "options"), [
    ({}, "net"),
    ({"out": "build/my net"}, "'my net'"), ({"out": "/home/me/net"}, "FOLDER"),
    ({"labels": ["cat", "dog"]}, "net --data DIR")])
def test_the_command_for_what_is_missing_names_the_build_and_its_images(build_named, changes, options) -> None:
    build = build_named(**changes)
    document = report_document([Material(name="net", build=build)], margin_pp=0.5, alpha=0.025)
    assert f"Run `edge-se sensitivity --model {options} --out" in "".join(item["how"] for item in document["missing"])


def test_tables_say_what_each_file_loses(reported, robust_of) -> None:
    (section,) = reported(robust_of("shot_noise"))["builds"][0]["robustness"]
    table = views.robustness(section)
    assert table.rows[2] == ["shot_noise", "5", "5", "40.00 (32.00–43.00)", "35.00; +5.00 (+4.00 to +7.00); 10",
                             "35.00; +5.00 (+4.00 to +7.00); 10"]
    assert table.rows[0][:3] == ["clean", "0", "–"] and len(table.columns) == len(table.rows[0])
    means = views.robustness_overall(section)
    assert means.rows[0] == ["fp32", "57.00 (55.00–59.00)", "–", "–", "–"]
    assert means.rows[1] == ["int8.cpu", "57.00 (55.00–59.00)", "+3.00 (+2.00 to +4.00)", "+0.00 (-1.00 to +2.00)",
                             "+3.00"], "without an interval the figure stands alone"
    assert "100 images of some-images" in table.title and "100 images of some-images" in means.title


def test_charts_have_one_scale_and_stay_within_their_panels(reported, robust_of) -> None:
    (section,) = reported(robust_of("one", "two"))["builds"][0]["robustness"]
    for row in section["conditions"][-1]["files"][1:]:
        row |= {"drop_pp": 9.0, "ci_pp": [8.0, 11.0]}
    one, two = robustness.charts_of(section)
    assert (one["name"], two["name"]) == ("one", "two")
    for first, second in zip(one["panels"], two["panels"]):
        assert first["y_ticks"] == second["y_ticks"] and len(first["y_ticks"]) >= 3
    for chart in (one, two):
        top1, drops = chart["panels"]
        assert top1["bottom"] < drops["top"] and drops["bottom"] < chart["height"]
        assert [len(line["marks"]) for line in top1["lines"]] == [3, 3, 3]
        assert [len(line["marks"]) for line in drops["lines"]] == [0, 3, 3], "FP32 loses nothing against itself"
        for panel in (top1, drops):
            for line in panel["lines"]:
                places = [mark["x"] for mark in line["marks"]]
                assert places == sorted(places) and all(0 <= x <= 100 for x in places)
                for mark in line["marks"]:
                    low, high = mark["interval"]
                    assert panel["bottom"] >= low > mark["y"] > high >= panel["top"]
        assert chart["panels"][0]["zero"] is None and drops["top"] < drops["zero"] < drops["bottom"]
    marks = [line["marks"][0] for line in one["panels"][0]["lines"]]
    assert len({mark["x"] for mark in marks}) == 3, "whiskers of one severity do not hide each other"
    assert "int8.cpu at severity 5: top-1 35.00 (32.00–43.00) %, drop +5.00 (+4.00 to +7.00) points" in one["summary"]


def test_fp16_is_in_the_table_and_not_in_the_chart(robust_of) -> None:
    given = robust_of("one", int8=("fp16", "int8.cpu")).model_dump(mode="json")
    lines = robustness.lines_of(given)
    assert [(line["label"], line["kind"], line["dash"]) for line in lines] == [("fp32", "plain", 0),
                                                                               ("int8.cpu", "hue0", 1)]
    assert [line["shape"] for line in lines] == ["circle", "diamond"]
    drawn = robustness.charts_of(given)[0]["panels"][0]["lines"][1]["marks"]
    assert all("int8.cpu" in mark["title"] for mark in drawn)
    assert "fp16: top-1 %" in views.robustness(given).columns[4]


def test_it_is_in_html_and_markdown(whole) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    source = page(whole)
    assert source.count('class="chart small"') == 2 and 'href="#robustness"' in source
    described = re.findall(r'<desc id="robustness-[\d-]+-text">(.*?)</desc>', source)
    assert len(described) == 2 and all("int8.tensorrt at severity 5" in said for said in described)
    written = text(whole)
    assert "## Robustness\n\n### Mean of all corruptions" in written
    assert "| gaussian_noise | 5 | 5 | 40.00 (32.00–43.00) |" in written


def plain(document):
    return {"schema": "edge-se/robustness/1"} | document.model_dump(mode="json", exclude={"schema_"})


@pytest.mark.parametrize(("damage", "says"), [
    (lambda it: it.update(schema="edge-se/bench/1"), "schema"),
    (lambda it: it["files"].reverse(), "FP32 and others"),
    (lambda it: it["files"].append(it["files"][1]), "each once"),
    (lambda it: it["conditions"][1]["files"].pop(), "lacks some of its files"),
    (lambda it: it["overall"].reverse(), "lacks some of its files"),
    (lambda it: it["conditions"].append(it["conditions"][1]), "each once"),
    (lambda it: it["conditions"].pop(0), "clean images"),
    (lambda it: it["conditions"][1].update(severity=6), "severity"),
    (lambda it: it["conditions"][0]["files"][0].update(top1=1e300), "top1"),
    (lambda it: it["conditions"][1]["files"][1].update(ci_pp=[1.0]), "ci_pp"),
    (lambda it: it["conditions"][1]["files"][1].update(flips=None), "told in part"),
    (lambda it: it["overall"][1].update(drop_pp=None), "interval of nothing"),
])
def test_what_is_no_such_document_is_refused(robust_of, tmp_path, damage, says) -> None:
    path = tmp_path / "given.json"
    document = plain(robust_of("one"))
    write_json(path, document)
    assert read_given(Robustness, path) == robust_of("one")
    damage(document)
    write_json(path, document)
    with pytest.raises(EdgeSeError, match=f"(?s)given.json: .*{says}.*robustness --out FILE"):
        read_given(Robustness, path)

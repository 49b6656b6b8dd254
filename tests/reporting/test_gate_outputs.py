"""JUnit XML, Markdown and annotations of a gate's document, and its words."""

from xml.etree import ElementTree

import pytest

from edge_se.core.errors import ArtifactError
from edge_se.reporting.gate_outputs import junit, summary, workflow_commands, write_outputs
from edge_se.reporting.verdict import explain

JUDGE = {"runtime": "onnxruntime", "version": "1.31.1", "device": "a processor", "floats": "f32"}
WORDS = "onnxruntime 1.31.1, floats f32, on a processor"


def target(name, verdict, **changes):
    return {"verdict": verdict, "target": name, "file": f"int8.{name}.onnx", "n": 10_000, "margin_pp": 0.5,
            "drop_pp": 0.12, "ci_pp": [-0.05, 0.31], "mcnemar_p": 0.25, "measured_by": JUDGE, "broken": 20, "fixed": 8,
            "looks": [{}],
            "classes": [{"class": "cat", "n": 1000, "broken": 9, "fixed": 0, "drop_pp": 0.9, "p_holm": 0.04,
                         "significant": name == "cpu"}]} | changes


@pytest.fixture
def document():
    return {"model": "net <&>", "dataset": "cifar10-test10k", "fp32_top1": 92.2, "confidence": 0.95, "overall": "fail",
            "fp32_measured_by": JUDGE, "interval": "Tango score", "design": "fixed", "images": 10_000,
            "verdict": "fail", "targets": [
                target("cpu", "pass"), target("openvino", "inconclusive"), target("tensorrt", "fail")],
            "size": [{"verdict": "pass", "target": "cpu", "file": "int8.cpu.onnx", "ratio": 0.26, "limit": 0.3}],
            "latency": [{"verdict": "fail", "target": "cpu", "file": "int8.cpu.onnx", "ratio": 0.95, "limit": 0.9,
                         "ci": [0.93, 0.96], "rounds": 9, "backend": "onnxruntime", "batch": 8, "threads": 1},
                        {"verdict": "inconclusive", "target": "tensorrt", "file": "int8.tensorrt.onnx", "ratio": None,
                         "limit": 0.9, "why": "bench.json holds no measurement"}]}


def test_junit_has_a_case_per_verdict(document):
    root = ElementTree.fromstring(junit(document).encode())
    assert root.tag == "testsuites"
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["net <&> accuracy", "net <&> latency", "net <&> size"]
    accuracy = suites["net <&> accuracy"]
    assert [accuracy.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "0"]
    assert [(case.get("name"), [child.tag for child in case]) for case in accuracy] == [
        ("int8.cpu.onnx", ["system-out"]), ("int8.openvino.onnx", ["error"]), ("int8.tensorrt.onnx", ["failure"])]
    assert "+0.12 points, 95 % interval [-0.05, +0.31], margin 0.50" in accuracy[2][0].get("message")
    assert [case.get("name") for case in suites["net <&> latency"]] == [
        "int8.cpu.onnx onnxruntime 8 1", "int8.tensorrt.onnx"]
    for suite in root:
        assert int(suite.get("tests")) == len(suite)


@pytest.mark.parametrize(("notes", "shown"), [
    ([["a", "b"], ["b"], ["b", "c"]], ["  note: a", "  note: c", "note: b (every file)"]),
    ([["a"], [], ["a"]], ["  note: a", "  note: a"]),
    ([["a", "b"]], ["  note: a", "  note: b"])])
def test_what_is_noted_of_every_file_is_told_once(document, notes, shown):
    document["targets"] = [row | {"notes": own} for row, own in zip(document["targets"], notes)]
    assert [line for line in explain(document) if "note: " in line] == shown


def test_the_summary_is_markdown(document):
    lines = summary(document).splitlines()
    assert lines[0] == "### net <&>: ❌ fail"
    assert "| `int8.tensorrt.onnx` | ❌ fail | +0.12 | -0.05 to +0.31 | 0.50 | 20 / 8 | 10,000 | 0.25 |" in lines
    assert "| latency | `int8.tensorrt.onnx` | ⚠️ inconclusive | bench.json holds no measurement |" in lines
    assert lines[-1].startswith("- `int8.cpu.onnx`, class cat: drop +0.90 points")
    tables = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in tables} == {9, 5}


def parsed(line):
    """(command, properties, message), read as GitHub's runner does: `TryParseV2` of its ActionCommand.cs."""
    assert line.startswith("::") and "\n" not in line and "\r" not in line
    head, _, message = line[2:].partition("::")
    command, _, properties = head.partition(" ")

    def plain(text, tokens):
        for token in tokens:
            text = text.replace(f"%{ord(token):02X}", token)
        return text
    pairs = (part.split("=", 1) for part in properties.strip().split(","))
    return command, {key: plain(value, "\r\n:,%") for key, value in pairs}, plain(message, "\r\n%")


def test_annotations_are_workflow_commands(document):
    found = [parsed(line) for line in workflow_commands(document)]
    assert [(command, properties["title"]) for command, properties, _ in found] == [
        ("notice", "net <&> accuracy: pass"), ("warning", "net <&> accuracy: inconclusive"),
        ("error", "net <&> accuracy: fail"), ("error", "net <&> latency: fail"),
        ("warning", "net <&> latency: inconclusive"), ("notice", "net <&> size: pass")]
    assert found[2][2].startswith("int8.tensorrt.onnx: the drop is above the margin: +0.12 points, 95 % interval [")
    assert found[3][2] == ("int8.cpu.onnx onnxruntime 8 1: takes 0.950 [0.930, 0.960] of FP32's time in 9 "
                           "turns, onnxruntime, batch 8, threads 1, limit 0.9")


@pytest.mark.parametrize("name", ["50 %, or :: more", "%0A%3A%25", "two\r\nlines", "::error::x", "a=b,c=d"])
def test_annotations_survive_any_name(document, name):
    row = target("cpu", "fail", file=name)
    (line,) = workflow_commands(document | {"model": name, "targets": [row], "size": [], "latency": []})
    command, properties, message = parsed(line)
    assert (command, properties) == ("error", {"title": f"{name} accuracy: fail"})
    assert message.startswith(f"{name}: the drop")


def test_words(document):
    lines = explain(document)
    assert ("latency FAIL: int8.cpu.onnx takes 0.950 [0.930, 0.960] of FP32's time in 9 turns, onnxruntime, batch 8, "
            "threads 1, limit 0.9") in lines
    assert sum("class cat" in line for line in lines) == 1
    assert lines[-2:] == [f"net <&>: fail (FP32 top-1 92.20 %: {WORDS})", "with what stands beside accuracy: fail"]
    early = document | {"design": "sequential", "targets": [target("cpu", "pass", n=3000, looks=[{}] * 3)]}
    lines = explain(early)
    assert "95 % repeated interval" in lines[1]
    assert "  decided at look 3, after 3,000 of 10,000 images" in lines
    assert "decided at look 10, after 10,000 of 10,000 images, all of them" in "\n".join(explain(
        document | {"design": "sequential", "targets": [target("cpu", "pass", looks=[{}] * 10)]}))


def test_a_document_of_before_is_still_said(document):
    old = {key: document[key] for key in ("model", "dataset", "fp32_top1", "confidence", "interval", "verdict")}
    rows = [{key: value for key, value in row.items() if key not in ("classes", "looks", "measured_by")}
            for row in document["targets"]]
    assert len(explain(old | {"targets": rows})) == 4 * 3 + 1


def test_no_accuracy_without_what_computed_it(document):
    other = JUDGE | {"runtime": "openvino"}
    document["targets"][1]["measured_by"] = other
    assert explain(document).count(f"  {WORDS}") == 2 and f"  OpenVINO{WORDS[11:]}" in explain(document)
    told = summary(document)
    assert f"Accuracy: FP32, `int8.cpu.onnx`, `int8.tensorrt.onnx`: {WORDS}; `int8.openvino.onnx`: OpenVINO" in told
    suite = ElementTree.fromstring(junit(document).encode())[0]
    assert [case[0].text.rpartition("; ")[2].partition(" ")[0] for case in suite] == [
        "onnxruntime", "OpenVINO", "onnxruntime"]
    del document["fp32_measured_by"], document["targets"][0]["measured_by"]
    assert explain(document).count("  not noted: an earlier edge-se measured it") == 1
    assert "FP32, `int8.cpu.onnx`: not noted" in summary(document)


def test_the_summary_is_appended_and_junit_replaced(document, tmp_path):
    xml, markdown = tmp_path / "gate.xml", tmp_path / "summary.md"
    for _ in range(2):
        write_outputs(document, xml, markdown)
    assert markdown.read_text() == 2 * (summary(document) + "\n")
    assert xml.read_text() == junit(document)
    with pytest.raises(ArtifactError, match="--summary"):
        write_outputs(document, None, tmp_path)

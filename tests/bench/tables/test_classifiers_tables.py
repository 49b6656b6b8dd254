"""Tables of classifiers: what counts as below the peers, as slower, as told; ranges of exports that differ."""

import pytest

from bench.tables import classifiers


def row(**changes):
    target = {"sqnr_db": 30.0, "agreement": 100.0, "fp32_ms": 2.0, "int8_ms": 1.0}
    return {"exporter": "torchscript", "batch": "dynamic", "why_not": None, "refused": None, "notes": [],
            "commit": "0123456789",
            "targets": {name: dict(target) for name in classifiers.TARGETS},
            "peers": {"onnxruntime": {"sqnr_db": 29.0}, "nncf": {"sqnr_db": 30.5}}} | changes


def net(name="net", **changes):
    return {"net": name, "library": "torchvision", "size": 64, "why_not": None, "rows": [row()]} | changes


@pytest.fixture
def text_of(monkeypatch):
    def of(*nets, what=classifiers.classifiers_text):
        versions = dict.fromkeys(("onnxruntime", "openvino", "nncf", "torch", "torchvision", "timm"), "1.0")
        monkeypatch.setattr(classifiers, "measured", lambda name: {
            "calibration": 16, "evaluation": 32, "left": ["later"], "nets": list(nets),
            "environment": {"versions": versions, "hardware": {"cpu": "a CPU"}}})
        return what()
    return of


def test_the_table_shows_a_range_where_exports_differ(text_of):
    other = row(exporter="dynamo", batch="static", peers={})
    other["targets"]["cpu"] |= {"sqnr_db": 28.25, "fp32_ms": 1.0}
    del other["targets"]["tensorrt"]
    text = text_of(net(rows=[row(), other]), net("none", rows=[row(why_not="x", targets={})]),
                   what=classifiers.classifiers_table)
    assert text.splitlines()[2:] == [
        "| `net` | 64 | 2 | 29.0 | 30.5 | 28.2 to 30.0 | 30.0 | 30.0 | 1.00 to 2.00 | 2.00 |"]


@pytest.mark.parametrize(("db", "peers", "below"), [
    (29.6, {}, 0), (29.4, {}, 1), (28.5, {"nncf": {"sqnr_db": None}}, 0), (27.9, {"nncf": {"sqnr_db": None}}, 1),
    (1.0, {"nncf": {"sqnr_db": None}, "onnxruntime": {"sqnr_db": None}}, 0)])
def test_a_file_is_below_when_the_better_peer_has_more_than_one_db_more(text_of, db, peers, below):
    one = row()
    one["targets"]["cpu"]["sqnr_db"] = db
    one["peers"] |= peers
    text = text_of(net(rows=[one]))
    assert f"3 INT8 files. More than 1 dB below the better of the two peers: {below}, of which 0 are " in text
    assert ("- `net`, TorchScript, dynamic batch, `cpu`: " in text) == bool(below)


@pytest.mark.parametrize(("free", "target", "of_form", "told"), [
    ({"free_zero_points_db": 29.6}, "tensorrt", 1, ", with free zero points 29.6"),
    ({"free_zero_points_db": 29.4}, "tensorrt", 0, ", with free zero points 29.4"),
    ({}, "tensorrt", 0, ""), ({"free_zero_points_db": 40.0}, "cpu", 0, "")])
def test_a_tensorrt_file_is_told_what_its_form_costs(text_of, free, target, of_form, told):
    one = row()
    one["targets"][target]["sqnr_db"] = 28.0
    text = text_of(net(rows=[one], **free))
    assert f"two peers: 1, of which {of_form} are `tensorrt` files" in text
    assert f"- `net`, TorchScript, dynamic batch, `{target}`: 28.0 dB, the better peer 30.5{told}\n" in text


@pytest.mark.parametrize(("int8_ms", "notes", "told"), [
    (2.05, [], None), (2.2, [], "not told"), (2.2, ["int8.openvino.onnx is slower than FP32"], "not told"),
    (2.2, ["int8.cpu.onnx is slower than FP32 on this machine"], "told")])
def test_a_slow_file_is_listed_with_whether_that_was_told(text_of, int8_ms, notes, told):
    one = row(notes=notes)
    one["targets"]["cpu"]["int8_ms"] = int8_ms
    text = text_of(net(rows=[one]))
    assert f"slower than FP32 in their runtime: {int(told is not None)}, of which `export` told " in text
    assert [line.rpartition(", ")[2] for line in text.splitlines() if "times FP32's speed" in line] == (
        [told] if told else [])


def test_what_was_refused_or_could_not_be_exported_is_listed(text_of):
    text = text_of(net("large", why_not="larger than 2 GiB", rows=[]),
                   net(rows=[row(why_not="Oops: no", targets={}), row(refused="cpu: not\n  so", exporter="dynamo")]))
    assert text.splitlines()[-3:] == [
        "- `large`: larger than 2 GiB", "- `net`, TorchScript, dynamic batch: Oops: no",
        "- `net`, dynamo, dynamic batch: refused. cpu: not so"]
    assert "1 of 3 nets are measured: 1 exports" in text and "committed): 0123456 1." in text
    assert "Not measured yet: `later`." in text

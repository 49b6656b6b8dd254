"""Names of classes in the metadata of other tools: taken where they name each output, and the user's win."""

import onnx
import pytest

from edge_se.graph.source import SourceOptions, load_source

TEN = [f"class {number}" for number in range(10)]
SEEN = {
    "Ultralytics": ("names", str(dict(enumerate(TEN)))),
    "Paddle": ("character", "\n".join(TEN)),
    "Hugging Face": ("id2label", '{"1": "class 1", "0": "class 0", ' + ", ".join(
        f'"{number}": "{TEN[number]}"' for number in range(2, 10)) + "}"),
    "a list": ("classes", str(TEN)),
}
NONE = {
    "too few": ("names", str(dict(enumerate(TEN[:9])))), "twice": ("names", str([*TEN[:9], TEN[0]])),
    "gaps": ("names", str({number + 1: name for number, name in enumerate(TEN)})),
    "numbers": ("classes", str(list(range(10)))), "code": ("names", "[" + "__import__('os'), " * 10 + "]"),
    "depth": ("names", "[" * 5000), "broken": ("names", "{0: 'a'"), "one text": ("labels", ", ".join(TEN)),
}


@pytest.fixture
def file(tiny_onnx, tmp_path):
    def write(key, value):
        proto = tiny_onnx.copy()
        del proto.metadata_props[:]
        proto.metadata_props.add(key=key, value=value)
        onnx.save(proto, tmp_path / "m.onnx")
        return str(tmp_path / "m.onnx")
    return write


@pytest.mark.parametrize(("key", "value"), SEEN.values(), ids=SEEN)
def test_they_are_the_names_of_the_outputs(file, key, value):
    path, own = file(key, value), tuple(str(number) for number in range(10))
    assert load_source(path, None).metadata.labels == tuple(TEN)
    assert load_source(path, None, SourceOptions(labels=own)).metadata.labels == own


@pytest.mark.parametrize(("key", "value"), NONE.values(), ids=NONE)
def test_what_does_not_name_each_output_is_left_alone(file, key, value):
    assert load_source(file(key, value), None).metadata.labels == ()

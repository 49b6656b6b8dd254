"""`export` tells how many grouped convolutions stay in float, of each target that leaves them so."""

import numpy as np
import pytest

from edge_se.core.progress import SilentProgress
from edge_se.graph.onnx_model import OnnxModel
from edge_se.steps.export import export


class Notes(SilentProgress):
    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.mark.parametrize(("groups", "targets", "told"), [
    ((8, 16), ["cpu", "cpu-avx2", "arm", "openvino", "tensorrt"],
     ["int8.cpu.onnx: 2 grouped convolutions", "int8.cpu-avx2.onnx: 2 grouped convolutions"]),
    ((16, 2), ["cpu", "arm"], ["int8.cpu.onnx: 1 grouped convolution "]),
    ((1, 32), ["cpu", "cpu-avx2"], []), ((32, 2), ["openvino", "arm"], []),
    ((8, 16), ["openvino", "tensorrt-fp16"], [])])
def test_each_target_tells(graph_of, calibration_npz, tmp_path, monkeypatch, groups, targets, told):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    rng = np.random.default_rng(0)
    weights = {"s": (32, 3, 1, 1), "f": (10, 32)}
    weights |= {f"w{at}": (32, 32 // group, 3, 3) for at, group in enumerate(groups)}
    nodes = [("Conv", ["x", "s"], ["a"]), ("Relu", ["a"], ["b"]),
             ("Conv", ["b", "w0"], ["g"], {"group": groups[0], "pads": [1] * 4}), ("Relu", ["g"], ["h"]),
             ("Conv", ["h", "w1"], ["i"], {"group": groups[1], "pads": [1] * 4}), ("GlobalAveragePool", ["i"], ["p"]),
             ("Flatten", ["p"], ["q"]), ("Gemm", ["q", "f"], ["y"], {"transB": 1})]
    model = graph_of(nodes, {name: (rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)
                             for name, shape in weights.items()}, x=("batch", 3, 32, 32), shape=("batch", 10))
    (tmp_path / "net.onnx").write_bytes(OnnxModel.of(model).content)
    notes = Notes()
    export(str(tmp_path / "net.onnx"), int8=True, targets=targets, calibration=str(calibration_npz), effort="quick",
           accuracy=False, out=tmp_path / "build", progress=notes)
    said = [text for text in notes.said if "grouped convolution" in text]
    assert len(said) == len(told)
    assert all(text.startswith(start) and "(2 to 4 channels a group" in text for text, start in zip(said, told))


def test_narrow_layers_beside_a_hard_swish_are_told(graph_of, calibration_npz, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    rng = np.random.default_rng(0)
    weights = {"s": (16, 3, 1, 1), "w": (16, 1, 3, 3), "v": (16, 16, 1, 1), "f": (10, 16)}
    nodes = [("Conv", ["x", "s"], ["a"]), ("HardSwish", ["a"], ["b"]),
             ("Conv", ["b", "w"], ["d"], {"group": 16, "pads": [1] * 4}), ("HardSwish", ["d"], ["e"]),
             ("Conv", ["e", "v"], ["i"]), ("GlobalAveragePool", ["i"], ["p"]), ("Flatten", ["p"], ["q"]),
             ("Gemm", ["q", "f"], ["y"], {"transB": 1})]
    model = graph_of(nodes, {name: (rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)
                             for name, shape in weights.items()}, x=("batch", 3, 32, 32), shape=("batch", 10))
    (tmp_path / "net.onnx").write_bytes(OnnxModel.of(model).content)
    notes = Notes()
    export(str(tmp_path / "net.onnx"), int8=True, targets=["cpu", "arm", "openvino"], calibration=str(calibration_npz),
           effort="quick", accuracy=False, out=tmp_path / "build", progress=notes)
    assert [text for text in notes.said if "stay FP32" in text] == [
        "int8.cpu.onnx: 3 narrow convolutions beside a hard swish stay FP32: INT8 takes longer there in onnxruntime"]

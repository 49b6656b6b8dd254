"""Models of every kind of input from file to device: calibrated, judged, run by the agent and by a bundle alike."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import _Session
from edge_se.backends.openvino import OpenVino, installed
from edge_se.backends.remote import _sent
from edge_se.data.calibration import load
from edge_se.device.agent import Bundle
from edge_se.device.agent.server import _images
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import SourceOptions
from edge_se.steps.export import export

SIZE = 16
KINDS = {  # (shape of the input without its batch, uint8, what the user tells)
    "NHWC": ((SIZE, SIZE, 3), False, {"preprocessing": "imagenet-bicubic"}),
    "grey": ((1, SIZE, SIZE), False, {"mean": (0.13,), "std": (0.31,)}),
    "grey NHWC": ((SIZE, SIZE, 1), False, {"range": "-1-1", "resize": "squash"}),
    "BGR": ((3, SIZE, SIZE), False, {"preprocessing": "caffe", "resize": "letterbox"}),
    "uint8": ((3, SIZE, SIZE), True, {"colour": "BGR"}),
    "uint8 NHWC": ((SIZE, SIZE, 3), True, {"antialias": False, "crop_share": 0.8}),
    "tf": ((3, SIZE, SIZE), False, {"preprocessing": "tf"}),
    "0-255": ((3, SIZE, SIZE), False, {"range": "0-255"})}


def front(shape, of_bytes):
    """Nodes that bring an input to float NCHW, as `z`."""
    nodes = [("Cast", ["x"], ["k"], {"to": TensorProto.FLOAT})] if of_bytes else [("Identity", ["x"], ["k"])]
    return nodes + ([("Transpose", ["k"], ["z"], {"perm": [0, 3, 1, 2]})] if shape[-1] in (1, 3) else
                    [("Identity", ["k"], ["z"])])


@pytest.fixture(scope="module")
def saved(graph_of):
    """(path, kind, nodes from `z` to `y`, constants) -> the path of a graph of that kind."""

    def make(path, kind, nodes, constants=None):
        shape, of_bytes, _ = KINDS[kind]
        proto = graph_of([*front(shape, of_bytes), *nodes], constants, x=("batch", *shape), shape=("batch", None))
        if of_bytes:
            proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
        onnx.save(proto, path)
        return str(path)
    return make


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """JPEG files of several shapes, grey and turned ones among them."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photographs")
    turned = Image.Exif()
    turned[0x0112] = 6
    for number in range(12):
        coarse = Image.fromarray(random.integers(0, 256, (4, 6, 3), dtype=np.uint8))
        picture = coarse.resize((40 + number, 31), Image.Resampling.BICUBIC)
        (picture.convert("L") if number % 4 == 0 else picture).save(
            folder / f"{number:02}.jpg", exif=turned if number % 3 == 0 else Image.Exif())
    return folder


@pytest.fixture(autouse=True)
def _no_data(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", KINDS)
def test_one_photograph_is_one_tensor_everywhere(saved, photographs, tmp_path, monkeypatch, kind):
    """The answers of this net are its input."""
    shape, of_bytes, told = KINDS[kind]
    path = saved(tmp_path / "mine.onnx", kind, [("Flatten", ["z"], ["y"])])
    build = export(path, calibration=str(photographs), out=tmp_path / "build", bundle=True,
                   preprocessing=SourceOptions(**told))
    model = OnnxModel.read(build.folder / "fp32.onnx")
    how, paths = model.metadata.preprocessing, sorted(photographs.iterdir())
    calibrated = load(str(photographs), None, how)
    tensors = np.concatenate(list(calibrated.batches(5)))
    assert tensors.shape[1:] == shape and tensors.dtype == ("uint8" if of_bytes else "float32")
    given, answers = [], _Session.answers
    monkeypatch.setattr(_Session, "answers", lambda self, batches: answers(
        self, (given.append(batch) or batch for batch in batches)))
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "another"))
    judged = logits_of(model, calibrated)
    np.testing.assert_array_equal(np.concatenate(given), tensors)
    bundle = Bundle(str(build.folder / "bundle"))
    answers = np.concatenate([bundle.run(bundle.read_image(str(path))) for path in paths])
    np.testing.assert_array_equal(answers, judged)
    planes = tensors if shape[-1] not in (1, 3) else tensors.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(answers, planes.reshape(len(paths), -1).astype(np.float32))
    content, header = _sent(tensors)  # what goes to an agent, and what it makes of it
    there = _images(header, content)
    assert there.dtype == tensors.dtype
    np.testing.assert_array_equal(there, tensors)
    document = build.preprocessing
    assert (document["axes"], document["colour"], document["dtype"]) == (how.axes, how.colour, how.dtype)


def test_the_bundles_own_program_reads_bytes_and_grey(saved, photographs, tmp_path, bare_python):
    """run.py names the brightest row of pixels, which a viewer of the file can name as well."""
    from edge_se.device.agent.preprocess import read_pixels

    for kind in ("uint8 NHWC", "grey"):
        rows = [("ReduceMean", ["z"], ["m"], {"axes": [1, 3], "keepdims": 0}), ("Flatten", ["m"], ["y"])]
        path = saved(tmp_path / f"{kind}.onnx", kind, rows)
        build = export(path, calibration=str(photographs), out=tmp_path / kind, bundle=True,
                       preprocessing=SourceOptions(**KINDS[kind][2]))
        how = OnnxModel.read(build.folder / "fp32.onnx").metadata.preprocessing
        stored = []
        for number, name in enumerate(sorted(photographs.iterdir())[:3]):
            np.save(tmp_path / f"{number}.npy", read_pixels(name, how))
            stored.append(str(tmp_path / f"{number}.npy"))
        done = subprocess.run([bare_python / "python3", build.folder / "bundle" / "run.py", *stored],
                              capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        judged = logits_of(OnnxModel.read(build.folder / "fp32.onnx"), load(str(photographs), None, how))
        assert [int(line.rsplit(": ", 1)[1]) for line in done.stdout.splitlines()[1:]] == list(judged[:3].argmax(1))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_quantized_and_judged(saved, photographs, tmp_path, kind):
    channels = 1 if "grey" in kind else 3
    random = np.random.default_rng(0)
    net = [("Conv", ["z", "w"], ["c"], {"pads": [1] * 4, "strides": [2, 2]}), ("Relu", ["c"], ["r"]),
           ("Conv", ["r", "v"], ["d"], {"pads": [1] * 4}), ("Relu", ["d"], ["e"]),
           ("GlobalAveragePool", ["e"], ["p"]), ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "g"], ["y"])]
    path = saved(tmp_path / "mine.onnx", kind, net, {
        "w": random.standard_normal((16, channels, 3, 3)).astype(np.float32),
        "v": random.standard_normal((16, 16, 3, 3)).astype(np.float32),
        "g": random.standard_normal((16, 10)).astype(np.float32)})
    build = export(path, int8=True, targets=["cpu", "openvino", "tensorrt"], placement="all", effort="quick",
                   calibration=str(photographs), out=tmp_path / "build", preprocessing=SourceOptions(**KINDS[kind][2]))
    assert {item.target for item in build.artifacts} == {"any", "cpu", "openvino", "tensorrt"}
    reference = logits_of(OnnxModel.read(build.folder / "fp32.onnx"), load(
        str(photographs), None, OnnxModel.read(build.folder / "fp32.onnx").metadata.preprocessing))
    for item in build.artifacts[1:]:
        assert item.int8_mac_share > 0.9 and item.flips <= 3
        model = OnnxModel.read(build.folder / item.file, precision="int8", target=item.target)
        images = load(str(photographs), None, model.metadata.preprocessing)
        here = logits_of(model, images)
        assert np.abs(here - reference).max() < 0.1 * np.abs(reference).max()
        if item.target == "openvino" and installed():
            with OpenVino().open(model, Device(threads=1)) as session:
                there = session.run(next(images.batches(12)))
            assert np.abs(there - reference).max() < 0.1 * np.abs(reference).max()


@pytest.mark.parametrize("kind", ["uint8", "NHWC"])
def test_a_file_of_its_own_kind_is_measured(saved, tmp_path, kind):
    """Timing makes up inputs of the right type and shape."""
    from edge_se.quantization.sensitivity import interleaved_medians
    from edge_se.steps.bench_run import _feed

    path = saved(tmp_path / "mine.onnx", kind, [("Flatten", ["z"], ["y"])])
    model = OnnxModel.read(tmp_path / "mine.onnx")
    feed = _feed(model, 2)
    assert feed.shape == (2, *KINDS[kind][0]) and feed.dtype == model.input_dtype and path
    from edge_se.backends.onnxruntime import OnnxRuntime
    from edge_se.core.progress import SILENT

    assert all(median > 0 for median in interleaved_medians([model, model], OnnxRuntime(), SILENT))


def test_export_fuses_and_says_what_went_in(saved, photographs, tmp_path):
    random = np.random.default_rng(0)
    net = [("Conv", ["z", "w"], ["c"], {"pads": [1] * 4}), ("Relu", ["c"], ["r"]), ("GlobalAveragePool", ["r"], ["p"]),
           ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "g"], ["y"])]
    path = saved(tmp_path / "mine.onnx", "NHWC", net, {
        "w": random.standard_normal((16, 3, 3, 3)).astype(np.float32),
        "g": random.standard_normal((16, 10)).astype(np.float32)})
    options = {"int8": True, "targets": ["cpu"], "placement": "all", "effort": "quick", "bundle": True,
               "calibration": str(photographs), "preprocessing": SourceOptions(preprocessing="imagenet")}
    plain = export(path, out=tmp_path / "plain", **options)
    fused = export(path, out=tmp_path / "fused", fuse_preprocessing=True, **options)
    assert (fused.preprocessing["dtype"], fused.preprocessing["axes"]) == ("uint8", "NHWC")
    assert fused.source["fused_preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert plain.artifacts[0].params == fused.artifacts[0].params
    picture = str(sorted(photographs.iterdir())[1])
    answers = [bundle.run(bundle.read_image(picture)) for bundle in (
        Bundle(str(build.folder / "bundle"), precisions=[precision]) for build in (plain, fused)
        for precision in ("fp32", "int8"))]
    largest = np.abs(answers[0]).max()
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-5 * largest)
    np.testing.assert_allclose(answers[3], answers[0], atol=0.1 * largest)

"""Models that this project has never seen, through the whole export: quantized, or refused by node and reason."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT
from edge_se.data.cifar10 import BINARY_FOLDER, CLASSES
from edge_se.data.contents import Contents
from edge_se.data.dataset import Dataset
from edge_se.graph.source import SourceOptions, load_source
from edge_se.steps.export import export
from edge_se.steps.gate import gate
from edge_se.steps.verify import verify

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(24):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)  # blobs: noise alone excites no deep feature
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder


def warmed(net, size):
    """`net` with batch-norm statistics of random images, so that its logits differ from image to image."""
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(8, 3, size, size))
    return net.eval()


def exported(net, path, size, **options):
    with torch.no_grad():
        torch.onnx.export(net, (torch.zeros(2, 3, size, size),), str(path), input_names=["x"], output_names=["y"],
                          verbose=False, **options)
    return path


class LinearExcitations(torch.nn.Module):
    """A small SE net whose excitations are linear layers behind `view`, as most SE code has them."""

    def __init__(self, sigmoid):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, 2, 1), torch.nn.BatchNorm2d(32), torch.nn.ReLU())
        self.excitation = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.ReLU(), torch.nn.Linear(8, 32), sigmoid)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(32, 32, 3, 1, 1), torch.nn.BatchNorm2d(32))
        self.head = torch.nn.Linear(32, 7)

    def forward(self, x):
        x = self.stem(x)
        u = self.body(x)
        excitation = self.excitation(u.mean((2, 3))).view(u.shape[0], u.shape[1], 1, 1)
        return self.head(torch.relu(x + u * excitation).mean((2, 3)))


@pytest.mark.parametrize("sigmoid", [torch.nn.Sigmoid(), torch.nn.Hardsigmoid()], ids=["sigmoid", "hardsigmoid"])
def test_se_nets_with_linear_excitations(tmp_path, pictures, monkeypatch, sigmoid):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    path = exported(warmed(LinearExcitations(sigmoid), 64), tmp_path / "se.onnx", 64, dynamo=True, external_data=False,
                    dynamic_shapes=({0: torch.export.Dim("batch")},))
    build = export(str(path), int8=True, calibration=str(pictures), out=tmp_path / "build")
    assert build.labels == () and build.preprocessing["mean"] == [0.485, 0.456, 0.406]
    for target in ("cpu", "tensorrt"):
        item = build.find("int8", target)
        assert item.top1 is None and item.agreement_with_fp32 >= 90
        graph = onnx.load(tmp_path / "build" / item.file)
        maker = {output: node for node in graph.graph.node for output in node.output}
        excitations = [node for node in graph.graph.node if node.op_type in ("Sigmoid", "HardSigmoid")]
        assert len(excitations) == 1
        assert maker[excitations[0].input[0]].op_type in ("Gemm", "Add"), "the inside of the excitation stays in float"
    verify(str(tmp_path / "build"))


def test_a_fixed_batch_of_one_and_own_normalisation(tmp_path, pictures):
    path = exported(warmed(LinearExcitations(torch.nn.Sigmoid()), 64), tmp_path / "one.onnx", 64, dynamo=True,
                    external_data=False)
    half = (0.5, 0.5, 0.5)
    build = export(str(path), int8=True, calibration=str(pictures), out=tmp_path / "build",
                   preprocessing=SourceOptions(mean=half, std=half))
    assert build.preprocessing["std"] == [0.5, 0.5, 0.5]
    assert len({item.params for item in build.artifacts}) == 1, "INT8 has the parameters that the file came with"
    again = load_source(str(tmp_path / "build" / "fp32.onnx"), None)
    assert again.metadata.preprocessing.mean == half  # what a build says of itself is believed
    with pytest.raises(EdgeSeError, match="its own normalisation"):
        load_source(str(tmp_path / "build" / "fp32.onnx"), None, SourceOptions(mean=half))


def test_ten_classes_at_32_pixels_are_judged_by_agreement_alone(tiny_onnx, tmp_path, monkeypatch):
    """Their own data set may be any; CIFAR-10's test images must not even be read."""
    from edge_se.data import calibration as calibration_sets
    from edge_se.steps import export as module

    proto = tiny_onnx.copy()
    del proto.metadata_props[:]
    (tmp_path / "mine.onnx").write_bytes(proto.SerializeToString())
    read, notes = [], []

    def ten():
        read.append("test")
        known = calibration_sets.load("synthetic-256", None).first(10)
        return replace(known, pixels=255 - known.pixels, labels=np.arange(10, dtype=np.uint8))

    (tmp_path / "data" / BINARY_FOLDER).mkdir(parents=True)
    monkeypatch.setattr(module, "find_dataset", lambda *ignored, **settings: Dataset(
        name="data", path=tmp_path / "data", layout="CIFAR-10", classes=CLASSES, splits=("test",), judging="test",
        contents=Contents(classes=CLASSES, splits={"test": ten})))

    class Progress(type(SILENT)):
        def note(self, text):
            notes.append(text)

    options = {"int8": True, "targets": ["cpu"], "calibration": "synthetic-256", "progress": Progress()}
    build = export(str(tmp_path / "mine.onnx"), out=tmp_path / "build", **options)
    assert not read and build.labels == () and {item.dataset for item in build.artifacts} == {"synthetic-256"}
    assert all(item.top1 is None and item.agreement_with_fp32 is not None for item in build.artifacts)
    assert [note for note in notes if "nothing says which classes its outputs are" in note]
    assert [note for note in notes if note.startswith("assumed --mean 0.4914")]
    with pytest.raises(EdgeSeError, match="nothing says which classes"):
        gate(str(tmp_path / "build"), data=tmp_path / "data")
    labelled = export(str(tmp_path / "mine.onnx"), out=tmp_path / "other", preprocessing=SourceOptions(labels=CLASSES),
                      **options)
    assert read == ["test"] and labelled.labels == CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "resnet18"])
def test_torchvision_models_with_the_users_weights(tmp_path, pictures, monkeypatch, name):
    from edge_se.data.torchvision_import import torchvision

    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    net = warmed(torchvision.models.get_model(name, weights=None, num_classes=20), 96)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    build = export(f"torchvision:{name}", weights=tmp_path / "weights.pth", int8=True, calibration=str(pictures),
                   out=tmp_path / "build", preprocessing=SourceOptions(input_size=96))
    assert build.model == name and build.parity["torch_vs_onnx"]["images"] == 24
    assert build.artifacts[0].params == sum(parameter.numel() for parameter in net.parameters())
    assert all(item.agreement_with_fp32 >= 85 for item in build.artifacts)
    shares = {item.target: item.int8_mac_share for item in build.artifacts[1:]}
    assert shares["tensorrt"] > 0.9 and (shares["cpu"] > 0.9) == (name != "mobilenet_v3_small")  # narrow hard swishes
    assert shares["cpu"] > 0.3


REFUSED = {
    "old opset": ({"opset": 6}, "opset 6"),
    "dynamic size": ({"x": ("batch", 3, "h", "w")}, "height and width are not fixed"),
    "four channels": ({"x": ("batch", 4, 8, 8)}, "one or three channels"),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_handled_is_refused(graph_of, tmp_path, options, says):
    path = tmp_path / "model.onnx"
    onnx.save(graph_of([("Relu", ["x"], ["y"])], **options), path)
    with pytest.raises(EdgeSeError, match=says):
        load_source(str(path), None)


def test_the_node_is_named(graph_of, tmp_path):
    path = tmp_path / "model.onnx"
    model = graph_of([("QuantizeLinear", ["x", "s", "z"], ["q"]), ("DequantizeLinear", ["q", "s", "z"], ["y"])],
                     {"s": np.float32(0.1), "z": np.int8(0)})
    model.graph.node[0].name = "first"
    onnx.save(model, path)
    with pytest.raises(EdgeSeError, match="QuantizeLinear node 'first': is quantized already"):
        load_source(str(path), None)


@pytest.mark.parametrize(("model", "weights", "says"), [
    ("torchvision:resnet81", "w.pth", "did you mean"),
    ("torchvision:resnet18", "missing.pth", "no such weights"),
    ("torchvision:resnet18", "broken.pth", "not readable as a state dict"),
    ("torchvision:resnet18", "other.pth", "does not fit torchvision's resnet18"),
])
def test_bad_weights_are_messages(tmp_path, model, weights, says):
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    torch.save({"fc.bias": torch.zeros(4)}, tmp_path / "other.pth")
    with pytest.raises(EdgeSeError, match=says):
        load_source(model, tmp_path / weights if weights else None)

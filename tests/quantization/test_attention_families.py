"""Blocks of other families between INT8 convolutions: attention, channel shuffles and one-sided padding, near FP32."""

import pytest

from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.foreign import normalised
from edge_se.graph.metadata import ModelMetadata, write_metadata
from edge_se.graph.onnx_model import OnnxModel
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.sensitivity import sqnr_db
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional


class Neighbours(nn.Module):
    """ECA: a convolution along the channels' means."""

    def __init__(self):
        super().__init__()
        self.along = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.along(x.mean((2, 3))[:, None]))[:, 0, :, None, None]


class TwoPools(nn.Module):
    """CBAM: means and largest values share two layers, then one convolution sees both for each place."""

    def __init__(self):
        super().__init__()
        self.down, self.up, self.places = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1), nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x):
        pooled = functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1)
        x = x * torch.sigmoid(sum(self.up(torch.relu(self.down(one))) for one in pooled))
        return x * torch.sigmoid(self.places(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))


class Coordinates(nn.Module):
    """CoordAttention: rows' and columns' means joined, one layer, and split again."""

    def __init__(self):
        super().__init__()
        self.both, self.rows, self.columns = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1), nn.Conv2d(8, 16, 1)

    def forward(self, x):
        joined = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
        rows, columns = torch.split(functional.hardswish(self.both(joined)), [x.shape[2], x.shape[3]], 2)
        return x * torch.sigmoid(self.rows(rows)) * torch.sigmoid(self.columns(columns.permute(0, 1, 3, 2)))


class Sums(nn.Module):
    """An excitation whose layers are written as Einstein sums."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(4, 16) / 4), nn.Parameter(torch.randn(16, 4) / 2)

    def forward(self, x):
        hidden = torch.relu(torch.einsum("bc,rc->br", x.mean((2, 3)), self.down))
        return x * torch.sigmoid(torch.einsum("br,cr->bc", hidden, self.up))[:, :, None, None]


class Shuffle(nn.Module):
    """ShuffleNet: half of the channels goes through a depthwise convolution, then both halves are mixed."""

    def __init__(self):
        super().__init__()
        self.depthwise, self.point = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        kept, other = x.chunk(2, 1)
        x = torch.cat([kept, torch.relu(self.point(self.depthwise(other)))], 1)
        n, channels, height, width = x.shape
        return x.view(n, 2, channels // 2, height, width).transpose(1, 2).reshape(n, channels, height, width)


class Branches(nn.Module):
    """SK: a Softmax over two branches weighs each channel of each."""

    def __init__(self):
        super().__init__()
        self.near, self.far = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.down, self.up = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 32, 1)

    def forward(self, x):
        both = torch.stack([torch.relu(self.near(x)), torch.relu(self.far(x))], 1)
        weights = self.up(torch.relu(self.down(both.sum(1).mean((2, 3), keepdim=True)))).view(-1, 2, 16, 1, 1)
        return (both * weights.softmax(1)).sum(1)


class Radix(Branches):
    """ResNeSt: the same, but each branch has a product of its own."""

    def forward(self, x):
        near, far = torch.relu(self.near(x)), torch.relu(self.far(x))
        weights = self.up(torch.relu(self.down((near + far).mean((2, 3), keepdim=True)))).view(-1, 2, 16, 1, 1)
        first, second = weights.softmax(1).chunk(2, 1)
        return near * first.squeeze(1) + far * second.squeeze(1)


class OneSided(nn.Module):
    """TensorFlow's SAME at stride 2: more padding behind than before, a depthwise convolution, SiLU and an SE block."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(16, 16, 3, 2, groups=16)
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x):
        x = functional.silu(self.depthwise(functional.pad(x, (0, 1, 0, 1))))
        return x * torch.sigmoid(self.up(functional.silu(self.down(x.mean((2, 3), keepdim=True)))))


@pytest.fixture(scope="module", params=[Neighbours, TwoPools, Coordinates, Sums, Shuffle, Branches,
                                        Radix, OneSided],
                ids=lambda block: block.__name__)
def source(request, tmp_path_factory):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), request.param(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()
    path = tmp_path_factory.mktemp("block") / "m.onnx"
    torch.onnx.export(net, (torch.zeros(2, 3, 16, 16),), str(path), input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, opset_version=17, dynamo=False, verbose=False)
    proto = normalised(OnnxModel.read(path), path)
    write_metadata(proto, ModelMetadata(model="block"))
    return OnnxModel.of(proto)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt", "litert"])
def test_int8_is_near_fp32_where_it_is_judged(source, random_images, target):
    images, rules = random_images(32, size=16), TARGETS[target]
    if target == "litert" and "Einsum" in [node.op_type for node in source.proto.graph.node]:
        pytest.skip("LiteRT has no Einsum")
    made = quantize(source, collect(source, images).ranges("mse", rules.activations), rules,
                    place(source.proto, rules))
    assert 25 < sqnr_db(logits_of(source, images), logits_of(made, images)) < 70

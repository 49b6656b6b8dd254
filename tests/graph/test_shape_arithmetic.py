"""Sizes that exporters compute at run time become constants; the batch stays dynamic where it really is."""

import numpy as np
import pytest
import torch
from torch import nn

from edge_se.core.errors import ModelError
from edge_se.graph.counting import count
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((3, 3, 8, 8), np.float32)
ARITHMETIC = {"Shape", "Gather", "Slice", "Div", "Unsqueeze", "ConstantOfShape", "If", "Size", "Range"}
W = RANDOM.standard_normal((4, 3, 1, 1), np.float32)
F = RANDOM.standard_normal((4, 5), np.float32)


class Shuffled(nn.Module):
    """ShuffleNet's channel shuffle: the sizes come from `shape`, the batch among them."""

    def forward(self, x):
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Windows(nn.Module):
    """Swin's windows: the batch is multiplied into the first axis and comes out again."""

    def forward(self, x):
        n, c, h, w = x.shape
        parts = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        parts = parts * torch.softmax(parts @ parts.transpose(1, 2), 2).sum(2, keepdim=True)
        return parts.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


class Halves(nn.Module):
    """YOLO's `chunk` and CoordAttention's `split` by sizes that are computed."""

    def forward(self, x):
        one, other = x.chunk(2, 1)
        h, w = torch.split(torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2),
                           [x.shape[2], x.shape[3]], 2)
        return torch.cat([one, other], 1) * torch.sigmoid(h) * torch.sigmoid(w.permute(0, 1, 3, 2))


class Tokens(nn.Module):
    """A ViT's class token, expanded to the batch, in front of `flatten(2)`."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 16))

    def forward(self, x):
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], 1)
        return (tokens[:, 1:] * tokens[:, :1]).transpose(1, 2).reshape(x.shape[0], 16, x.shape[2], x.shape[3])


class TokensOfOwnSizes(nn.Module):
    """PiT's class token goes first through a layer, and the length that it has is asked for."""

    def __init__(self):
        super().__init__()
        self.token, self.layer = nn.Parameter(torch.randn(1, 1, 16)), nn.Linear(16, 16)

    def forward(self, x):
        token = self.layer(self.token.expand(x.shape[0], -1, -1))
        tokens = torch.cat([token, x.flatten(2).transpose(1, 2)], 1)
        length = token.shape[1]
        return (tokens[:, length:] * tokens[:, :length]).transpose(1, 2).reshape(x.shape)


class Positions(nn.Module):
    """XCiT's codes of positions: a convolution of what no pixel changes, repeated for each image and added."""

    def __init__(self):
        super().__init__()
        self.code = nn.Conv2d(2, 16, 1)

    def forward(self, x):
        n, _, h, w = x.shape
        rows = torch.arange(1, h + 1).to(torch.float32)[None, :, None].repeat(1, 1, w)
        columns = torch.arange(1, w + 1).to(torch.float32).repeat(1, h, 1)
        return x + self.code(torch.stack([rows.sin(), columns.cos()], 1)).repeat(n, 1, 1, 1)


class Gains(nn.Module):
    """A gain for each place, expanded to the batch and multiplied, with the channels last."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.randn(1, 64, 16))

    def forward(self, x):
        n, c, h, w = x.shape
        return (x.reshape(n, c, h * w).transpose(1, 2) * self.gain.expand(n, h * w, c)).transpose(1, 2).reshape(x.shape)


class AcrossChannels(nn.LocalResponseNorm):
    """AlexNet's and GoogLeNet's: traced, its squeeze is an If on a size, whose branches read the average of squares."""

    def __init__(self):
        super().__init__(5, alpha=0.5)


@pytest.mark.parametrize("middle", [Shuffled, Windows, Halves, Tokens, TokensOfOwnSizes, Positions, Gains,
                                    AcrossChannels])
@pytest.mark.parametrize(("dynamic", "dynamo"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.filterwarnings("ignore")
def test_nets_that_compute_their_sizes_are_counted(tmp_path, run_onnx, middle, dynamic, dynamo):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), middle(), nn.Conv2d(16, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten(), nn.Linear(8, 5)).eval()
    path, batch = tmp_path / "m.onnx", 2 if dynamic else 1
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    torch.onnx.export(net, (torch.zeros(batch, 3, 8, 8),), str(path), dynamo=dynamo, input_names=["x"],
                      opset_version=18 if dynamo else 17, verbose=False, **({"external_data": False} if dynamo else {}),
                      **(shapes if dynamic else {}))
    proto = normalised(OnnxModel.read(path), path)
    kinds = {node.op_type for node in proto.graph.node}
    allowed = {"Slice"} | ({"Shape", "Gather", "Expand"} if middle in (Tokens, TokensOfOwnSizes) else set())
    allowed |= {"Div"} if middle is AcrossChannels else set()
    assert not kinds & ((ARITHMETIC | {"Tile", "Expand"}) - allowed)
    own = 4 * 16 * 16 * 16 * 2 // 2 if middle is Windows else 0  # 4 windows of 16 tokens: 16 x 16 scores of 16 channels
    assert count(proto).macs == 64 * (3 * 16 * 9 + 16 * 8 * 9) + 8 * 5 + own
    images = torch.from_numpy(IMAGES[:3 if dynamic else 1])
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(proto, images.numpy())[0], net(images), rtol=1e-3, atol=1e-4)


LITERAL = {
    "reshape": ([("Reshape", ["p", "s"], ["t"])], {"s": np.array([1, -1])}),
    "reshape that would mix images": ([("Reshape", ["p", "s"], ["u"]), ("Slice", ["u", "i", "o"], ["t"])],
                                      {"s": np.array([1, -1]), "i": np.array([0, 0]), "o": np.array([1, 4])}),
    "reshape to four axes": ([("Reshape", ["p", "s"], ["u"]), ("Flatten", ["u"], ["t"])],
                             {"s": np.array([1, 4, 1, 1])}),
    "matrix of one row": ([("Flatten", ["p"], ["u"]), ("Add", ["u", "k"], ["v"]), ("Reshape", ["v", "s"], ["t"])],
                          {"s": np.array([1, 4]), "k": np.ones((1, 4), np.float32)}),
}


@pytest.mark.parametrize(("nodes", "constants"), LITERAL.values(), ids=LITERAL.keys())
def test_a_literal_batch_of_one_fixes_the_batch(graph_of, run_onnx, tmp_path, nodes, constants):
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("GlobalAveragePool", ["c"], ["p"]), *nodes,
                      ("Gemm", ["t", "f"], ["y"])], {"w": W, "f": F, **constants})
    expected = run_onnx(model, IMAGES[:1])[0]
    fixed = OnnxModel.of(normalised(OnnxModel.of(model), tmp_path / "m.onnx"))
    assert fixed.input_shape == (1, 3, 8, 8)
    assert count(fixed.proto).macs == 64 * 12 + 20
    np.testing.assert_allclose(run_onnx(fixed, IMAGES[:1])[0], expected, rtol=1e-4, atol=1e-5)


def test_a_batch_that_is_dynamic_stays_so(graph_of, tmp_path):
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("GlobalAveragePool", ["c"], ["p"]), ("Flatten", ["p"], ["y"])],
                     {"w": W})
    assert OnnxModel.of(normalised(OnnxModel.of(model), tmp_path / "m.onnx")).input_shape == (None, 3, 8, 8)


def test_a_literal_batch_of_four_is_refused(graph_of, tmp_path):
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("GlobalAveragePool", ["c"], ["p"]),
                      ("Reshape", ["p", "s"], ["y"])], {"w": W, "s": np.array([4, 4])})
    with pytest.raises(ModelError, match="onnxruntime cannot run it"):
        normalised(OnnxModel.of(model), tmp_path / "m.onnx")


def test_a_fixed_batch_of_four_is_counted_for_one_image(graph_of, tmp_path):
    model = graph_of([("Conv", ["x", "w"], ["c"]), ("GlobalAveragePool", ["c"], ["p"]),
                      ("Reshape", ["p", "s"], ["y"])], {"w": W, "s": np.array([4, 4])}, x=(4, 3, 8, 8))
    assert count(normalised(OnnxModel.of(model), tmp_path / "m.onnx")).macs == 64 * 12

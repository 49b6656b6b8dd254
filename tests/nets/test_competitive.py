"""Competitive SE against its equations, written out, and its views folded into one affine kernel."""

import pytest
import torch

from edge_se.core.errors import ModelError
from edge_se.nets.attention import ATTENTION
from edge_se.nets.competitive import DoubleFc, FoldedView, PairView1x1, PairView2x1, ReimageConv, with_folded_views
from edge_se.nets.spec import ModelSpec
from edge_se.nets.untrained import build_untrained
from edge_se.nets.zoo import build

VIEWS = {"pair2x1": PairView2x1, "pair1x1": PairView1x1, "folded": FoldedView}
FLAT = {"pair2x1": lambda c: c, "pair1x1": lambda c: 2 * c, "folded": lambda c: (c // 8 - 2) * 14}


def excitation_of(kind, channels=64, reduction=16, bias=False):
    torch.manual_seed(0)
    excitation = VIEWS[kind](channels, reduction, bias).eval()
    for tensor in (excitation.view.bn.weight.data, excitation.view.bn.running_var):
        tensor.uniform_(0.5, 2)
    for tensor in (excitation.view.bn.bias.data, excitation.view.bn.running_mean):
        tensor.normal_()
    return excitation


def pair(channels=64, batch=3, dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(2, batch, channels, 5, 7, dtype=dtype) + 1


def image_of(kind, u, s):
    """What the view sees, element by element."""
    squeezed = torch.stack((u.mean((2, 3)), s.mean((2, 3))), 2)  # (N, C, 2): the pair of each channel
    if kind != "folded":
        return squeezed
    rows = []
    for group in range(squeezed.shape[1] // 16):
        rows += [squeezed[:, 16 * group : 16 * group + 16, 0], squeezed[:, 16 * group : 16 * group + 16, 1]]
    return torch.stack(rows, 1)  # (N, C / 8, 16): residual and shortcut by turns


def mean_map(kind, image, excitation):
    """Convolution, batch norm and mean by loops."""
    weight, bn = excitation.view.conv.weight, excitation.view.bn
    height, width = weight.shape[2:]
    rows, columns = image.shape[1] - height + 1, image.shape[2] - width + 1
    result = torch.zeros(len(image), rows, columns)
    for number in range(len(weight)):
        for row in range(rows):
            for column in range(columns):
                value = (image[:, row : row + height, column : column + width] * weight[number, 0]).sum((1, 2))
                result[:, row, column] += bn.bias[number] + bn.weight[number] * (
                    value - bn.running_mean[number]) / torch.sqrt(bn.running_var[number] + bn.eps)
    return result / len(weight)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_is_the_plain_formula(kind, bias):
    excitation, (u, s) = excitation_of(kind, bias=bias), pair()
    assert len(excitation.view.conv.weight) == 4  # maps: C / 16
    with torch.no_grad():
        flat = mean_map(kind, image_of(kind, u, s), excitation).flatten(1)
        inner = flat @ excitation.fc1.weight[..., 0, 0].T + (excitation.fc1.bias if bias else 0)
        logits = inner.clamp(min=0) @ excitation.fc2.weight[..., 0, 0].T + (excitation.fc2.bias if bias else 0)
        expected = (1 / (1 + torch.exp(-logits)))[:, :, None, None]
        torch.testing.assert_close(excitation.excitation(u, s), expected)
        torch.testing.assert_close(excitation(u, s), u * expected)  # the shortcut is not scaled


@pytest.mark.parametrize("bias", [False, True])
def test_double_fc_is_the_plain_formula(bias):
    torch.manual_seed(0)
    excitation, (u, s) = DoubleFc(64, 16, bias), pair()
    assert excitation.fc1.weight.shape == excitation.fc2.weight.shape == (4, 64, 1, 1)
    assert excitation.fc3.weight.shape == (64, 8, 1, 1)
    with torch.no_grad():
        hidden = [(z.mean((2, 3)) @ fc.weight[..., 0, 0].T + (fc.bias if bias else 0)).clamp(min=0)
                  for z, fc in ((u, excitation.fc1), (s, excitation.fc2))]
        logits = torch.cat(hidden, 1) @ excitation.fc3.weight[..., 0, 0].T + (excitation.fc3.bias if bias else 0)
        torch.testing.assert_close(excitation(u, s), u / (1 + torch.exp(-logits))[:, :, None, None])


@pytest.mark.parametrize("channels", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("kind", VIEWS)
def test_flattened_lengths(kind, channels):
    excitation = VIEWS[kind](channels)
    assert excitation.flat == excitation.fc1.in_channels == FLAT[kind](channels)
    assert excitation(*pair(channels)).shape == (3, channels, 5, 7)


def test_flattened_lengths_of_the_specification():
    assert [FoldedView(channels).flat for channels in (64, 128, 256, 512)] == [84, 196, 420, 868]


@pytest.mark.parametrize("channels", [16, 24, 40])
def test_folded_refuses_widths_that_it_cannot_fold(channels):
    with pytest.raises(ModelError, match=f"folded view of {channels} channels does not exist; take widths from 32"):
        build(ModelSpec(name="net", attention="folded", widths=(channels, 64)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-7)])
@pytest.mark.parametrize("channels", [32, 512])
@pytest.mark.parametrize("kind", VIEWS)
def test_the_kernel_is_all_of_the_view(kind, channels, dtype, tolerance):
    excitation = excitation_of(kind, channels).to(dtype)
    u, s = pair(channels, dtype=dtype)
    with torch.no_grad():
        image = excitation.image(u, s) / 4  # values of order 1: the tolerance is absolute
        view, kernel = excitation.view(image), excitation.view.kernel()
        assert kernel.weight.shape == (1, 1, *excitation.view.conv.kernel_size) and kernel.weight.dtype == dtype
        scale = max(1.0, view.abs().max().item())
        assert (kernel(image) - view).abs().max().item() <= tolerance * scale
        before = excitation.excitation(u, s)
        excitation.view = kernel
        assert (excitation.excitation(u, s) - before).abs().max().item() <= tolerance


@pytest.mark.parametrize("kind", VIEWS)
def test_a_net_is_folded_in_a_copy(tiny_spec, kind):
    net = build_untrained(tiny_spec(kind, widths=(32, 32, 64, 64))).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    folded = with_folded_views(net)
    assert not any(isinstance(module, ReimageConv) for module in folded.modules())
    assert sum(isinstance(module, ReimageConv) for module in net.modules()) == 4
    with torch.no_grad():
        torch.testing.assert_close(folded(images), net(images), rtol=1e-12, atol=1e-12)
    net.train()
    assert not with_folded_views(net).training


def test_a_net_without_views_is_left_as_it_is(tiny_spec):
    for attention in set(ATTENTION) - set(VIEWS):
        net = build(tiny_spec(attention))
        assert with_folded_views(net) is net

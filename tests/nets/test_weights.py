"""Weights: back as written, and one message when they are broken or do not fit."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from edge_se.core.errors import ArtifactError, ModelError
from edge_se.nets.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def net(tiny_net):
    return tiny_net("se")


@pytest.fixture
def fresh(tiny_spec):
    from edge_se.nets.zoo import build

    return build(tiny_spec("se"))


def test_weights_come_back_rounded_to_half_precision(net, fresh, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, net.state_dict(), {"model": "tiny"})
    load_weights(fresh, path)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(fresh.state_dict()[name], tensor.half().float()), name
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["edge_se"]) == {"model": "tiny"}
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
        assert not any("num_batches" in name for name in file.keys())  # noqa: SIM118


def test_equal_weights_are_equal_files(net, tmp_path):
    for number in range(8):  # an order by chance would repeat in one of 128
        save_weights(tmp_path / str(number), net.state_dict(), {"model": "tiny", "recipe": "r", "data": "d", "x": "y"})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_weights_of_channels_last_nets_are_the_same(net, tmp_path):
    last = {name: tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
            for name, tensor in net.state_dict().items()}
    save_weights(tmp_path / "a", net.state_dict(), {})
    save_weights(tmp_path / "b", last, {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_full_precision_weights_load_exactly(net, fresh, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items() if tensor.is_floating_point()}
    save_file(state, tmp_path / "w.safetensors")
    load_weights(fresh, tmp_path / "w.safetensors")
    assert torch.equal(fresh.fc.weight, net.fc.weight)


def without(state):
    del state["fc.bias"]


def with_more(state):
    state["head.bias"] = torch.zeros(3)


def reshaped(state):
    state["fc.bias"] = torch.zeros(11)


@pytest.mark.parametrize(("change", "message"), [
    (without, "lacks tensor 'fc.bias'"), (with_more, "has an unknown tensor 'head.bias'"),
    (reshaped, r"tensor 'fc\.bias' has shape \(11,\), not \(10,\)"),
])
def test_weights_that_do_not_fit(net, fresh, tmp_path, change, message):
    state = dict(net.state_dict())
    change(state)
    save_weights(tmp_path / "w.safetensors", state, {})
    before = fresh.fc.weight.clone()
    with pytest.raises(ModelError, match=rf"w\.safetensors: {message}; use the weights of this very model"):
        load_weights(fresh, tmp_path / "w.safetensors")
    assert torch.equal(fresh.fc.weight, before)


def test_missing_and_broken_weights(net, fresh, tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(ModelError, match=r"w\.safetensors: no such weights; .*--weights"):
        load_weights(fresh, path)
    save_weights(path, net.state_dict(), {})
    content = path.read_bytes()
    for broken in (b"", b"garbage", content[:-1], content[:100], b"\xff" * 8 + content[8:]):
        path.write_bytes(broken)
        with pytest.raises(ModelError, match="not readable as safetensors"):
            load_weights(fresh, path)
    with pytest.raises(ModelError):
        load_weights(fresh, tmp_path)


def test_weights_on_a_full_disk_are_a_user_error(net, tmp_path, full_disk):
    with full_disk(), pytest.raises(ArtifactError, match=r"w\.safetensors: cannot be written"):
        save_weights(tmp_path / "w.safetensors", net.state_dict(), {})
    assert list(tmp_path.iterdir()) == []

"""Exported programs of torch (.pt2): the graph is the program's, with its own batch, and what is none is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.errors import ModelError
from edge_se.graph.source import SourceOptions, load_source
from edge_se.quantization.excitations import find_excitations

IMAGES = np.random.default_rng(0).standard_normal((5, 3, 16, 16), np.float32)
pytestmark = pytest.mark.filterwarnings("ignore")


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1),
                                    nn.Hardsigmoid())
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.hardswish(self.norm(self.conv(x)))
        return self.head((x * self.excite(x)).mean((2, 3)))


def program(path, batch=2, dynamic=False):
    torch.manual_seed(0)
    net = Gated().eval()
    shapes = ({0: torch.export.Dim("n")},) if dynamic else None
    torch.export.save(torch.export.export(net, (torch.zeros(batch, 3, 16, 16),), dynamic_shapes=shapes), path)
    return net


@pytest.mark.parametrize(("batch", "dynamic", "kept"), [(2, True, None), (1, False, 1), (2, False, 2)])
def test_the_graph_computes_what_the_program_does(tmp_path, capfd, batch, dynamic, kept):
    path = tmp_path / "mine.pt2"
    net = program(path, batch, dynamic)
    source = load_source(str(path), None, SourceOptions(labels=tuple("abcde")))
    assert source.model.input_shape == (kept, 3, 16, 16) and len(find_excitations(source.model.proto)) == 1
    assert (source.name, source.origin["kind"], source.metadata.labels) == ("mine", "torch.export", tuple("abcde"))
    assert "assumed --mean" in source.assumption and source.metadata.params == 361
    with torch.no_grad():
        expected = net(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(source.reference(IMAGES), expected, rtol=1e-4, atol=1e-5)
    whole = IMAGES[:kept or 5]
    with OnnxRuntime().open(source.model, Device()) as session:
        np.testing.assert_allclose(session.run(whole), expected[:len(whole)], rtol=1e-3, atol=1e-4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("content", "says"), [
    (None, "no such file"), (b"", "is no exported program"), (b"PK\x05\x06" + bytes(18), "is no exported program")])
def test_what_is_no_program_is_one_message(tmp_path, capfd, content, says):
    path = tmp_path / "x.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        load_source(str(path), None)
    assert capfd.readouterr() == ("", "")


def test_a_program_that_is_no_classifier_is_refused_as_a_file_is(tmp_path):
    torch.export.save(torch.export.export(nn.Linear(4, 2), (torch.zeros(1, 4),)), tmp_path / "x.pt2")
    with pytest.raises(ModelError, match="must be float32"):
        load_source(str(tmp_path / "x.pt2"), None)
    with pytest.raises(ModelError, match="brings its own weights"):
        load_source(str(tmp_path / "x.pt2"), tmp_path / "w.pth")

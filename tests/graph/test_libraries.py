"""torchvision:NAME and timm:NAME: whose weights, whose preprocessing, which names of classes."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from edge_se.backends.base import Device
from edge_se.backends.onnxruntime import OnnxRuntime
from edge_se.core.errors import ModelError, UnavailableError
from edge_se.data.preprocessing import read_image, tensor
from edge_se.data.torchvision_import import torchvision
from edge_se.graph.libraries.base import trained_net, untrained_net
from edge_se.graph.libraries.table import LIBRARIES, library_of
from edge_se.graph.source import SourceOptions, load_source

TORCHVISION, TIMM = LIBRARIES["torchvision"], LIBRARIES["timm"]
CACHED = "squeezenet1_1-b8a52dc0.pth"  # as torch.hub names it


def state(name, classes=1000):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, num_classes=classes).state_dict()


def saved(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def test_what_a_source_names():
    assert library_of("timm:lcnet_050.ra2_in1k") == (TIMM, "lcnet_050.ra2_in1k")
    assert [library_of(name) for name in ("resnet18", "mine.onnx", "C:mine.onnx", "hub:resnet18")] == [None] * 4


def test_a_tag_says_whose_preprocessing_and_classes_a_file_has(tmp_path):
    """ResNet-50's two sets of weights want images cut in two ways."""
    path = saved(tmp_path / "w.pth", state("resnet50"))
    for tag, share in (("IMAGENET1K_V1", 224 / 256), ("IMAGENET1K_V2", 224 / 232)):
        found = trained_net(TORCHVISION, f"resnet50.{tag}", path, None)
        assert (found.own.share, found.own.size, found.own.labels[1]) == (share, (224, 224), "goldfish")
        assert (found.weights, found.classes, found.assumption) == ("w.pth", 1000, None)


def test_own_classes_keep_the_preprocessing_and_lose_the_names(tmp_path):
    path = saved(tmp_path / "w.pth", state("squeezenet1_1", 5))
    found = trained_net(TORCHVISION, "squeezenet1_1.IMAGENET1K_V1", path, None)
    assert (found.classes, found.own.labels, found.assumption) == (5, (), None)


def test_without_a_tag_the_preprocessing_is_an_assumption_that_names_one(tmp_path):
    path = saved(tmp_path / "w.pth", state("squeezenet1_1"))
    found = trained_net(TORCHVISION, "squeezenet1_1", path, None)
    assert found.own.labels == () and "assumed --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in found.assumption
    assert "torchvision:squeezenet1_1.IMAGENET1K_V1" in found.assumption


def test_a_file_that_torchvision_serves_is_known_by_its_hash(tmp_path, monkeypatch):
    from torchvision.models._api import Weights, WeightsEnum

    path = saved(tmp_path / "renamed.pth", state("squeezenet1_1"))
    own = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]

    class Served(WeightsEnum):
        OTHER = Weights(url="https://x/squeezenet1_1-01234567.pth", transforms=own.transforms, meta=own.meta)
        SAME = Weights(url=f"https://x/squeezenet1_1-{digest}.pth", transforms=own.transforms, meta=own.meta)
        DEFAULT = OTHER

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: Served)
    found = trained_net(TORCHVISION, "squeezenet1_1", path, None)
    assert found.own.labels[0] == "tench" and found.assumption is None


def test_weights_come_from_torchs_own_cache(tmp_path, monkeypatch):
    """torch.hub downloads them there; a file that is there is not downloaded again."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    content = state("squeezenet1_1")
    saved(tmp_path / "hub" / "checkpoints" / CACHED, content)
    found = trained_net(TORCHVISION, "squeezenet1_1", None, None)
    assert (found.weights, found.own.labels[0], found.assumption) == ("IMAGENET1K_V1", "tench", None)
    assert all(torch.equal(value, content[name]) for name, value in found.net.state_dict().items())
    assert not found.net.training


@pytest.mark.parametrize("told", ["squeezenet1_1", "resnet18.IMAGENET1K_V1"])
def test_weights_that_cannot_be_downloaded_are_one_message(tmp_path, monkeypatch, told):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    with pytest.raises(UnavailableError, match=r"cannot be downloaded \(.*no network.*--weights.*--untrained"):
        trained_net(TORCHVISION, told, None, None)


def seen_by(transform, own, size, folder):
    """What a net sees of a picture by a library's transform, and by edge-se."""
    picture = Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 60).convert("RGB")
    picture.save(folder / "p.png")
    return transform(picture).numpy(), tensor(read_image(folder / "p.png", own)[None], own)[0]


@pytest.mark.parametrize("told", ["resnet50.IMAGENET1K_V1", "resnet50.IMAGENET1K_V2", "efficientnet_b0",
                                  "mobilenet_v3_small", "swin_v2_t"])
@pytest.mark.parametrize("size", [(400, 301), (333, 500), (97, 64)])
def test_the_preprocessing_is_torchvisions_own(tmp_path, told, size):
    name, _, tag = told.partition(".")
    members = torchvision.models.get_model_weights(name)
    transform = (members[tag] if tag else members.DEFAULT).transforms()
    np.testing.assert_allclose(*seen_by(transform, TORCHVISION.find(told, None).own, size, tmp_path), atol=1e-6)


@pytest.mark.parametrize(("library", "told", "says"), [
    (TORCHVISION, "resnet81", "did you mean 'resnet18'"), (TORCHVISION, "deeplabv3_resnet50", "has no classifier"),
    (TORCHVISION, "resnet50.IMAGENET1K_V3", "did you mean 'resnet50.IMAGENET1K_V2'"),
    (TORCHVISION, "resnet50.mine", "its weights are IMAGENET1K_V1, IMAGENET1K_V2"),
    (TIMM, "lcnet_055", "did you mean"), (TIMM, "zzzz", r"timm.list_models\(\)"),
    (TIMM, "lcnet_050.in2k", "did you mean 'lcnet_050.ra2_in1k'")])
def test_unknown_names(library, told, says):
    if library is TIMM:
        pytest.importorskip("timm", reason="timm is not installed: pip install 'edge-se[timm]'")
    with pytest.raises(ModelError, match=says):
        trained_net(library, told, None, None)


@pytest.mark.parametrize("wrapped", [
    lambda state: {"state_dict": state, "epoch": 3}, lambda state: {"model": state, "optimizer": {}},
    lambda state: {"model": {}, "model_ema": {"n_averaged": torch.tensor(5)} | {
        f"module.{name}": value for name, value in state.items()}},
    lambda state: {f"module.{name}": value for name, value in state.items()}],
    ids=["state_dict", "model", "averaged", "parallel"])
def test_checkpoints_of_training_loops_are_read(tmp_path, wrapped):
    content = state("squeezenet1_1", 7)
    found = trained_net(TORCHVISION, "squeezenet1_1", saved(tmp_path / "c.pth", wrapped(content)), None)
    assert found.classes == 7
    assert all(torch.equal(value, content[name]) for name, value in found.net.state_dict().items())


def test_random_weights_are_the_same_each_time_and_have_no_names():
    one, other = (untrained_net(TORCHVISION, "squeezenet1_1", (64, 64)) for _ in range(2))
    assert one.sha256 == other.sha256 and one.own.labels == () and one.classes == 1000


class TestTimm:
    @pytest.fixture(autouse=True)
    def timm(self):
        return pytest.importorskip("timm", reason="timm is not installed: pip install 'edge-se[timm]'")

    @pytest.mark.parametrize("told", ["lcnet_050.ra2_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
                                      "convnext_atto.d2_in1k", "convnext_tiny.in12k_ft_in1k_384"])
    @pytest.mark.parametrize("size", [(400, 301), (333, 500), (64, 96)])
    def test_the_preprocessing_is_timms_own(self, timm, tmp_path, told, size):
        own = TIMM.find(told, None).own
        config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(told).to_dict())
        transform = timm.data.create_transform(**config, is_training=False)
        np.testing.assert_allclose(*seen_by(transform, own, size, tmp_path), atol=1e-6)

    def test_what_is_done_otherwise_is_told(self, timm):
        told = next(name for name in timm.list_models(pretrained=True)
                    if timm.get_pretrained_cfg(name).crop_mode == "border")
        assert "crop_mode border" in TIMM.find(told, None).unlike
        assert TIMM.find("lcnet_050", None).unlike is None

    @pytest.mark.parametrize("told", ["lcnet_035", "lcnet_050.ra2_in1k"])
    def test_a_file_of_the_user(self, timm, tmp_path, told):
        torch.manual_seed(0)
        net = timm.create_model(told.partition(".")[0], num_classes=4)
        found = trained_net(TIMM, told, saved(tmp_path / "w.pth", net.state_dict()), None)
        assert (found.classes, found.own.labels) == (4, ())
        assert (found.assumption is None) == ("." in told)
        assert torch.equal(found.net.state_dict()["classifier.bias"], net.classifier.bias)

    def test_names_are_those_of_imagenets_folders(self):
        assert TIMM.find("lcnet_050", None).own.labels[:2] == ("n01440764", "n01443537")

    def test_a_hub_that_does_not_answer_is_one_message(self, monkeypatch):
        import timm.models._builder as builder

        def refuse(*_, **__):
            raise OSError("no network")
        monkeypatch.setattr(builder, "load_pretrained", refuse)
        with pytest.raises(UnavailableError, match=r"ra2_in1k are not here and cannot be downloaded \(no network\)"):
            trained_net(TIMM, "lcnet_050", None, None)
        with pytest.raises(ModelError, match="timm has no weights of it"):
            trained_net(TIMM, "resnet50t", None, None)

    @pytest.mark.parametrize("told", ["mobileone_s0", "repghostnet_050", "levit_128s"])
    def test_branches_of_training_are_one_convolution(self, timm, tmp_path, told):
        torch.manual_seed(0)
        net = timm.create_model(told, num_classes=3).eval()
        path = saved(tmp_path / "w.pth", net.state_dict())
        found = trained_net(TIMM, told, path, None).net
        images = torch.randn(1, 3, 224, 224)
        with torch.no_grad():
            torch.testing.assert_close(found(images), net(images), rtol=1e-3, atol=1e-4)
        assert len(list(found.modules())) < 0.7 * len(list(net.modules()))
        assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())

    def test_a_transformer_takes_the_users_size(self):
        found = untrained_net(TIMM, "vit_tiny_patch16_224", (64, 64))
        assert found.net.patch_embed.img_size == (64, 64)
        assert untrained_net(TIMM, "lcnet_035", (64, 64)).classes == 1000


def test_a_source_keeps_what_the_library_says_and_what_the_user_says_wins(tmp_path):
    path = saved(tmp_path / "w.pth", state("squeezenet1_1", 3))
    source = load_source("torchvision:squeezenet1_1", path, SourceOptions(
        input_size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), labels=("a", "b", "c")))
    how = source.metadata.preprocessing
    assert (how.size, how.share, how.mean, how.labels) == ((64, 64), 224 / 256, (0.5, 0.5, 0.5), ("a", "b", "c"))
    assert source.assumption is None and source.origin["kind"] == "torchvision" and source.origin["weights"] == "w.pth"
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32)
    with OnnxRuntime().open(source.model, Device()) as session:
        np.testing.assert_allclose(session.run(images), source.reference(images), rtol=1e-3, atol=1e-3)


def test_an_untrained_source_says_so():
    source = load_source("torchvision:squeezenet1_1", None, SourceOptions(input_size=64), untrained=True)
    assert source.is_untrained and source.name == "squeezenet1_1-untrained" and source.metadata.labels == ()
    with pytest.raises(ModelError, match="leave one of them out"):
        load_source("torchvision:squeezenet1_1", Path("w.pth"), None, untrained=True)
    with pytest.raises(ModelError, match="a file brings its own weights"):
        load_source("mine.onnx", None, None, untrained=True)

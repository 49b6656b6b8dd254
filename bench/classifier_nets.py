"""The nets of `bench/classifiers.py`: torchvision's classifiers and those of timm, with random weights as trained nets
have them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edge_se.data.torchvision_import import torchvision  # before timm, which imports it too

LARGEST = 2**31  # bytes of an ONNX file in one piece
FIXED = {"alexnet": 224, "maxvit_t": 224, "inception_v3": 96} | {  # sizes that a net or its exporter insists on
    f"vgg{depth}{norm}": 224 for depth in (11, 13, 16, 19) for norm in ("", "_bn")}
# One of each family of timm, and the size that it is made for; the most different ones first.
TIMM = {
    "tf_efficientnet_b0": 64, "mixer_s32_224": 128, "mobilevit_xxs": 64, "ese_vovnet19b_dw": 64, "levit_128s": 224,
    "hrnet_w18_small": 64, "convnextv2_atto": 64, "deit_tiny_patch16_224": 64, "ghostnet_100": 64, "resnest14d": 64,
    "edgenext_xx_small": 64, "eca_nfnet_l0": 64, "xcit_nano_12_p16_224": 64, "mobilenetv4_conv_small": 64,
    "repvgg_a0": 64, "poolformer_s12": 64, "lcnet_050": 64, "coat_lite_tiny": 64, "res2net50_14w_8s": 64,
    "pvt_v2_b0": 64, "mixnet_s": 64, "botnet26t_256": 256, "dla34": 64, "efficientformer_l1": 224, "mobileone_s0": 64,
    "fastvit_t8": 64, "skresnet18": 64, "resmlp_12_224": 64, "cspresnet50": 64, "rexnet_100": 64, "starnet_s1": 64,
    "pit_ti_224": 224, "selecsls42b": 64, "visformer_tiny": 224, "dpn48b": 64, "hgnetv2_b0": 64, "repvit_m0_9": 64,
    "tiny_vit_5m_224": 224, "inception_next_atto": 64, "gernet_s": 64}
SIZED = ("mixer", "deit", "xcit", "resmlp", "coat")  # nets that take their size as an argument
SMALL = ("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
         "inception_v3", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf",
         "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn",
         "vit_b_32", "maxvit_t", "deit_tiny_patch16_224", "tf_efficientnet_b0", "mobilevit_xxs")  # in all combinations
HUGE = 60e6  # parameters of nets that are exported in one way alone
FIRST = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "convnext_tiny", "swin_t", "efficientnet_b0",
         "regnet_y_400mf", "densenet121", "swin_v2_t", "squeezenet1_1", "googlenet", "mnasnet0_5", "mobilenet_v2",
         "efficientnet_v2_s", "resnext50_32x4d", "inception_v3", "vit_b_32", "regnet_x_400mf")


@dataclass(frozen=True, kw_only=True)
class Net:
    """A net of a library at a size of its images, and its parameters where that is known without building it."""

    library: str
    name: str
    size: int
    params: int | None = None

    @property
    def combinations(self) -> list[tuple[str, str]]:
        """(exporter, batch) in which it is exported."""
        both = [("torchscript", "dynamic"), ("dynamo", "static")]
        return both[:1] if self.params and self.params > HUGE and self.name not in SMALL else both

    @property
    def extra(self) -> list[tuple[str, str]]:
        """The other combinations, of one small member of each family."""
        return [("torchscript", "static"), ("dynamo", "dynamic")] if self.name in SMALL else []

    def build(self) -> nn.Module:
        """The net with random weights (see `randomised`), in evaluation mode."""
        torch.manual_seed(0)
        return randomised(_timm(self) if self.library == "timm" else _torchvision(self)).eval()


def nets() -> list[Net]:
    """All of them: the most different first, then the small, then the large."""
    known = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        params = next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]
        known[name] = Net(library="torchvision", name=name, size=FIXED.get(name, 64), params=params)
    first = [known.pop(name) for name in FIRST]
    others = [Net(library="timm", name=name, size=size) for name, size in TIMM.items()]
    mixed = [net for pair in zip(first, others) for net in pair] + others[len(first):]
    return mixed + sorted(known.values(), key=lambda net: (net.size > 64, net.params))


def _torchvision(net: Net) -> nn.Module:
    options: dict[str, Any] = {"init_weights": False} if net.name in ("googlenet", "inception_v3") else {}
    if net.name.startswith("vit"):
        options["image_size"] = net.size
    made: nn.Module = torchvision.models.get_model(net.name, weights=None, **options)
    if net.name in ("googlenet", "inception_v3"):
        made.aux_logits = False  # type: ignore[assignment]  # heads for training alone
        made.aux1 = made.aux2 = made.AuxLogits = None  # type: ignore[assignment]
    return made


def _timm(net: Net) -> nn.Module:
    import timm

    options: dict[str, Any] = {"img_size": net.size} if net.name.startswith(SIZED) else {}
    made: nn.Module = timm.create_model(net.name, pretrained=False, exportable=True, **options)
    return made


def randomised(net: nn.Module) -> nn.Module:
    """`net` with what its initialisation leaves at zero or one made random.

    Libraries start residual branches, layer scales and heads at zero: INT8 would cost such a net nothing. Norms get
    weights and biases as different as those of trained nets. Biases of batch norms are 1 in the mean: with zero, deep
    random nets make noise of any small difference (2 dB are left of EfficientNet by each quantizer), as no trained net
    does.
    """
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 1.0, 0.5)
        for name, parameter in net.named_parameters():
            low, high = float(parameter.min()), float(parameter.max())
            if low != high and max(-low, high) > 1e-5:
                continue
            last = name.rpartition(".")[2]
            if parameter.squeeze().ndim < 2 and "bias" not in last and "token" not in last:
                nn.init.uniform_(parameter, 0.5, 1.5)  # a scale of a norm, of a layer, of a branch
            elif parameter.ndim == 1:
                nn.init.normal_(parameter, std=0.1)
            else:
                nn.init.normal_(parameter, std=1 / math.sqrt(parameter[0].numel()))
    return net


def warm(net: nn.Module, images: torch.Tensor) -> None:
    """Gives each batch norm the statistics of `images`, (N, 3, H, W) as the net takes them."""
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for _ in range(2 if norms else 0):
            for batch in torch.split(images, 32):
                net(batch)
    net.eval()

"""Parameters and MACs of every net: those of the model specification, by arithmetic and as torch counts them."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edge_se.nets.arithmetic import size_of
from edge_se.nets.spec import ModelSpec
from edge_se.nets.zoo import MODELS, build

# name -> trainable parameters, MACs at 32 px, MACs at 224 px
SPECIFIED = {
    "resnet18_imagenet7": (11_181_642, 37_016_576, 1_813_566_464),
    "resnet18_paper3s2": (11_173_962, 35_050_496, 1_717_228_544),
    "resnet18": (11_173_962, 555_422_720, 27_215_467_520),
    "se_resnet18": (11_261_002, 555_509_760, 27_215_554_560),
    "se_resnet18_post": (11_261_002, 555_509_760, 27_215_554_560),
    "se_resnet18_identity": (11_261_002, 555_509_760, 27_215_554_560),
    "se_resnet18_pre": (11_228_746, 555_477_504, 27_215_522_304),
    "se_resnet18_imagenet7": (11_268_682, 37_103_616, 1_813_653_504),
    "se_resnet18_post_imagenet7": (11_268_682, 37_103_616, 1_813_653_504),
    "se_resnet18_identity_imagenet7": (11_268_682, 37_103_616, 1_813_653_504),
    "se_resnet18_pre_imagenet7": (11_236_426, 37_071_360, 1_813_621_248),
    "se_resnet18_paper3s2": (11_261_002, 35_137_536, 1_717_315_584),
    "se_resnet18_post_paper3s2": (11_261_002, 35_137_536, 1_717_315_584),
    "se_resnet18_identity_paper3s2": (11_261_002, 35_137_536, 1_717_315_584),
    "se_resnet18_pre_paper3s2": (11_228_746, 35_105_280, 1_717_283_328),
    "cmpe_resnet18_double_fc": (11_348_042, 555_596_800, 27_215_641_600),
    "cmpe_resnet18_pair2x1": (11_261_482, 555_596_800, 27_215_641_600),
    "cmpe_resnet18_pair1x1": (11_304_882, 555_640_320, 27_215_685_120),
    "cmpe_resnet18_folded": (11_291_602, 556_194_240, 27_216_239_040),
    "cmpe_resnet18_double_fc_imagenet7": (11_355_722, 37_190_656, 1_813_740_544),
    "cmpe_resnet18_pair2x1_imagenet7": (11_269_162, 37_190_656, 1_813_740_544),
    "cmpe_resnet18_pair1x1_imagenet7": (11_312_562, 37_234_176, 1_813_784_064),
    "cmpe_resnet18_folded_imagenet7": (11_299_282, 37_788_096, 1_814_337_984),
    "slim": (4_661_674, 233_671_168, None),
    "slim_se": (4_696_362, 233_705_856, 11_449_799_040),
    "slim_double_fc": (4_731_050, None, None),
    "slim_pair2x1": (4_696_754, None, None),
    "slim_pair1x1": (4_714_000, None, None),
    "slim_folded": (4_707_704, None, None),
    "mini_se": (706_906, 35_052_096, None),
    "se_resnet20": (274_490, 40_815_200, None),
    "resnet50_v1": (25_557_032, None, 3_857_973_248),
    "resnet50": (25_557_032, None, 4_089_184_256),
    "se_resnet50_v1": (28_071_976, None, 3_860_488_192),
    "se_resnet50": (28_071_976, None, 4_091_699_200),
}
SLIM_BY_REDUCTION = {32: (4_679_018, 4_680_635), 16: (4_696_362, 4_698_028), 8: (4_731_050, 4_732_814),
                     4: (4_800_426, 4_802_386), 2: (4_939_178, 4_941_530)}  # without and with biases
BIASED = {"se_resnet18": 11_263_042, "se_resnet18_pre": 11_230_310, "se_resnet50": 28_088_024}
OPTIONS = [
    {"attention": attention, "reduction": 8, "attention_bias": True} | more
    for attention in ("se", "pre", "double_fc", "pair2x1", "pair1x1", "folded")
    for more in ({"widths": (32, 64)}, {"widths": (32, 64), "block": "bottleneck"},
                 {"widths": (32, 64), "block": "bottleneck_v1", "stem": "paper3s2"})
] + [{"attention": "pair2x1", "widths": (32, 64), "preact": True, "block": block, "stem": "imagenet7"}
     for block in ("basic", "bottleneck", "bottleneck_v1")]


def torchs(spec, pixels):
    """(parameters, MACs) of the net, which is built without memory and run on shapes."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        net = build(spec).eval()
        net(torch.zeros(1, 3, pixels, pixels))
    assert counter.get_total_flops() % 2 == 0
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad), \
        counter.get_total_flops() // 2


@pytest.mark.parametrize("name", SPECIFIED)
def test_the_counts_of_the_specification(name):
    params, at_32, at_224 = SPECIFIED[name]
    small, large = size_of(MODELS[name], 32), size_of(MODELS[name], 224)
    assert small.params == large.params == params
    assert at_32 in (None, small.macs) and at_224 in (None, large.macs)
    assert small.flops == 2 * small.macs


@pytest.mark.parametrize("name", MODELS)
def test_arithmetic_is_what_torch_counts(name):
    size = size_of(MODELS[name])
    assert (size.params, size.macs) == torchs(MODELS[name], MODELS[name].input_size)


@pytest.mark.parametrize("pixels", [32, 45, 224])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_arithmetic_holds_for_every_option_and_size(options, pixels):
    spec = ModelSpec(**({"name": "options", "blocks": (2, 1)} | options))
    size = size_of(spec, pixels)
    assert (size.params, size.macs) == torchs(spec, pixels)


@pytest.mark.parametrize("reduction", SLIM_BY_REDUCTION)
def test_the_slim_net_by_reduction(reduction):
    spec = replace(MODELS["slim_se"], reduction=reduction)
    assert (size_of(spec).params, size_of(replace(spec, attention_bias=True)).params) == SLIM_BY_REDUCTION[reduction]


@pytest.mark.parametrize("name", BIASED)
def test_biases_in_the_excitations(name):
    assert size_of(replace(MODELS[name], attention_bias=True)).params == BIASED[name]


def test_the_stem_of_the_report_taken_literally_costs_twice_as_much():
    """3x3, stride 2, padding 3: what the specification's table calls `literal p3`."""
    with torch.device("meta"):
        net = build(MODELS["resnet18_paper3s2"]).eval()
        net.conv1.padding = (3, 3)
        for pixels, macs in ((32, 78_044_928), (224, 1_951_203_072)):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                net(torch.zeros(1, 3, pixels, pixels))
            assert counter.get_total_flops() == 2 * macs


def test_the_authors_recount_of_competitive_se():
    """WRN-28-10's excitations, which the specification checks against the authors' table in millions of parameters."""
    wide = ModelSpec(name="wrn", widths=(160, 320, 640), blocks=(4, 4, 4), preact=True)
    plain = size_of(wide).params
    added = {attention: (size_of(replace(wide, attention=attention)).params - plain) / 1e6
             for attention in ("se", "double_fc", "pair2x1", "pair1x1")}
    assert added == pytest.approx({"se": 0.27, "double_fc": 0.54, "pair2x1": 0.27, "pair1x1": 0.40}, abs=0.006)

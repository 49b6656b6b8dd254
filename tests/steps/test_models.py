"""`models`: every net with its counts, at once and without torch."""

import subprocess
import sys

import pytest

from edge_se.core.errors import ModelError
from edge_se.nets.zoo import BUNDLED, MODELS
from edge_se.steps.models import list_models, show_model


def test_every_net_is_listed_with_its_counts():
    items = {item["name"]: item for item in list_models()["models"]}
    assert items.keys() == MODELS.keys()
    assert {name for name, item in items.items() if item["weights"]} == set(BUNDLED)
    for name, item in items.items():
        assert (item["test_top1"] is None) == (item["test_n"] is None) == (name not in BUNDLED)
    slim = items["slim_se"]
    assert (slim["params"], slim["macs"], slim["input"]) == (4_696_362, 233_705_856, "3x32x32")
    large = items["resnet50"]
    assert (large["macs"], large["input"], large["classes"]) == (4_089_184_256, "3x224x224", 1000)


@pytest.mark.parametrize("name", BUNDLED)
def test_counts_are_those_of_the_card(name):
    shown = show_model(name)
    assert (shown["params"], shown["macs"]) == (shown["card"]["params"], shown["card"]["macs"])


def test_a_net_without_weights_is_shown():
    shown = show_model("cmpe_resnet18_folded_imagenet7")
    assert shown["card"] is None
    assert (shown["params"], shown["macs"], shown["macs_at_224"]) == (11_299_282, 37_788_096, 1_814_337_984)
    assert shown["architecture"]["attention"] == "folded"


def test_an_unknown_net_is_refused():
    with pytest.raises(ModelError, match=r"unknown model 'slim_es'; did you mean 'slim_se'\?"):
        show_model("slim_es")


def test_the_list_needs_no_torch():
    code = "import sys; from edge_se.steps.models import list_models; list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

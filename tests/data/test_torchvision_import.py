"""torchvision imports over a CPU-only torch, too, and other import failures are not hidden."""

import subprocess
import sys

import pytest

from edge_se.data.torchvision_import import torchvision


def test_datasets_and_models_are_there():
    assert torchvision.datasets.CIFAR10 and torchvision.models.resnet18


@pytest.mark.slow
def test_it_imports_first_thing_in_a_fresh_process():
    code = "from edge_se.data.torchvision_import import torchvision; print(torchvision.models.resnet18.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "resnet18\n"

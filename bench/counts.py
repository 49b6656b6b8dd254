"""Parameters and MACs of torchvision's classifiers, by edge-se and by torch: python bench/counts.py   (some 20 minutes)

Each net gets random weights, is exported by TorchScript with its batch norms as they are, and counted from the file.
Torch counts by `numel()` and `FlopCounterMode`. Nets that are counted already are not counted again; `--again` does.
Writes bench/results/counts.json and refreshes the documents.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.tables import readme
from edge_se.core import environment
from edge_se.core.errors import EdgeSeError
from edge_se.core.files import read_json, write_json
from edge_se.data.torchvision_import import torchvision
from edge_se.graph.counting import count
from edge_se.graph.foreign import normalised
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.parameters import parameters_of
from edge_se.reporting.console import ConsoleProgress

FILE = Path(__file__).parent / "results" / "counts.json"
SIZES = (64, 96, 224, 299)  # the first at which a net is exported: some take one size alone
LARGEST = 2**31  # bytes of a file in one piece


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="count all nets anew")
    progress = ConsoleProgress()
    rows = {} if parser.parse_args().again or not FILE.is_file() else {
        row["model"]: row for row in read_json(FILE)["rows"]}
    names = torchvision.models.list_models(module=torchvision.models)
    for number, name in enumerate(names, 1):
        if name in rows:
            continue
        rows[name] = row_of(name)
        progress.note(f"{number}/{len(names)}  {name}  {rows[name]['why_not'] or 'counted'}")
        write_json(FILE, {"schema": "edge-se/counts/1", "rows": [rows[each] for each in names if each in rows],
                          "environment": {"versions": environment.versions(), "commit": environment.commit()}})
    readme.main()


def row_of(name: str) -> dict[str, Any]:
    """One classifier of torchvision. `why_not` says why it has no counts, in one line."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    row: dict[str, Any] = {"model": name, "size": None, "params": None, "params_torch": None, "macs": None,
                           "macs_torch": None, "macs_of_tables": None, "why_not": None}
    params = next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]
    if 4 * params >= LARGEST:
        return row | {"params_torch": params, "why_not": "larger than the 2 GiB that an ONNX file in one piece holds"}
    net = torchvision.models.get_model(name, weights=None, **options)
    if options:
        net.aux_logits = False  # heads for training, which are in no exported graph
        net.aux1 = net.aux2 = net.AuxLogits = None
    why = ""
    for size in SIZES:
        try:
            with tempfile.TemporaryDirectory() as folder:
                return row | {"size": size} | compared(net, size, Path(folder, "model.onnx"))
        except EdgeSeError as error:
            return row | {"size": size, "why_not": str(error).splitlines()[0]}
        except (RuntimeError, AssertionError, ValueError) as error:  # too small for the net, or for its exporter
            why = f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.100}"
    return row | {"why_not": f"not exported ({why})"}


def compared(net: nn.Module, size: int, path: Path) -> dict[str, int]:
    """Counts of `net` at (1, 3, size, size) from the file that is written to `path`, and torch's own.

    MACs of `tables` are those that torch spends on what no image changes: Swin V2's position biases, which a small
    network makes from a table. A file holds them as constants.
    """
    net = net.eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)  # nothing is zero or one, which an exporter would leave out
    image, fast = torch.zeros(1, 3, size, size), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernels are not counted
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            net(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of traced branches, which are those of this very size
        torch.onnx.export(net, (image,), str(path), dynamo=False, opset_version=17, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    model = OnnxModel.read(path)
    return {"params": parameters_of(model.proto),
            "params_torch": sum(parameter.numel() for parameter in net.parameters()),
            "macs": count(normalised(model, path)).macs, "macs_torch": counter.get_total_flops() // 2,
            "macs_of_tables": macs_of_tables(net)}


def macs_of_tables(net: nn.Module) -> int:
    """Of the networks that make Swin V2's position biases; 0 in every other net."""
    macs = 0
    for module in net.modules():
        table, network = getattr(module, "relative_coords_table", None), getattr(module, "cpb_mlp", None)
        if isinstance(table, torch.Tensor) and isinstance(network, nn.Sequential):
            layers = [layer for layer in network if isinstance(layer, nn.Linear)]
            macs += sum(layer.in_features * layer.out_features * table.numel() // 2 for layer in layers)
    return macs


if __name__ == "__main__":
    main()

"""How far trained excitations depend on the image, and what folding them costs and brings.

    python bench/folded_excitations.py               # ten minutes on two cores, after bench/run_studies.py quantization
    python bench/folded_excitations.py --bundled     # the bundled nets anew; the rows of the study stay
    python bench/folded_excitations.py --times-only  # the times anew, on a quiet machine; accuracies stay

The bundled nets with SE and every cell of the study `quantization` that has excitations. Judged on the 5,000
validation images against the net as it was trained in FP32: all excitations as constants (their means over the
calibration images), in FP32 and in INT8, beside INT8 with excitations; and how many of them `edge-se export
--fold-excitations` takes by itself. The bundled nets are read on the test set, too, with those. Times: INT8 in turns,
each runtime its own file, beside the plain net. Each row says on what it was measured.
Needs CIFAR-10 ($EDGE_SE_DATA). Writes bench/results/folded_excitations.json and refreshes the documents.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.tables import readme
from edge_se.backends.openvino import installed
from edge_se.backends.table import AUTOMATIC
from edge_se.core import environment
from edge_se.core.cards import card_of
from edge_se.core.errors import CalibrationError, EdgeSeError
from edge_se.core.files import read_json, write_json
from edge_se.core.progress import Progress
from edge_se.data import calibration, cifar10, splits
from edge_se.data.images import Images as AnyImages
from edge_se.data.splits import ImageSet
from edge_se.evaluation.accuracy import drop_from, logits_of, top1
from edge_se.evaluation.statistics import median_ratio
from edge_se.graph.onnx_model import OnnxModel
from edge_se.graph.source import load_source
from edge_se.nets.zoo import BUNDLED, spec_of
from edge_se.quantization.effort import EFFORTS
from edge_se.quantization.folding import excitation_values, fold_excitations, folded
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.search import Budget
from edge_se.quantization.sensitivity import interleaved_medians
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS
from edge_se.reporting.console import ConsoleProgress
from edge_se.studies.cell import GRAPH
from edge_se.studies.plan import read_plan

SCHEMA = "edge-se/folded-gates/2"
HERE = Path(__file__).parent
STUDY, RESULT = HERE / "studies" / "quantization.toml", HERE / "results" / "folded_excitations.json"
PLAIN = {  # beside which a bundled net is timed
    "se_resnet18": "resnet18", "slim_se": "slim", "mini_se": "mini", "se_resnet20": "resnet20"}
RUNTIMES = {"onnxruntime": "cpu" if environment.has_fast_int8() else "cpu-avx2", "openvino": "openvino"}
CONSTANT = 1e-6  # relative deviation of an excitation that no image moves
METHOD = EFFORTS["default"].method


@dataclass(frozen=True, kw_only=True)
class Net:
    """A trained net, and the plain one that it is timed beside (None: it is not timed)."""

    name: str
    seed: int
    model: OnnxModel
    plain: OnnxModel | None
    bundled: bool


@dataclass(frozen=True, kw_only=True)
class Images:
    """What the excitations are averaged over, what everything is judged on, what final figures are of."""

    calibration: AnyImages
    validation: ImageSet
    test: ImageSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, default=Path("runs/cells"), help="where the study's cells are")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--repeats", type=int, default=9, help="of the times; six are the fewest that have an interval")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--bundled", action="store_true", help="the bundled nets alone; keep the other rows")
    kept.add_argument("--times-only", action="store_true", help="keep the accuracies that are there")
    parser.add_argument("--out", type=Path, default=RESULT, help="another file leaves the documents as they are")
    options = parser.parse_args()
    progress = ConsoleProgress()
    try:
        document = measured(options, progress)
    except EdgeSeError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    write_json(options.out, document)
    print(f"written to {options.out}")
    if options.out == RESULT:
        readme.main()


def measured(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    cifar = cifar10.require(options.data)
    images = Images(calibration=calibration.load(calibration.REAL, cifar),
                    validation=splits.load("validation", cifar), test=splits.load("test", cifar))
    before = read_json(options.out, fix="measure all first")["rows"] if options.bundled or options.times_only else []
    own = {"versions": environment.versions(), "hardware": environment.hardware(), "commit": environment.commit()}
    rows = []
    for position, net in enumerate(bundled() if options.bundled else nets(options.cells)):
        progress.note(f"{net.name}, seed {net.seed}")
        row = before[position] if options.times_only else accuracies(net, images, progress) | {"environment": own}
        if (row["net"], row["seed"], row["sha256"]) != (net.name, net.seed, net.model.sha256):
            raise EdgeSeError(f"tells of another net than {net.name}, seed {net.seed}", where=options.out,
                              fix="leave --times-only out")
        if net.plain:
            row |= {"times": times(net, images.calibration, options.repeats, progress), "timed": own}
        rows.append(row)
    if options.bundled:
        rows += [row for row in before if not row["bundled"]]
    return {"schema": SCHEMA, "calibration": images.calibration.name, "validation": images.validation.name,
            "test": images.test.name, "target": RUNTIMES["onnxruntime"], "method": METHOD, "rows": rows}


def nets(cells: Path) -> Iterator[Net]:
    """The bundled ones, then the cells in the order of their study; of each net the first seed is timed."""
    yield from bundled()
    plan = read_plan(STUDY)
    first, plain_name = min(cell.seed for cell in plan.cells), plan.study.models[0]
    graphs = {(cell.model, cell.seed): graph_of(cells / cell.folder / GRAPH) for cell in plan.cells}
    for (name, seed), model in graphs.items():
        if spec_of(name).attention != "none":
            yield Net(name=name, seed=seed, model=model, bundled=False,
                      plain=graphs[plain_name, seed] if seed == first else None)


def bundled() -> Iterator[Net]:
    """Those whose weights are shipped, each timed."""
    for name in BUNDLED:
        if spec_of(name).attention != "none":
            plain = PLAIN[name]
            card = card_of(name)
            assert card is not None  # it is bundled
            yield Net(name=name, seed=card["seed"], model=load_source(name, None).model, bundled=True,
                      plain=load_source(plain, None, untrained=plain not in BUNDLED).model)


def graph_of(path: Path) -> OnnxModel:
    """The graph of a cell; EdgeSeError where the cell was not measured."""
    if not path.is_file():
        raise EdgeSeError("no such graph", where=path, fix="run `python bench/run_studies.py quantization` first")
    return OnnxModel.read(path)


def accuracies(net: Net, images: Images, progress: Progress) -> dict[str, Any]:
    """Deviations of a net's excitations, its accuracy with all folded, and how many `export` folds by itself."""
    values = excitation_values(net.model, images.calibration)
    constant, budget = folded(net.model, values), Budget()
    row = {"net": net.name, "seed": net.seed, "bundled": net.bundled, "sha256": net.model.sha256,
           "attention": spec_of(net.name).attention,
           "gates": [{"name": value.name, "deviation": value.deviation} for value in values],
           "constant": sum(value.deviation < CONSTANT for value in values),
           "all": against(net.model, constant, images.validation, images.calibration)}
    try:
        chosen, folding = fold_excitations(net.model, images.calibration, images.validation,
                                           max_drop_pp=budget.max_drop_pp, alpha=budget.alpha, progress=progress)
    except CalibrationError as refused:
        return row | {"folded": 0, "refused": str(refused)}
    row |= {"folded": folding.count, "chosen": folding.document()}
    return row | ({"final": against(net.model, chosen, images.test, images.calibration)} if net.bundled else {})


def against(trained: OnnxModel, without: OnnxModel, images: ImageSet, shown: AnyImages) -> dict[str, Any]:
    """Top-1 of a net as it was trained, and what it loses folded, in INT8, and folded in INT8."""
    reference, target, alpha = logits_of(trained, images), RUNTIMES["onnxruntime"], Budget().alpha
    assert images.labels is not None
    files = {"folded": without, "int8": int8_of(trained, target, shown), "folded_int8": int8_of(without, target, shown)}
    return {"n": len(images), "top1": top1(reference, images.labels)} | {
        name: in_points(asdict(drop_from(reference, logits_of(model, images), images.labels, alpha)))
        for name, model in files.items()}


def in_points(drop: dict[str, Any]) -> dict[str, Any]:
    return {"drop_pp": 100 * drop["drop"], "ci_pp": [100 * drop["low"], 100 * drop["high"]], "flips": drop["flips"]}


def int8_of(model: OnnxModel, target: str, shown: AnyImages) -> OnnxModel:
    """As `export --int8` makes it."""
    statistics = collect(model, shown)
    return quantize(model, statistics.ranges(METHOD, TARGETS[target].activations), TARGETS[target],
                    place(model.proto, TARGETS[target]))


def times(net: Net, shown: AnyImages, repeats: int, progress: Progress) -> dict[str, Any]:
    """INT8 of the net as trained, with all excitations folded, and of the plain one; ratios of each repeat."""
    assert net.plain is not None
    constants = folded(net.model, excitation_values(net.model, shown))
    graphs = {"trained": net.model, "folded": constants, "plain": net.plain}
    by_runtime = {}
    for runtime, target in RUNTIMES.items():
        if runtime == "openvino" and not installed():
            continue
        files = [int8_of(model, target, shown) for model in graphs.values()]
        medians = [interleaved_medians(files, AUTOMATIC[runtime], progress) for _ in range(repeats)]
        own = {name: [repeat[place] for repeat in medians] for place, name in enumerate(graphs)}
        by_runtime[runtime] = {"p50_ms_of_repeats": own,
                               "folded_over_trained": median_ratio(own["folded"], own["trained"]),
                               "trained_over_plain": median_ratio(own["trained"], own["plain"]),
                               "folded_over_plain": median_ratio(own["folded"], own["plain"])}
    return by_runtime


if __name__ == "__main__":
    main()

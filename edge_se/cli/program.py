"""All commands, and the program: parse, call one step, print.

Neither a command's module nor its step is imported before it is called. To add a command, write it in the module of
its topic and name it in COMMANDS.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Optional

import typer

from edge_se.cli.everywhere import Everywhere
from edge_se.cli.lazy import Command, Entry, LazyGroup, add, parser, program
from edge_se.core.errors import EdgeSeError
from edge_se.core.interrupts import follows_an_interrupt
from edge_se.core.memory import one_heap

USER_ERROR, INTERRUPTED = 2, 130
COMPLETE = "_EDGE_SE_COMPLETE"  # set by the shell after Tab


def _train() -> Command:
    from edge_se.cli.training import train

    return train


def _study() -> Command:
    from edge_se.cli.study import study

    return study


def _export() -> Command:
    from edge_se.cli.export import export

    return export


def _bench() -> Command:
    from edge_se.cli.bench import bench

    return bench


def _gate() -> Command:
    from edge_se.cli.gate import gate

    return gate


def _sensitivity() -> Command:
    from edge_se.cli.analysis import sensitivity

    return sensitivity


def _robustness() -> Command:
    from edge_se.cli.robustness import robustness

    return robustness


def _explain() -> Command:
    from edge_se.cli.analysis import explain_layers

    return explain_layers


def _report() -> Command:
    from edge_se.cli.analysis import report

    return report


def _lint() -> Command:
    from edge_se.cli.lint import lint

    return lint


def _verify() -> Command:
    from edge_se.cli.checks import verify

    return verify


def _doctor() -> Command:
    from edge_se.cli.checks import doctor

    return doctor


def _data_fetch() -> Command:
    from edge_se.cli.zoo import data_fetch

    return data_fetch


def _data_verify() -> Command:
    from edge_se.cli.zoo import data_verify

    return data_verify


def _data_synthesize() -> Command:
    from edge_se.cli.zoo import data_synthesize

    return data_synthesize


def _models_list() -> Command:
    from edge_se.cli.zoo import models_list

    return models_list


def _models_show() -> Command:
    from edge_se.cli.zoo import models_show

    return models_show


def _data_check() -> Command:
    from edge_se.cli.data_check import data_check

    return data_check


# In the order of `--help`. A summary is the command's docstring; a test compares.
COMMANDS = (
    Entry("train", "Train a net; write weights and a card with its measured accuracy.", _train,
          "Example: edge-se train --model se_resnet18 --epochs 3 --out runs/try"),
    Entry("study", "Train and measure a grid of nets, recipes and seeds; cells that are done are not run again.",
          _study, "Example: edge-se study bench/studies/placements.toml --workers 2"),
    Entry("export", "Write ONNX files per precision and target, each verified and measured.", _export,
          "Example: edge-se export --model se_resnet18 --int8"),
    Entry("bench", "Measure latency, throughput and accuracy of every precision, interleaved in one run.", _bench,
          "Examples: edge-se bench --model se_resnet18 --threads 1,2; edge-se bench --backend all; "
          "edge-se bench --device jetson --host orin --batch 1,8,32; edge-se bench --estimate all"),
    Entry("gate", "Fail when accuracy drops under quantization: exit 0 pass, 1 fail, 3 inconclusive.", _gate,
          "Examples: edge-se gate --model se_resnet18 --max-drop 0.5; edge-se gate --plan --max-drop 0.2"),
    Entry("sensitivity", "What INT8 costs in accuracy and brings in time, layer by layer, excitations apart.",
          _sensitivity, "Example: edge-se sensitivity --model se_resnet18 --target cpu"),
    Entry("robustness", "Top-1 of every file under noise, blur and JPEG: does INT8 lose more there than FP32?",
          _robustness,
          "Example: edge-se robustness --model se_resnet18 --severities 1,3,5 --out robustness.json"),
    Entry("explain", "Why INT8 is (not) faster in TensorRT: where the time of each layer goes, and what to try.",
          _explain,
          "Example: edge-se explain --layers int8.layers.json --profile int8.profile.json "
          "--baseline-profile fp16.profile.json --latency-ms 0.41 --baseline-latency-ms 0.52"),
    Entry("report", "All that is known of one or several builds: verdicts, charts, flipped images, provenance.",
          _report, "Example: edge-se report build/se_resnet18 --bench bench.json --html report.html"),
    Entry("lint", "What runtimes compute instead of what a Q/DQ file says, node by node, and the fix; exit 1 where one "
          "does.", _lint, "Examples: edge-se lint int8.onnx --for cpu,openvino; edge-se lint int8.onnx --static"),
    Entry("verify", "Check every file of a build against its manifest; exit 2 where one does not hold or a runtime "
          "refuses it.", _verify, "Examples: edge-se verify se_resnet18; edge-se verify se_resnet18 --compile"),
    Entry("doctor", "What this machine can do, and the fix for everything that is missing; exit 2 when the main job "
          "cannot run.", _doctor, "Example: edge-se doctor"),
)
GROUPS = (
    ("data", "CIFAR-10, calibration images, and whether a model sees your images as it was trained to.", (
        Entry("fetch", "Download CIFAR-10 through torchvision and check it; goes to the network.", _data_fetch),
        Entry("verify", "Check CIFAR-10 against the official hashes.", _data_verify),
        Entry("check", "Does the model see these images as it was trained to? Exit 0 it does, 1 something is wrong, 3 "
              "unexplained.", _data_check, "Example: edge-se data check --model mine.onnx --data pictures/"),
        Entry("synthesize", "Make calibration images from a trained net alone, by matching its batch-norm statistics.",
              _data_synthesize))),
    ("models", "The networks that edge-se knows.", (
        Entry("list", "Every network with its size and accuracy.", _models_list),
        Entry("show", "One network: architecture and card.", _models_show))),
)


def _version(wanted: bool) -> None:
    if wanted:
        import edge_se

        sys.stdout.write(f"edge-se {edge_se.__version__}\n")
        raise typer.Exit


def _root(json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
          quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
          version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Print the version.")] = False) -> None:
    Everywhere.json, Everywhere.quiet = json, quiet


def application(*, whole: bool) -> typer.Typer:
    """The program. `whole` imports every command, for the documentation."""
    app = program(
        name="edge-se", cls=LazyGroup if not whole else None,
        help="Image classifiers from training to the edge: train, export to ONNX, quantize to INT8, bench, gate.",
        epilog="Exit codes: 0 done, 1 the gate failed or a check found a fault, 2 something you can fix, 3 "
               "inconclusive, 130 interrupted.")
    app.callback()(_root)
    for entry in COMMANDS:
        add(app, entry, whole=whole)
    for name, about, entries in GROUPS:
        group = program(help=about, cls=LazyGroup if not whole else None)
        for entry in entries:
            add(group, entry, whole=whole)
        app.add_typer(group, name=name)
    return app


def main(arguments: Optional[list[str]] = None) -> None:
    """Runs the command line and exits with its code."""
    one_heap()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job that is killed cleans up as after Ctrl-C
    if COMPLETE in os.environ:
        sys.modules["rich"] = None  # type: ignore[assignment]  # to typer it is not installed: plain words, at once
    try:
        code = parser(application(whole=False)).main(args=arguments, prog_name="edge-se", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):  # some versions of typer turn an interrupt into this code themselves
        code = INTERRUPTED
    except Exception as error:
        if follows_an_interrupt(error):
            code = INTERRUPTED
        elif isinstance(error, EdgeSeError):
            sys.stderr.write(f"error: {error}\n")
            code = USER_ERROR
        elif hasattr(error, "show"):  # a usage error of the parser
            error.show()
            code = USER_ERROR
        else:  # a bug keeps its traceback
            raise
    if code == INTERRUPTED:
        sys.stderr.write("interrupted\n")
    sys.exit(code if isinstance(code, int) else 0)

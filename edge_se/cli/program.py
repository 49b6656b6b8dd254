"""All commands, and the program: parse, call one step, print. A step is imported when its command runs.

To add a command, write it in the module of its topic and name it in COMMANDS.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Annotated, Optional

import typer

from edge_se.cli import analysis, bench, checks, export, gate, robustness, study, training, zoo
from edge_se.cli.options import Everywhere, Json, Quiet
from edge_se.core.errors import EdgeSeError
from edge_se.reporting.console import print_line

Command = Callable[..., None]
USER_ERROR, INTERRUPTED = 2, 130

# In the order of `--help`: name, function, epilog.
COMMANDS: tuple[tuple[str, Command, Optional[str]], ...] = (
    ("train", training.train, "Example: edge-se train --model se_resnet18 --epochs 3 --out runs/try"),
    ("study", study.study, "Example: edge-se study bench/studies/placements.toml --workers 2"),
    ("export", export.export, "Example: edge-se export --model se_resnet18 --int8"),
    ("bench", bench.bench, "Examples: edge-se bench --model se_resnet18 --threads 1,2; edge-se bench --backend all; "
                           "edge-se bench --device jetson --host orin --batch 1,8,32; edge-se bench --estimate all"),
    ("gate", gate.gate, "Examples: edge-se gate --model se_resnet18 --max-drop 0.5; "
                        "edge-se gate --plan --max-drop 0.2"),
    ("sensitivity", analysis.sensitivity, "Example: edge-se sensitivity --model se_resnet18 --target cpu"),
    ("robustness", robustness.robustness,
     "Example: edge-se robustness --model se_resnet18 --severities 1,3,5 --out robustness.json"),
    ("explain", analysis.explain_layers,
     "Example: edge-se explain --layers int8.layers.json --profile int8.profile.json "
     "--baseline-profile fp16.profile.json --latency-ms 0.41 --baseline-latency-ms 0.52"),
    ("report", analysis.report, "Example: edge-se report build/se_resnet18 --bench bench.json --html report.html"),
    ("verify", checks.verify, None),
    ("doctor", checks.doctor, "Example: edge-se doctor"),
)
GROUPS: tuple[tuple[str, str, tuple[tuple[str, Command], ...]], ...] = (
    ("data", "CIFAR-10 and calibration images.",
     (("fetch", zoo.data_fetch), ("verify", zoo.data_verify), ("synthesize", zoo.data_synthesize))),
    ("models", "The networks that edge-se knows.", (("list", zoo.models_list), ("show", zoo.models_show))),
)

app = typer.Typer(
    name="edge-se", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Small-image classifiers from training to the edge: train, export to ONNX, quantize to INT8, bench, gate.",
    epilog="Exit codes: 0 done, 1 the gate failed, 2 something you can fix, 3 inconclusive, 130 interrupted.")
for _name, _command, _epilog in COMMANDS:
    app.command(_name, epilog=_epilog)(_command)
for _name, _help, _commands in GROUPS:
    _group = typer.Typer(no_args_is_help=True, help=_help)
    for _part, _command in _commands:
        _group.command(_part)(_command)
    app.add_typer(_group, name=_name)


def _version(wanted: bool) -> None:
    if wanted:
        import edge_se

        print_line(f"edge-se {edge_se.__version__}")
        raise typer.Exit


@app.callback()
def _root(json: Json = False, quiet: Quiet = False,
          version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Print the version.")] = False) -> None:
    Everywhere.json, Everywhere.quiet = json, quiet


def main(arguments: Optional[list[str]] = None) -> None:
    """Runs the command line and exits with its code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed job cleans up as an interrupted one does
    try:
        code = app(args=arguments, prog_name="edge-se", standalone_mode=False)
    except EdgeSeError as error:
        sys.stderr.write(f"error: {error}\n")
        code = USER_ERROR
    except (KeyboardInterrupt, typer.Abort):  # some versions of typer turn an interrupt into this code themselves
        code = INTERRUPTED
    except Exception as error:
        if not hasattr(error, "show"):  # not a usage error of the parser: a bug keeps its traceback
            raise
        error.show()
        code = USER_ERROR
    if code == INTERRUPTED:
        sys.stderr.write("interrupted\n")
    sys.exit(code if isinstance(code, int) else 0)

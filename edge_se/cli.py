"""The command line: parse, call one step, print. A step is imported when its command runs, so `--help` is quick."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge_se.core.errors import EdgeSeError
from edge_se.reporting.console import ConsoleProgress, print_json, print_line, print_table
from edge_se.steps import completion

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
USER_ERROR, INTERRUPTED = 2, 130

app = typer.Typer(
    name="edge-se", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Small-image classifiers from training to the edge: train, export to ONNX, quantize to INT8, bench, gate.",
    epilog="Exit codes: 0 done, 1 the gate failed, 2 something you can fix, 3 inconclusive, 130 interrupted.")
data_app = typer.Typer(no_args_is_help=True, help="CIFAR-10 and calibration images.")
models_app = typer.Typer(no_args_is_help=True, help="The networks that edge-se knows.")
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Data = Annotated[Optional[Path], typer.Option(help="Folder of CIFAR-10; else $EDGE_SE_DATA, else the user cache.")]
Out = Annotated[Optional[Path], typer.Option(help="Where to write.")]
BuildName = Annotated[Optional[str], typer.Option(autocompletion=completion.builds,
                                                  help="A build: its folder, or its name under ./build.")]


class _Global:
    json = False
    quiet = False


def _version(wanted: bool) -> None:
    if wanted:
        import edge_se

        print_line(f"edge-se {edge_se.__version__}")
        raise typer.Exit


@app.callback()
def _root(json: Json = False, quiet: Quiet = False,
          version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Print the version.")] = False) -> None:
    _Global.json, _Global.quiet = json, quiet


def _progress(quiet: bool) -> ConsoleProgress:
    return ConsoleProgress(quiet or _Global.quiet)


def _printed_as_json(document: dict[str, Any], json: bool) -> bool:
    if json or _Global.json:
        print_json(document)
        return True
    return False


def _numbers(value: Optional[str], option: str) -> Optional[tuple[float, ...]]:
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise EdgeSeError(f"'{value}' is not three numbers", where=option, fix="give one per channel: 0.5,0.5,0.5")
    return numbers


def _batches(value: str) -> tuple[int, ...]:
    sizes = _integers(value)
    if not all(1 <= size <= 4096 for size in sizes):
        raise EdgeSeError(f"'{value}' is no list of batch sizes from 1 to 4096", where="--batch", fix="write 1,8,32")
    return sizes


def _threads(value: Optional[str]) -> Optional[tuple[int, ...]]:
    counts = None if value is None else _integers(value)
    if counts is not None and not all(0 <= count <= 1024 for count in counts):
        raise EdgeSeError(f"'{value}' is no list of numbers of threads from 0 to 1024", where="--threads",
                          fix="write 1,2,4; 0 means all processors")
    return counts


def _integers(value: str) -> tuple[int, ...]:
    """Without repetitions; (-1,) where one is no integer."""
    try:
        return tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        return (-1,)


def _list(value: Optional[str]) -> Optional[list[str]]:
    return [part.strip() for part in value.split(",") if part.strip()] if value else None


@app.command(epilog="Example: edge-se train --model se_resnet18 --epochs 3 --out runs/try")
def train(model: Annotated[str, typer.Option(autocompletion=completion.models,
                                             help="A name from `edge-se models list`.")],
          recipe: Annotated[Optional[Path], typer.Option(help="TOML; default: the model's own.")] = None,
          epochs: Annotated[Optional[int], typer.Option(min=1, help="Shorten or lengthen the recipe.")] = None,
          seed: Annotated[Optional[int], typer.Option(min=0)] = None,
          device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
          out: Out = None,
          resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
          data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """Train a net; write weights and a card with its measured accuracy."""
    from edge_se.steps.train import train as step

    card = step(model, recipe=recipe, epochs=epochs, seed=seed, device=device, out=out, resume=resume, data=data,
                progress=_progress(quiet))
    if _printed_as_json(card, json):
        return
    print_line(f"{card['out']}: test top-1 {card['test']['top1']:.2f} % (n = {card['test']['n']:,}, 95 % CI "
               f"{card['test']['ci95'][0]:.2f}–{card['test']['ci95'][1]:.2f}), validation "
               f"{card['validation']['top1']:.2f} %")


@app.command(epilog="Example: edge-se export --model se_resnet18 --int8")
def export(model: Annotated[str, typer.Option(
               autocompletion=completion.models,
               help="A name from `edge-se models list`, FILE.onnx, or torchvision:NAME with --weights.")],
           weights: Annotated[Optional[Path], typer.Option(help="safetensors; default: the bundled ones.")] = None,
           fp16: Annotated[bool, typer.Option("--fp16", help="Also write FP16.")] = False,
           int8: Annotated[bool, typer.Option("--int8", help="Also write INT8, one file per target.")] = False,
           target: Annotated[Optional[str], typer.Option(
               autocompletion=completion.targets,
               help="cpu, cpu-avx2 (no VNNI), arm, openvino, tensorrt, tensorrt-fp16, several with commas, or all. "
                    "Default: cpu,tensorrt.")] = None,
           calibration: Annotated[Optional[str], typer.Option(
               help="A bundled set, a folder of images, an index manifest (.json), images (.npz) or the "
                    "calibration.npz of an earlier export. Default: 512 CIFAR-10 training images, else the "
                    "synthetic set.")] = None,
           effort: Annotated[str, typer.Option(
               help="quick, default, or extensive: methods and placements are measured and the best is taken.")] =
           "default",
           method: Annotated[Optional[str], typer.Option(
               help="How ranges are chosen: minmax, entropy, percentile, mse, or auto: the nearest to FP32 on the "
                    "calibration images. Default: the effort's.")] = None,
           placement: Annotated[Optional[str], typer.Option(
               help="What runs in INT8: all, se-float, ends-float, conv-only, or auto: measured on held-out images "
                    "and on this machine. Default: the effort's.")] = None,
           max_drop: Annotated[float, typer.Option(
               help="auto: points that may be lost, with 97.5 % confidence.")] = 0.5,
           search_seconds: Annotated[Optional[float], typer.Option(help="auto: bound on the search.")] = None,
           data: Data = None, out: Out = None,
           accuracy: Annotated[bool, typer.Option(help="Measure accuracy on the test set.")] = True,
           mean: Annotated[Optional[str], typer.Option(help="Of the pixels / 255, R,G,B, for a model from elsewhere. "
                                                            "Default: CIFAR-10's at 32 px, else ImageNet's.")] = None,
           std: Annotated[Optional[str], typer.Option(help="The same for the standard deviation.")] = None,
           input_size: Annotated[Optional[int], typer.Option(
               min=8, help="Of a torchvision model; default 224.")] = None,
           bundle: Annotated[bool, typer.Option(
               "--bundle", help="Also write a folder that runs on a device without edge-se.")] = False,
           json: Json = False, quiet: Quiet = False) -> None:
    """Write ONNX files per precision and target, each verified and measured."""
    from edge_se.quantization.search import Budget
    from edge_se.reporting.tables import build_rows
    from edge_se.steps.export import export as step
    from edge_se.steps.source import Preprocessing

    given = Preprocessing(mean=_numbers(mean, "--mean"), std=_numbers(std, "--std"), input_size=input_size)
    build = step(model, weights=weights, fp16=fp16, int8=int8, targets=_list(target), calibration=calibration,
                 effort=effort, method=method, placement=placement, data=data, out=out, accuracy=accuracy,
                 budget=Budget(max_drop_pp=max_drop, seconds=search_seconds), preprocessing=given, bundle=bundle,
                 progress=_progress(quiet))
    if _printed_as_json(build.document(), json):
        return
    columns, rows = build_rows(build)
    print_table(columns, rows, left=3)
    calibrated = f", calibrated on {build.calibration['name']}" if build.calibration else ""
    print_line(f"\nwritten to {build.out}{calibrated}; evaluated on {build.artifacts[0].dataset}")


@app.command(epilog="Examples: edge-se bench --model se_resnet18 --threads 1,2; edge-se bench --backend all; "
                    "edge-se bench --device jetson --host orin --batch 1,8,32; edge-se bench --estimate all")
def bench(device: Annotated[str, typer.Option(
              autocompletion=completion.devices,
              help="cpu, cuda, jetson (this machine, --host, $EDGE_SE_JETSON or the SSH alias jetson; else an "
                   "estimate) or ssh://USER@HOST[:PORT].")] = "cpu",
          model: BuildName = None,
          precision: Annotated[Optional[str], typer.Option(help="fp32,fp16,int8; default: all of the build.")] = None,
          backend: Annotated[str, typer.Option(
              help="auto; all: each file in every runtime that runs it; onnxruntime, openvino, torch, torch-compiled, "
                   "onnxruntime-cuda and other providers; on a device also tensorrt and tensorrt_rtx.")] = "auto",
          batch: Annotated[str, typer.Option(help="A batch size, or several to sweep: 1,8,32.")] = "1",
          threads: Annotated[Optional[str], typer.Option(
              help="A number, or several to sweep: 1,2; 0: all processors. Default: 1; with --scenario throughput "
                   "0.")] = None,
          scenario: Annotated[str, typer.Option(
              help="latency: one stream; throughput: as many streams as --threads says, of one thread each; or "
                   "both: latency,throughput.")] = "latency",
          min_duration: Annotated[float, typer.Option(help="Seconds of timing per file and batch size.")] = 2.0,
          host: Annotated[Optional[str], typer.Option(
              help="--device jetson: USER@HOST[:PORT] or an alias of your SSH configuration.")] = None,
          python: Annotated[Optional[str], typer.Option(
              help="Path of the Python on the device that has its runtime; default: its python3.")] = None,
          explain: Annotated[bool, typer.Option(
              "--explain", help="TensorRT: also profile the layers and say why INT8 is (not) faster.")] = False,
          fresh: Annotated[Optional[bool], typer.Option(
              "--fresh/--no-fresh", help="Memory, load time and first inference of each row, in a process of its own. "
                                         "Default: on this machine's CPU, unless --min-duration is below 0.2.")] = None,
          referee: Annotated[bool, typer.Option(
              "--referee", help="Also run each session under MLPerf LoadGen and set its figures beside.")] = False,
          against: Annotated[Optional[Path], typer.Option(
              help="A document of an earlier run; refused when device or power mode differ.")] = None,
          estimate: Annotated[Optional[str], typer.Option(
              autocompletion=completion.boards,
              help="Roofline of a board that is not here: a name from bench/devices, a .toml file, or all.")] = None,
          measured_only: Annotated[bool, typer.Option(
              "--measured-only", help="Exit 2 where no Jetson is, instead of an estimate.")] = False,
          launch_us: Annotated[float, typer.Option(
              help="--estimate: microseconds per kernel launch; 0 for a CUDA graph.")] = 0.0,
          data: Data = None,
          out: Annotated[Optional[Path], typer.Option(help="Also write the JSON document to this file.")] = None,
          json: Json = False, quiet: Quiet = False) -> None:
    """Measure latency, throughput and accuracy of every precision, interleaved in one run."""
    from edge_se.core.files import write_json
    from edge_se.reporting.tables import estimate_rows, measurement_rows
    from edge_se.steps.bench import Options
    from edge_se.steps.bench import bench as step
    from edge_se.steps.estimate import DEFAULT_BOARD, estimates, instead_of_measuring
    from edge_se.steps.places import way_to_jetson

    progress, batches = _progress(quiet), _batches(batch)
    if device == "jetson" and not estimate and way_to_jetson(host) is None:
        progress.note(instead_of_measuring(measured_only))
        estimate = DEFAULT_BOARD
    if estimate:
        document = estimates(estimate, model=model, batches=batches, launch_us=launch_us, progress=progress)
    else:
        options = Options(backend=backend, batches=batches, threads=_threads(threads), min_duration=min_duration,
                          scenarios=tuple(_list(scenario) or ()), fresh=fresh, referee=referee, host=host,
                          python=python, explain=explain)
        document = step(device, model=model, precisions=_list(precision), options=options, data=data, against=against,
                        progress=progress)
    if out:
        write_json(out, document)
    if _printed_as_json(document, json):
        return
    columns, rows = (estimate_rows if estimate else measurement_rows)(document["measurements"])
    print_table(columns, rows, left=5 if estimate else 4)
    for row in document["measurements"]:
        if "why" in row:
            print_line(f"\nint8.{row['target']} in {row['backend']}, batch {row['batch']}:")
            _print_why(row["why"])


@app.command(epilog="Examples: edge-se gate --model se_resnet18 --max-drop 0.5; edge-se gate --plan --max-drop 0.2")
def gate(model: BuildName = None,
         max_drop: Annotated[Optional[float], typer.Option(help="Margin in percentage points; default 0.5.")] = None,
         preset: Annotated[Optional[str], typer.Option(
             help="mlperf99: keep 99 % of FP32's top-1; strict: 0.25 points at alpha 0.005.")] = None,
         alpha: Annotated[Optional[float], typer.Option(
             help="One-sided error rate of either verdict; default 0.025.")] = None,
         sequential: Annotated[Optional[bool], typer.Option(
             "--sequential/--all-images", help="Stop as soon as the verdict is certain, at the same error rate.")] =
         None,
         config: Annotated[Optional[Path], typer.Option(
             help="Settings; default: bench/gate.toml where it exists. The command line wins.")] = None,
         bench: Annotated[Optional[Path], typer.Option(help="A document of `bench --out`, for latencies.")] = None,
         max_latency_ratio: Annotated[Optional[float], typer.Option(
             help="Also judge the median latency, INT8 over FP32, in --bench.")] = None,
         max_size_ratio: Annotated[Optional[float], typer.Option(
             help="Also judge the file's size, INT8 over FP32.")] = None,
         baseline: Annotated[Optional[Path], typer.Option(
             help="Also judge against the INT8 of an earlier build.")] = None,
         update_baseline: Annotated[bool, typer.Option(
             "--update-baseline", help="Write --baseline (default bench/baselines/MODEL.json) instead.")] = False,
         junit: Annotated[Optional[Path], typer.Option(help="Also write JUnit XML.")] = None,
         summary: Annotated[Optional[Path], typer.Option(
             help="Also append Markdown: give $GITHUB_STEP_SUMMARY.")] = None,
         plan: Annotated[bool, typer.Option(
             "--plan", help="Only say how many images the margin needs; needs no data.")] = False,
         power: Annotated[float, typer.Option(help="--plan: probability to pass without a drop.")] = 0.9,
         discordance: Annotated[Optional[float], typer.Option(
             help="--plan: percent of images that exactly one of FP32 and INT8 gets right; default: the flips of "
                  "--model, else a few typical rates.")] = None,
         data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """Fail when accuracy drops under quantization: exit 0 pass, 1 fail, 3 inconclusive."""
    from edge_se.evaluation.settings import given
    from edge_se.reporting.gate_outputs import write_outputs
    from edge_se.reporting.verdict import explain, plan_rows, plan_words
    from edge_se.steps.gate import gate as step
    from edge_se.steps.gate_plan import plan as plan_step

    wanted = given(max_drop=max_drop, preset=preset, alpha=alpha, sequential=sequential,
                   max_latency_ratio=max_latency_ratio, max_size_ratio=max_size_ratio)
    if plan:
        document = plan_step(model, config=config, wanted=wanted, power=power, discordance=discordance)
        if not _printed_as_json(document, json):
            print_table(*plan_rows(document))
            print_line(f"\n{plan_words(document)}")
        return
    document = step(model, wanted=wanted, config=config, bench=bench, baseline=baseline,
                    update_baseline=update_baseline, data=data, progress=_progress(quiet))
    write_outputs(document, junit, summary)
    if not _printed_as_json(document, json):
        for line in explain(document):
            print_line(line)
    raise typer.Exit(EXIT_CODES[document["overall"]])


@app.command(epilog="Example: edge-se sensitivity --model se_resnet18 --target cpu")
def sensitivity(model: BuildName = None,
                target: Annotated[str, typer.Option(autocompletion=completion.target,
                                                    help="cpu, openvino, tensorrt, ...")] = "cpu",
                method: Annotated[str, typer.Option(autocompletion=completion.methods,
                                                    help="minmax, entropy, percentile or mse.")] = "mse",
                images: Annotated[int, typer.Option(min=1, help="Validation images.")] = 1000,
                figure: Annotated[Optional[Path], typer.Option(help="Also draw it: .svg, .png or .pdf.")] = None,
                data: Data = None,
                out: Annotated[Optional[Path], typer.Option(help="Also write the JSON document to this file.")] = None,
                json: Json = False, quiet: Quiet = False) -> None:
    """Which layers hurt: what INT8 costs in accuracy and brings in time, unit by unit, SE gates apart."""
    from edge_se.core.files import write_json
    from edge_se.reporting.figures import require_figures, sensitivity_figure
    from edge_se.reporting.tables import sensitivity_rows
    from edge_se.steps.sensitivity import sensitivity as step

    if figure:
        require_figures(figure)
    document = step(model, target=target, method=method, images=images, data=data, progress=_progress(quiet))
    if figure:
        sensitivity_figure(document, figure)
    if out:
        write_json(out, document)
    if _printed_as_json(document, json):
        return
    columns, rows = sensitivity_rows(document["units"])
    print_table(columns, rows, left=2)
    print_line(f"\neach unit alone in INT8, everything else FP32; on {document['n']:,} images of {document['dataset']}")


@app.command("explain", epilog="Example: edge-se explain --layers int8.layers.json --profile int8.profile.json "
                                "--baseline-profile fp16.profile.json --latency-ms 0.41 --baseline-latency-ms 0.52")
def explain_layers(layers: Annotated[Path, typer.Option(help="trtexec --exportLayerInfo of the INT8 engine.")],
                   profile: Annotated[Path, typer.Option(help="trtexec --exportProfile of the INT8 engine.")],
                   baseline_layers: Annotated[Optional[Path], typer.Option(
                       help="Layer information of the same net in FP16 or FP32.")] = None,
                   baseline_profile: Annotated[Optional[Path], typer.Option(help="Its profile.")] = None,
                   latency_ms: Annotated[Optional[float], typer.Option(
                       help="Of INT8 without the profiler; tells what launches take.")] = None,
                   baseline_latency_ms: Annotated[Optional[float], typer.Option(help="Of the baseline.")] = None,
                   out: Annotated[Optional[Path], typer.Option(
                       help="Also write the JSON document to this file.")] = None,
                   json: Json = False, quiet: Quiet = False) -> None:
    """Why INT8 is (not) faster in TensorRT: where the time of each layer goes, and what to try."""
    from edge_se.core.files import write_json
    from edge_se.steps.explain import explain as step

    document = step(layers, profile, baseline_layers=baseline_layers, baseline_profile=baseline_profile,
                    latency_ms=latency_ms, baseline_latency_ms=baseline_latency_ms, progress=_progress(quiet))
    if out:
        write_json(out, document)
    if not _printed_as_json(document, json):
        _print_why(document)


def _print_why(document: dict[str, Any]) -> None:
    from edge_se.reporting.tables import explain_rows

    columns, rows = explain_rows(document)
    print_table(columns, rows)
    for line in (f"\n{document['verdict']}", *(f"- {line}" for line in document["advice"])):
        print_line(line)


@app.command(epilog="Example: edge-se report build/se_resnet18 --bench bench.json --html report.html")
def report(builds: Annotated[Optional[list[str]], typer.Argument(
               metavar="BUILD", help="Folders, or names under ./build. Default: the only build.")] = None,
           html: Annotated[Optional[Path], typer.Option(help="One self-contained file to open in a browser.")] = None,
           markdown: Annotated[Optional[Path], typer.Option(help="The same as Markdown, without images.")] = None,
           bench: Annotated[Optional[list[Path]], typer.Option(
               help="A document of `bench --out`; repeatable. Default: bench.json in the builds' folders.")] = None,
           sensitivity: Annotated[Optional[list[Path]], typer.Option(
               help="A document of `sensitivity --out`; repeatable.")] = None,
           max_drop: Annotated[float, typer.Option(help="Margin of the verdicts, percentage points.")] = 0.5,
           data: Data = None,
           out: Annotated[Optional[Path], typer.Option(help="Also write the JSON document to this file.")] = None,
           json: Json = False, quiet: Quiet = False) -> None:
    """Everything known of one or several builds, with verdicts, charts and provenance."""
    from edge_se.reporting.report.views import summary
    from edge_se.steps.report import report as step

    document = step(builds or (), bench=bench or (), sensitivity=sensitivity or (), html=html, markdown=markdown,
                    out=out, max_drop=max_drop, data=data, progress=_progress(quiet))
    if _printed_as_json(document, json):
        return
    table = summary(document)
    print_table(table.columns, table.rows, left=table.left)
    for item in document["missing"]:
        print_line(f"not in it: {item['section']}. {item['how']}")


@app.command()
def verify(folder: Annotated[str, typer.Argument(autocompletion=completion.builds,
                                                 help="A build: its folder, or its name under ./build.")],
           compiled: Annotated[bool, typer.Option(
               "--compile", help="Also build engines with TensorRT for RTX, which needs no GPU.")] = False,
           json: Json = False, quiet: Quiet = False) -> None:
    """Check every file of a build against its manifest."""
    from edge_se.steps.verify import verify as step

    document = step(folder, compiled=compiled)
    if _printed_as_json(document, json):
        return
    rows = [[item["file"], item["sha256"], f"{item['bytes']:,}"] for item in document["files"]]
    if compiled:
        rows = [[*row, "builds" if item.get("compiles") else "–"] for row, item in zip(rows, document["files"])]
    print_table(["file", "sha256", "bytes", *(["TensorRT"] if compiled else [])], rows, left=2)


@app.command(epilog="Example: edge-se doctor")
def doctor(data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """What this machine can do, and the fix for everything that is missing; exit 2 when the main job cannot run."""
    from edge_se.reporting.tables import doctor_rows, job_rows
    from edge_se.steps.doctor import doctor as step

    document = step(data, progress=_progress(quiet))
    if not _printed_as_json(document, json):
        for columns, rows in (doctor_rows(document), job_rows(document)):
            print_table(columns, rows, left=len(columns))
            print_line("")
        first = document["jobs"][0]
        print_line("this machine can do the main job" if first["works"] else
                   f"this machine cannot {first['job']}: mend {', '.join(first['lacks'])}")
    if not document["works"]:
        raise typer.Exit(USER_ERROR)


@models_app.command("list")
def models_list(json: Json = False, quiet: Quiet = False) -> None:
    """Every network with its size and accuracy."""
    from edge_se.steps.models import list_models

    document = list_models()
    if _printed_as_json(document, json):
        return
    rows = [[item["name"], item["input"], "bundled" if item["weights"] else "none", item["about"],
             _count(item["params"]), _count(item["macs"]),
             "–" if item["test_top1"] is None else f"{item['test_top1']:.2f}"] for item in document["models"]]
    print_table(["model", "input", "weights", "about", "params", "MACs", "test top-1 %"], rows, left=4)


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(autocompletion=completion.models)], json: Json = False,
                quiet: Quiet = False) -> None:
    """One network: architecture and card."""
    from edge_se.steps.models import show_model

    print_json(show_model(name))


@data_app.command("fetch")
def data_fetch(out: Out = None, json: Json = False, quiet: Quiet = False) -> None:
    """Download CIFAR-10 through torchvision and check it; goes to the network."""
    from edge_se.steps.data import fetch

    _print_facts(fetch(out, _progress(quiet)), json)


@data_app.command("verify")
def data_verify(data: Data = None, json: Json = False, quiet: Quiet = False) -> None:
    """Check CIFAR-10 against the official hashes."""
    from edge_se.steps.data import verify as step

    _print_facts(step(data), json)


@data_app.command("synthesize")
def data_synthesize(model: Annotated[str, typer.Option(help="A net with weights.")] = "se_resnet18",
                    weights: Annotated[Optional[Path], typer.Option(help="safetensors.")] = None,
                    images: Annotated[int, typer.Option(min=1, max=4096)] = 256,
                    steps: Annotated[int, typer.Option(min=1)] = 300,
                    seed: Annotated[int, typer.Option(min=0)] = 0,
                    out: Out = None, json: Json = False, quiet: Quiet = False) -> None:
    """Make calibration images from a trained net alone, by matching its batch-norm statistics."""
    from edge_se.steps.data import synthesize

    _print_facts(synthesize(model, weights=weights, images=images, steps=steps, seed=seed, out=out,
                            progress=_progress(quiet)), json)


def _print_facts(document: dict[str, Any], json: bool) -> None:
    if _printed_as_json(document, json):
        return
    print_table(["fact", "value"], [[key, str(value)] for key, value in document.items() if key != "schema"], left=2)


def _count(value: Optional[int]) -> str:
    return "–" if value is None else f"{value:,}"


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

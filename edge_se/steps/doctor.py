"""`doctor`: what this machine can do, and the fix for everything that is missing.

Whatever could crash or hang (native libraries, CUDA) is asked in processes of its own, so that a broken installation
still gets its answer; this process imports neither torch nor a runtime.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edge_se.core import environment
from edge_se.core.arguments import PathLike
from edge_se.core.assets import asset, cache_dir
from edge_se.core.cards import weights_of
from edge_se.core.errors import EdgeSeError
from edge_se.core.kept_logits import VARIABLE, bound, taken
from edge_se.core.probes import TIMEOUT_S, Answer, ask
from edge_se.core.progress import SILENT, Progress
from edge_se.nets.zoo import BUNDLED
from edge_se.reporting.amounts import amount

SCHEMA = "edge-se/doctor/1"
LEAST_BYTES = 500 * 2**20  # a build of a bundled net with all targets takes 140 MiB, and twice that while it is written
Status = Literal["ok", "missing", "optional"]

_AGAIN = "install edge-se again: pip install --force-reinstall edge-se"
# A folder of a package's name, such as that of its type stubs, can be imported, too, and is no package.
_VERSION = "{statement} as module\nif getattr(module, '__file__', None) is None:\n" \
           "    raise ModuleNotFoundError(f'No module named {{module.__name__!r}}')\n" \
           "value = {{'version': str(getattr(module, '__version__', '')).split('-')[0]}}"
# Where a plain import is not what edge-se does.
_IMPORT = {"torchvision": "from edge_se.data.torchvision_import import torchvision",
           "timm": "from edge_se.data.torchvision_import import torchvision\nimport timm",
           "ethosu": "from ethosu import vela"}
# Beyond the version: what a runtime can use here.
_MORE = {
    "onnxruntime": "value['about'] = ', '.join(name.removesuffix('ExecutionProvider') "
                   "for name in module.get_available_providers())",
    "openvino": "value['about'] = ', '.join(module.Core().available_devices)",
    "torch": "value['about'] = f'CUDA {module.version.cuda}: {module.cuda.get_device_name(0)}' "
             "if module.cuda.is_available() else 'no CUDA'",
}


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package by the name that Python imports; without an `extra` the base installation brings it."""

    module: str
    extra: str | None = None

    @property
    def code(self) -> str:
        """Python that finds its version."""
        statement = _IMPORT.get(self.module, f"import {self.module}")
        return "\n".join([_VERSION.format(statement=statement), _MORE.get(self.module, "")])

    @property
    def install(self) -> str:
        """The command that brings or mends it."""
        return f"pip install 'edge-se[{self.extra}]'" if self.extra else _AGAIN


PACKAGES = {package.module: package for package in (
    Package(module="numpy"), Package(module="onnx"), Package(module="onnxruntime"), Package(module="scipy"),
    Package(module="sympy"), Package(module="safetensors"), Package(module="PIL"),
    Package(module="openvino", extra="openvino"), Package(module="cv2", extra="opencv"),
    Package(module="ai_edge_litert", extra="litert"),
    Package(module="torch", extra="torch"), Package(module="torchvision", extra="torch"),
    Package(module="onnxscript", extra="torch"),
    Package(module="tensorrt", extra="tensorrt"), Package(module="tensorrt_rtx", extra="rtx"),
    Package(module="matplotlib", extra="plots"), Package(module="jinja2", extra="report"),
    Package(module="mlperf_loadgen", extra="referee"), Package(module="tensorboard", extra="tensorboard"),
    Package(module="ray", extra="cluster"), Package(module="mkdocs", extra="docs"),
    Package(module="timm", extra="timm"), Package(module="pyarrow", extra="parquet"),
    Package(module="segno", extra="web"), Package(module="tflite_micro", extra="microcontrollers"),
    Package(module="ethosu", extra="microcontrollers"))}
BASE = tuple(name for name, package in PACKAGES.items() if package.extra is None)
MAIN_JOB = "quantize, bench and verify ONNX files"
# Job -> the checks that must be ok; one check of a tuple suffices.
JOBS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    MAIN_JOB: (*BASE, "shipped files", "folder for builds"),
    "export the bundled nets": (*BASE, "torch", "onnxscript", "shipped files", "folder for builds"),
    "train --data DIR": (*BASE, "torch", "folder for builds"),
    "train": (*BASE, "torch", "CIFAR-10", "folder for builds"),
    "train --tensorboard": (*BASE, "torch", "CIFAR-10", "tensorboard"),
    "study --executor ray": (*BASE, "torch", "CIFAR-10", "ray"),
    "accuracy and gate --data DIR": BASE,
    "accuracy and gate": (*BASE, "CIFAR-10"),
    "bench in OpenVINO": (*BASE, "openvino"),
    "bench in OpenCV": (*BASE, "cv2"),
    "export --target litert": (*BASE, "ai_edge_litert"),
    "bench --referee": (*BASE, "mlperf_loadgen"),
    "bench --device cuda": (*BASE, "GPU", ("tensorrt", "tensorrt_rtx")),
    "bench --device jetson": (*BASE, "Jetson"),
    "bench --device ssh://...": (*BASE, "OpenSSH"),
    "verify --compile": (*BASE, "tensorrt_rtx"),
    "verify --compile of `litert` files": (*BASE, "ai_edge_litert", "tflite_micro", "ethosu"),
    "sensitivity --figure": (*BASE, "matplotlib"),
    "report --html": (*BASE, "jinja2"),
    "export --model timm:NAME": (*BASE, "torch", "onnxscript", "timm", "folder for builds"),
    "labelled images in .parquet": (*BASE, "pyarrow"),
}

_CIFAR = """from pathlib import Path
from edge_se.core.errors import EdgeSeError
from edge_se.data import cifar10
try:
    data = cifar10.find({data!r} and Path({data!r}))
except EdgeSeError as error:
    value = {{'refused': f'{{error.where}}: {{error.what}}', 'fix': error.fix}}
else:
    lacks = [name for names in cifar10.FILES.values() for name in names if data and data.binary
             and not (data.root / cifar10.BINARY_FOLDER / name).is_file()]
    value = {{'root': data and str(data.root), 'lacks': lacks, 'fix': cifar10.HOW_TO_GET}}
"""
_GPU = """from edge_se.device.agent import AgentError, Cuda
try:
    value = Cuda().device()
except AgentError as error:
    value = {'refused': error.what, 'fix': error.fix}
"""
_STATE = "from edge_se.device import agent\nvalue = {'state': agent.state(), 'power': agent.power_sources()}"
_JETSON = """from edge_se.core.errors import EdgeSeError
from edge_se.backends.machines.destination import ALIAS, HOST_VARIABLE
from edge_se.backends.machines.choice import way_to_jetson
try:
    way = way_to_jetson(None)
    nowhere = f'none: neither here, nor in ${HOST_VARIABLE}, nor as SSH alias {ALIAS}'
    value = {'shown': way and way.shown, 'problem': nowhere}
except EdgeSeError as error:
    value = {'shown': None, 'problem': str(error)}
"""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing: what was found, and how to get or mend it. `missing`: the main job needs it."""

    check: str
    found: str
    status: Status
    fix: str | None = None


def doctor(data: PathLike | None = None, *, timeout: float = TIMEOUT_S, progress: Progress = SILENT) -> dict[str, Any]:
    """The document of `doctor --json`. `works` tells whether the main job can run; `lacks` lists what a job needs.

    `timeout` in seconds is for all questions to packages and libraries together. Nothing is written.
    """
    progress.note("asking every package in a process of its own")
    answers = ask({name: package.code for name, package in PACKAGES.items()} | {
        "CIFAR-10": _CIFAR.format(data=None if data is None else str(data)), "GPU": _GPU, "state": _STATE,
        "Jetson": _JETSON}, timeout)
    checks = [*_machine(answers), *(_package(package, answers[package.module]) for package in PACKAGES.values()),
              *_data(answers), *_folders(), *_devices(answers)]
    jobs = _jobs({check.check: check.status == "ok" for check in checks})
    return {"schema": SCHEMA, "works": jobs[0]["works"], "checks": [asdict(check) for check in checks], "jobs": jobs,
            "environment": {"versions": environment.versions(), "hardware": environment.hardware(),
                            "commit": environment.commit()}}


def _jobs(fine: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Each job with what it lacks; the main job is the first."""
    jobs = []
    for job, needs in JOBS.items():
        lacks = [" or ".join(names) for names in (need if isinstance(need, tuple) else (need,) for need in needs)
                 if not any(fine[name] for name in names)]
        jobs.append({"job": job, "works": not lacks, "lacks": lacks})
    return jobs


def _machine(answers: Mapping[str, Answer]) -> Iterator[Check]:
    hardware, flags = environment.hardware(), environment.cpu_flags()
    yield Check(check="edge-se", found=environment.versions()["edge-se"], status="ok")
    yield Check(check="Python", found=platform.python_version(), status="ok")
    cores = f"{hardware['cores']} core{'s' * (hardware['cores'] != 1)}"
    yield Check(check="processor", found=f"{hardware['cpu']}, {cores}, {hardware['machine']}",
                status="ok")
    fast = environment.has_fast_int8()
    yield Check(check="instruction sets", found=", ".join(flags) or "none that matter to INT8",
                status="ok" if fast else "optional",
                fix=None if fast else "INT8 is not much faster than FP32 on this processor; export for x86 without "
                                      "VNNI with --target cpu-avx2")
    yield _clocks(answers["state"])


def _clocks(answer: Answer) -> Check:
    if answer.failure is not None:
        return Check(check="clocks", found=answer.failure, status="optional", fix="mend numpy first")
    state = answer.value["state"]
    governors = sorted({name for name in state["governors"].values() if name})
    told = [f"governor {', '.join(governors)}"] if governors else []
    told += {True: ["locked"], False: ["floating"], None: []}[state["clocks_locked"]]
    told += [f"power mode {state['power_mode']}"] if state["power_mode"] else []
    # With the governor `performance` clocks still follow heat, and nothing more can be asked for outside a Jetson.
    steady = bool(state["clocks_locked"]) or governors == ["performance"]
    lock = "sudo jetson_clocks" if "Jetson" in (state["device"] or "") else \
        "sudo cpupower frequency-set -g performance"
    return Check(check="clocks", found=", ".join(told) or "this system does not tell (a virtual machine, usually)",
                 status="ok" if steady else "optional",
                 fix=None if steady else f"for latencies that repeat: {lock}" if told else
                 "compare ratios of one run, not times of several")


def _package(package: Package, answer: Answer) -> Check:
    bad: Status = "missing" if package.extra is None else "optional"
    failure = answer.failure or ""
    if answer.failure is None:
        more = f" ({answer.value['about']})" if answer.value.get("about") else ""
        return Check(check=package.module, found=f"{answer.value['version']}{more}".strip() or "installed", status="ok")
    absent = re.match(r"ModuleNotFoundError: No module named '(\w+)'", failure)
    if absent and absent[1] in PACKAGES:  # the package itself, or one that it needs
        return Check(check=package.module, status=bad, fix=PACKAGES[absent[1]].install,
                     found="not installed" if absent[1] == package.module else f"needs {absent[1]}, not installed")
    return Check(check=package.module, found=f"broken: {failure}", status=bad,
                 fix=package.install.replace("pip install '", "pip install --force-reinstall '"))


def _data(answers: Mapping[str, Answer]) -> Iterator[Check]:
    shipped = {"weights": [weights_of(name) for name in BUNDLED],
               "calibration": [asset("calibration", "synthetic-256.npz")]}
    lacks = [str(path) for paths in shipped.values() for path in paths if not path.is_file()]
    yield Check(check="shipped files", found=f"no {lacks[0]}" if lacks else f"weights of {', '.join(BUNDLED)}, "
                "calibration images", status="missing" if lacks else "ok", fix=_AGAIN if lacks else None)
    answer = answers["CIFAR-10"]
    if answer.failure is not None:
        yield Check(check="CIFAR-10", found=answer.failure, status="optional", fix="mend numpy first")
        return
    told = answer.value
    looked = f"not found: looked in $EDGE_SE_DATA (unset) and {cache_dir() / 'data'}"
    lacking = f"{told['root']} lacks {', '.join(told['lacks'])}" if told.get("lacks") else None
    problem = told.get("refused") or lacking or (None if told["root"] else looked)
    yield Check(check="CIFAR-10", found=problem or told["root"], status="optional" if problem else "ok",
                fix=told["fix"] if problem else None)


def _folders() -> Iterator[Check]:
    cache, here = cache_dir(), Path.cwd()
    size = sum(_bytes(Path(folder, name)) for folder, _, names in os.walk(cache) for name in names)
    found, fix = f"{cache}, {amount(size / 2**20, 0)} MiB", None
    try:
        found += f"; of logits {amount(taken() / 2**20, 0)} of at most {amount(bound() / 2**20, 0)} MiB (${VARIABLE})"
    except EdgeSeError as error:
        found, fix = f"{found}; {error.where}: {error.what}", error.fix
    if not os.access(_existing(cache), os.W_OK):
        found, fix = f"{found}; cannot be written", "point $EDGE_SE_CACHE at a folder that can be written"
    yield Check(check="cache", found=found, status="optional" if fix else "ok", fix=fix)
    free, writable = shutil.disk_usage(here).free, os.access(here, os.W_OK)
    problem = not writable or free < LEAST_BYTES
    fix = f"free {LEAST_BYTES / 2**20:.0f} MiB or go elsewhere" if writable else "go to a folder that can be written"
    yield Check(check="folder for builds", status="missing" if problem else "ok",
                found=f"{here}, {free / 2**30:,.1f} GiB free" + ("" if writable else ", cannot be written"),
                fix=f"{fix}, or give --out" if problem else None)


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # gone meanwhile
        return 0


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _devices(answers: Mapping[str, Answer]) -> Iterator[Check]:
    gpu, told = answers["GPU"], answers["GPU"].value or {}
    none = gpu.failure or told.get("refused")
    yield Check(check="GPU", status="optional" if none else "ok",
                found=f"none usable: {none}" if none else f"{told['name']}, CUDA {told['cuda']}, "
                f"{told['memory'] >> 20:,} MiB, compute capability {'.'.join(map(str, told['capability']))}",
                fix=(told.get("fix") or "for --device cuda: NVIDIA's driver and CUDA") if none else None)
    yield _openssh()
    jetson = answers["Jetson"]
    way = jetson.value or {"shown": None, "problem": jetson.failure}
    yield Check(check="Jetson", found=way["shown"] or way["problem"], status="ok" if way["shown"] else "optional",
                fix=None if way["shown"] else "name one: --device jetson --host USER@HOST (docs/jetson.md)")
    sensors = (answers["state"].value or {}).get("power", [])
    rapl = Path("/sys/class/powercap/intel-rapl:0").exists()
    yield Check(check="power sensors", found=", ".join(sensors) or "none", status="ok" if sensors else "optional",
                fix=None if sensors else "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" if rapl else
                "energy is measured on a Jetson, and on processors whose RAPL counters the system shows")


def _openssh() -> Check:
    program = shutil.which("ssh")
    if program is None:
        return Check(check="OpenSSH", found="not installed", status="optional", fix="apt install openssh-client")
    try:
        said = subprocess.run([program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10,
                              check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check(check="OpenSSH", found=f"{program} is broken ({error})", status="optional",
                     fix="apt install --reinstall openssh-client")
    return Check(check="OpenSSH", found=(said.stderr or said.stdout).split(",")[0].strip(), status="ok")

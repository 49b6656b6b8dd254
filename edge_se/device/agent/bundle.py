"""A bundle's model on this device."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from itertools import product

import numpy as np

from .cache import Cache, cache_folder
from .cuda import Cuda
from .engines import builder_gpu, engine_of
from .errors import AgentError
from .facts import BUILT, RUNTIMES, processor_flags
from .fits import rewriting, sound, unfit
from .litert_runner import LiteRtRunner
from .onnxruntime_runner import OnnxRuntimeRunner
from .packages import installed_version
from .preprocess import ImageError, of_document, read_pixels, tensor
from .tensorrt import load_tensorrt
from .tensorrt_runner import TensorRtRunner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from numpy.typing import NDArray

    from .fits import Rule

    Floats = NDArray[np.float32]


class Bundle:
    """A folder that `edge-se export --bundle` wrote: a model that runs here, its preprocessing and its labels.

    `notes` tell of files that should run here and did not open, such as one of which no engine can be built, and of an
    engine that the next run builds again.
    """

    def __init__(self, folder: str, precisions: Iterable[str] = ("int8", "fp16", "fp32"),
                 runtimes: Iterable[str] = RUNTIMES, *, tell: Callable[[str], object] | None = None) -> None:
        """Opens the first precision, runtime and file that run here; AgentError with every reason otherwise.

        FP16 on the GPU comes before INT8 on the processor, where both may run. `tell` gets a sentence before an engine
        is built.
        """
        self._tell = tell or (lambda words: None)
        manifest = _bundle_manifest(folder)
        self.preprocessing = manifest["preprocessing"]
        self.labels = self.preprocessing.labels
        self._rules, reasons = manifest["targets"], []
        self.notes: list[str] = []
        for (precision, runtime), entry in product(_in_order(precisions, runtimes), manifest["files"]):
            if entry["precision"] != precision:
                continue
            reason = _unfit(entry, self._rules.get(entry["target"], []), runtime)
            if reason is None:
                content = _content(os.path.join(folder, entry["file"]), entry)
                self.file, self.runtime, self._batch = entry["file"], runtime, entry.get("batch")
                try:
                    self._runner = self._open(content, entry, runtime)
                    return
                except AgentError as error:
                    if error.kind in ("full", "disk"):  # mended in no time, while another file may be slow for ever
                        raise
                    reason = error.what
                self.notes.append(f"left out {entry['file']} in {runtime}: {reason}")
            reasons.append(f"{entry['file']} in {runtime}: {reason}")
        raise AgentError("runtime", "nothing of this bundle runs here: " + "; ".join(reasons))

    def _open(self, content: bytes, entry: dict[str, Any], runtime: str) -> Any:
        if runtime == "onnxruntime":
            return OnnxRuntimeRunner(content, 0, **rewriting(self._rules.get(entry["target"], []), runtime))
        if runtime == "litert":
            return LiteRtRunner(content, 0, self.preprocessing.axes)
        trt, cuda = load_tensorrt(runtime), Cuda()
        words = "builds an engine from {} for this GPU, which takes minutes".format(entry["file"])
        engine, facts = engine_of(trt, builder_gpu(cuda), content, Cache(cache_folder()), precision=entry["precision"],
                                  batch=entry.get("batch") or 1, begins=lambda: self._tell(words))
        runner = TensorRtRunner(trt, cuda, engine)
        if not facts.get("kept", True):
            self.notes.append("its engine was built while memory was short, so it may be slow, and the next run builds "
                              "it again: end other programs first, and `sync; sudo sysctl vm.drop_caches=3`")
        return runner

    def read_image(self, path: str) -> Any:
        """An image file (through Pillow) or an .npy of pixels (3, H, W), uint8, as one batch for `run`."""
        height, width = self.preprocessing.size
        try:
            if not path.endswith(".npy"):
                return self.normalised(read_pixels(path, self.preprocessing)[None])
            pixels = np.load(path)
        except ModuleNotFoundError as error:
            raise AgentError("image", f"{path}: reading image files needs Pillow",
                             "pip install pillow; on a Jetson: sudo apt install python3-pil") from error
        except ImageError as error:
            raise AgentError("image", f"{path} {error.what}", error.fix) from error
        except Exception as error:  # numpy raises many kinds of errors for a broken file
            raise AgentError("image", f"{path} cannot be read as an image ({error})") from error
        if pixels.shape != (3, height, width) or pixels.dtype != np.uint8:
            raise AgentError("image", f"{path}: {pixels.dtype} of shape {pixels.shape} are no pixels of this model",
                             f"give uint8 of shape (3, {height}, {width})")
        return self.normalised(pixels[None])

    def normalised(self, pixels: Any) -> Any:
        """RGB pixels (N, 3, H, W) from 0 to 255 -> what the model takes."""
        return tensor(pixels, self.preprocessing)

    def run(self, images: Any) -> Floats:
        """What `normalised` returned -> logits (N, classes); a file of a fixed batch runs so many at once."""
        if self._batch is None:
            return np.asarray(self._runner.run(images), np.float32)
        answers = []
        for start in range(0, len(images), self._batch):
            part = images[start : start + self._batch]
            whole = np.concatenate([part, np.repeat(part[-1:], self._batch - len(part), axis=0)])
            answers.append(np.asarray(self._runner.run(whole), np.float32)[: len(part)])
        return np.concatenate(answers)

    def label(self, logits: Floats) -> str:
        """The name of the best class of one image's logits, its number where the bundle has no name for it."""
        best = int(logits.argmax())
        return self.labels[best] if best < len(self.labels) else str(best)


def _in_order(precisions: Iterable[str], runtimes: Iterable[str]) -> list[tuple[str, str]]:
    """(precision, runtime) as they are tried: those of a GPU's fast types first, each kind in the given order."""
    return sorted(product(precisions, runtimes), key=lambda pair: pair[0] == "fp32" or pair[1] not in BUILT)


def _bundle_manifest(folder: str) -> dict[str, Any]:
    """bundle.json with every field that `Bundle` uses, types checked; AgentError otherwise.

    `preprocessing` is a `Preprocessing`: the fields of that name, with size, mean, std and labels from beside them.
    """
    try:
        with open(os.path.join(folder, "bundle.json"), "rb") as file:
            manifest: dict[str, Any] = json.load(file)
        beside = {"size": manifest["input_size"], **{key: manifest[key] for key in ("mean", "std", "labels")}}
        manifest["preprocessing"] = of_document({**manifest["preprocessing"], **beside})
        texts = [entry[key] for entry in manifest["files"] for key in ("file", "precision", "target", "sha256")]
        if not (all(isinstance(text, str) for text in texts)
                and all(sound(rules) for rules in dict(manifest["targets"]).values())
                and all(isinstance(entry["opset"], int) for entry in manifest["files"])
                and all(entry.get("batch") is None or (type(entry["batch"]) is int and entry["batch"] > 0)
                        for entry in manifest["files"])):
            raise ValueError("a field holds something else than `edge-se export --bundle` writes")
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise AgentError("model", f"{folder} holds no readable bundle.json ({error})", "copy it again") from error
    return manifest


def _content(path: str, entry: dict[str, Any]) -> bytes:
    """The bytes of a file of a bundle, as they were written."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        raise AgentError("model", f"{path} cannot be read ({error})", "copy it again") from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise AgentError("model", f"{path} was altered: its SHA-256 is not the bundle's", "copy it again")
    return content


def _unfit(entry: dict[str, Any], rules: list[Rule], runtime: str) -> str | None:
    """Why a file of a bundle is not for a runtime of this device; None when it is."""
    hardware = None
    if (runtime == "litert") is not entry["file"].endswith(".tflite"):
        return "it reads {} files".format(".tflite" if runtime == "litert" else ".onnx")
    try:
        if runtime in ("onnxruntime", "litert"):
            version = installed_version(runtime)
        else:
            trt = load_tensorrt(runtime)
            version, hardware = trt.module.__version__, trt.why_not(entry["precision"], Cuda().device()["capability"])
    except ImportError:
        return "not installed"
    except AgentError as error:
        return error.what
    return unfit(entry["target"], rules, runtime, version=version, machine=platform.machine(), flags=processor_flags(),
                 opset=entry["opset"]) or hardware

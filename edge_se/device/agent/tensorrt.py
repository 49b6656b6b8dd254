"""TensorRT 8.5 to 11 and TensorRT for RTX as one builder of engines."""

from __future__ import annotations

import re

from .errors import AgentError
from .jetson import l4t_version
from .packages import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    import tensorrt as api  # for types alone: those of 10.13 where its stubs are installed, else Any

# "Skipping tactic 44 due to insufficient memory on requested size of ...", "Tactic Device request: 1000MB Available:
# 302MB. Device memory is insufficient to use tactic.", "Some tactics do not have sufficient workspace memory to run."
_SHORT = re.compile(r"tactic.*(?:insuff?icient|not have sufficient|out of).*memory|memory is insufficient.*tactic",
                    re.IGNORECASE)


class TensorRt:
    """Every difference between TensorRT 8.5, 8.6, 10, 11 and TensorRT for RTX, in one place.

    8.x takes precision from flags and needs EXPLICIT_BATCH; from 10 on networks are strongly typed, so that types come
    from the graph; 11 and RTX know nothing else. `module` is the imported package.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.name = "tensorrt_rtx" if "rtx" in module.__name__ else "tensorrt"
        self.version = tuple(int(part) for part in re.findall(r"\d+", module.__version__)[:3])
        if self.name == "tensorrt" and self.version < (8, 5):
            raise AgentError("runtime", f"TensorRT {module.__version__} is older than 8.5", "update to JetPack 5.1")
        self.messages: list[str] = []
        self.layers: list[str] = []  # what the last build said of its layers; see edge_se.measure.builder_log
        self._short: list[str] = []
        self.logger = self._logger()

    @property
    def strongly_typed(self) -> bool:
        """Whether types come from the graph instead of from flags."""
        return self.name == "tensorrt_rtx" or self.version >= (10,)

    def creation_flags(self) -> int:
        """The flags for `create_network`: 0 where this version has no choice and so no flag."""
        flags = self.module.NetworkDefinitionCreationFlag
        name = "STRONGLY_TYPED" if self.strongly_typed else "EXPLICIT_BATCH"
        return 1 << int(getattr(flags, name)) if hasattr(flags, name) else 0

    def precision_flags(self, precision: str) -> list[str]:
        """Names of the builder flags for `precision`: below strong typing only."""
        wanted = {"fp32": [], "fp16": ["FP16"], "int8": ["FP16", "INT8"]}[precision]
        return [] if self.strongly_typed else wanted

    def why_not(self, precision: str, capability: Iterable[int] | None) -> str | None:
        """Why a GPU of `capability` runs no file of `precision`, or None. The rules of a target tell the rest."""
        if precision == "int8" and capability is not None and tuple(capability) in ((5, 3), (6, 0), (6, 2)):
            return "this GPU (compute capability {}.{}) has no INT8; deploy FP16".format(*capability)
        return None

    def build(self, content: bytes, *, precision: str, batch: int, workspace: int = 1 << 30,
              timing_cache: bytes | None = None, capability: str | None = None) -> tuple[bytes, bytes | None]:
        """(engine, timing cache or None) of an ONNX file for one batch size; AgentError in the parser's words.

        `capability` ("SM86") builds ahead of time for a GPU that is not here, which only TensorRT for RTX can.
        """
        for said in (self.messages, self.layers, self._short):
            said.clear()
        trt = self.module
        builder: api.Builder = self.made("builder", lambda: trt.Builder(self.logger))
        network: api.INetworkDefinition = builder.create_network(self.creation_flags())
        parser: api.OnnxParser = trt.OnnxParser(network, self.logger)
        if not parser.parse(content):
            errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
            raise AgentError("model", f"TensorRT {trt.__version__} refuses the graph: {errors or self.said()}")
        if not network.num_inputs:  # bytes that are no model may parse to nothing
            raise AgentError("model", f"TensorRT {trt.__version__} finds no input in the graph",
                             "copy or export it again")
        config: api.IBuilderConfig = builder.create_builder_config()
        for flag in self.precision_flags(precision):
            config.set_flag(getattr(trt.BuilderFlag, flag))
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if capability is not None:
            ahead: Any = config  # TensorRT for RTX alone has these two
            ahead.num_compute_capabilities = 1
            ahead.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
        cache = self._set_timing_cache(config, timing_cache)
        self._set_shapes(builder, network, config, batch)
        engine: api.IHostMemory | None = builder.build_serialized_network(network, config)
        if engine is None:
            raise AgentError("model", f"TensorRT {trt.__version__} builds no engine: {self.said()}")
        return bytes(engine), bytes(cache.serialize()) if cache is not None else None

    def _set_timing_cache(self, config: api.IBuilderConfig, content: bytes | None) -> api.ITimingCache | None:
        if self.name == "tensorrt_rtx":  # it times nothing ahead; kernels are chosen on the user's machine
            return None
        cache = config.create_timing_cache(content or b"")
        if cache is None or not config.set_timing_cache(cache, False):  # of another version: start afresh
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        return config.get_timing_cache()

    def _set_shapes(self, builder: api.Builder, network: api.INetworkDefinition, config: api.IBuilderConfig,
                    batch: int) -> None:
        images = network.get_input(0)
        shape = sizes(images.shape)
        if shape[0] not in (-1, batch):
            raise AgentError("model", f"the graph has a fixed batch of {shape[0]}", f"use --batch {shape[0]}")
        if -1 in shape:
            profile = builder.create_optimization_profile()
            fixed: Any = (batch, *shape[1:])  # one size per engine: TensorRT is at its best when all are equal
            profile.set_shape(images.name, fixed, fixed, fixed)
            config.add_optimization_profile(profile)

    def made(self, what: str, make: Callable[[], Any]) -> Any:
        """What `make` gives; AgentError in the logger's words where TensorRT gives nothing, mostly for want of memory.

        For a null pointer pybind11 returns None, and raises TypeError where it is a constructor's.
        """
        try:
            thing = make()
        except TypeError as error:
            if "returned nullptr" not in str(error):
                raise
            thing = None
        if thing is None:
            raise AgentError("runtime", f"TensorRT {self.module.__version__} makes no {what}: {self.said()}",
                             "free memory on the device: end other programs there; if it stays so, restart it")
        return thing

    @property
    def skipped_tactics(self) -> int:
        """How many kernels the last build skipped because memory was short, as far as its log tells."""
        skipped = sum("skipping tactic" in message.lower() for message in self._short)
        return max(skipped, len(self._short) - skipped)  # each is announced by a line on what it requests

    def said(self) -> str:
        """The last errors of its logger, for messages."""
        return "; ".join(self.messages[-3:]) or "without saying why"

    def _logger(self) -> Any:
        messages, layers, short, trt = self.messages, self.layers, self._short, self.module
        errors = trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in errors:
                    messages.append(message)
                if ", LayerType: " in message:
                    layers.append(message)
                if severity in (*errors, trt.ILogger.WARNING) and _SHORT.search(message):
                    short.append(message)
        return Logger()


def sizes(shape: api.Dims) -> tuple[int, ...]:
    """A shape of TensorRT's, -1 where a size is left open."""
    return tuple(int(shape[axis]) for axis in range(len(shape)))


def load_tensorrt(name: str) -> TensorRt:
    """The installed TensorRT or TensorRT for RTX; AgentError when it is missing or too old."""
    try:
        return TensorRt(imported(name))
    except ImportError as error:
        raise AgentError("runtime", "not installed" if isinstance(error, ModuleNotFoundError) else str(error),
                         _where_it_is(l4t_version())) from error
    except (OSError, AttributeError) as error:  # a package without its libraries
        raise AgentError("runtime", f"{name} is broken ({error})", "install it again") from error


def _where_it_is(l4t: str | None) -> str:
    """What to do on a Jetson whose Python has no TensorRT; JetPack 4 (R32) has none that the agent could use."""
    if l4t and l4t.startswith("32."):
        return "JetPack 4 ends at TensorRT 8.2, and 8.5 is needed: use onnxruntime there"
    return "JetPack installs it for /usr/bin/python3; a virtual environment needs --system-site-packages" if l4t else ""

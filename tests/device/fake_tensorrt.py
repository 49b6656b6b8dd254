"""TensorRT of each version as far as the agent calls it.

The stand-ins hold what their version has and nothing else: an agent that asks an older or newer one for a name that
it lacks fails here as it would there. Names and removals are those of NVIDIA's API reference; the real parser and
builder are tested in tests/contract/test_tensorrt_parser.py. Needs nothing but numpy, as it also runs on a device.
"""

import ctypes
from types import ModuleType, SimpleNamespace

import numpy as np

CREATION = {"8.5.2.2": ("EXPLICIT_BATCH",), "8.6.1": ("EXPLICIT_BATCH",),
            "10.3.0": ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
            "10.13.2": ("EXPLICIT_BATCH", "STRONGLY_TYPED"), "11.4.1": ("STRONGLY_TYPED",), "11.9.0": ()}
FLAGS = {"8": ("FP16", "INT8"), "10": ("FP16", "INT8"), "11": ()}


class Config:
    def __init__(self, module):
        self.flags, self.pool, self.profiles, self._module, self._cache = [], {}, [], module, None

    def set_flag(self, flag):
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool, size):
        self.pool[pool] = size

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)

    def create_timing_cache(self, content):
        if content and not content.startswith(self._module.__version__.encode()):
            return None
        return SimpleNamespace(serialize=lambda: self._module.__version__.encode() + b" timings")

    def set_timing_cache(self, cache, ignore_mismatch):
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class Network:
    num_inputs = 1

    def __init__(self, flags, shape):
        self.flags, self.shape = flags, shape

    def get_input(self, index):
        return SimpleNamespace(name="input", shape=self.shape)


class Parser:
    num_errors = 0

    def __init__(self, network, logger):
        pass

    def parse(self, content):
        if content == b"garbage":
            self.num_errors = 1
        return not self.num_errors

    def get_error(self, index):
        return SimpleNamespace(desc=lambda: "no ONNX")


class Profile:
    def set_shape(self, name, smallest, best, largest):
        self.shapes = smallest, best, largest


class Engine:
    """Its answer to any images is their mean over each channel, ten times."""

    num_io_tensors = 2

    def __init__(self, content):
        *_, shape = content.decode().split("|")
        self.shape = tuple(int(size) for size in shape.split(","))

    def get_tensor_name(self, index):
        return ("output", "input")[index]

    def get_tensor_mode(self, name):
        return "INPUT" if name == "input" else "OUTPUT"

    def get_tensor_shape(self, name):
        return (-1, *self.shape[1:])

    def get_tensor_dtype(self, name):
        return "DataType.UINT8" if name == "input" and self.shape[-1] == 3 else "DataType.FLOAT"  # NHWC: from a camera

    def get_tensor_profile_shape(self, name, profile):
        return [self.shape] * 3

    def create_execution_context(self):
        return Context(self.shape)

    def create_engine_inspector(self):
        return SimpleNamespace(get_engine_information=lambda form: '{"Layers": [{"Name": "conv"}], "Bindings": []}')


class Context:
    profiler = None

    def __init__(self, shape):
        self._shape, self._addresses = shape, {}

    def set_input_shape(self, name, shape):
        assert shape == self._shape

    def get_tensor_shape(self, name):
        return self._shape[0], 10

    def set_tensor_address(self, name, address):
        self._addresses[name] = address

    def execute_async_v3(self, stream):
        kinds = {"input": ctypes.c_ubyte if self._shape[-1] == 3 else ctypes.c_float, "output": ctypes.c_float}
        images, logits = (np.ctypeslib.as_array((kinds[name] * count).from_address(self._addresses[name]))
                          for name, count in (("input", int(np.prod(self._shape))), ("output", self._shape[0] * 10)))
        logits[:] = np.repeat(images.reshape(self._shape[0], -1).mean(axis=1), 10)
        if self.profiler:
            self.profiler.report_layer_time("conv", 0.25)
            self.profiler.report_layer_time("reformat", 0.05)
            self.profiler.report_layer_time("reformat", 0.01)
        return True


def tensorrt_of(version, package="tensorrt"):
    """A module with what `version` has; `built` keeps what its builder was given."""
    module = ModuleType(package)
    module.__file__ = __file__
    major = version.split(".")[0]
    module.__version__ = version
    module.built, module.input_shape = [], (-1, 3, 32, 32)
    module.NetworkDefinitionCreationFlag = SimpleNamespace(
        **{name: number for number, name in enumerate(CREATION.get(version, ("STRONGLY_TYPED",)))})
    module.BuilderFlag = SimpleNamespace(**{name: name for name in FLAGS.get(major, ())})
    module.MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    module.ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
    module.LayerInformationFormat = SimpleNamespace(JSON="JSON")
    module.TensorIOMode = SimpleNamespace(INPUT="INPUT")
    module.OnnxParser = Parser

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = "INTERNAL_ERROR", "ERROR", "WARNING"

    class IProfiler:
        pass

    class Builder:
        def __init__(self, logger):
            self._logger = logger

        def create_network(self, flags):
            return Network(flags, module.input_shape)

        def create_builder_config(self):
            return Config(module)

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            module.built.append((network, config))
            shape = config.profiles[0].shapes[1] if config.profiles else network.shape
            if shape[0] == 13:
                self._logger.log(ILogger.WARNING, "chatter")
                self._logger.log(ILogger.ERROR, "no tactic for node conv")
                return None
            return f"engine of {version}|{','.join(str(size) for size in shape)}".encode()

    module.ILogger, module.IProfiler, module.Builder = ILogger, IProfiler, Builder
    module.Runtime = lambda logger: SimpleNamespace(
        deserialize_cuda_engine=lambda content: Engine(content) if content.startswith(b"engine") else None)
    return module

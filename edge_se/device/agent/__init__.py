"""The device's side of edge-se: it describes a device and builds, runs and measures models there.

The host imports this package, so that every figure is taken by the same code, and copies it as one zipapp
(`edge_se.device.shipped`) over SSH and into bundles. It imports the standard library, numpy and a runtime that the
device has: TensorRT (8.5 to 11), TensorRT for RTX, onnxruntime or LiteRT. It needs Python 3.8. See `main` for its
commands.
"""

from .bundle import Bundle
from .cache import Cache, cache_folder
from .conditions import state
from .cuda import Cuda
from .engines import engine_of
from .errors import AgentError
from .facts import RUNTIMES, describe
from .frames import CHUNK, MAGIC, PROTOCOL, read_frame, write_frame
from .jetson import is_jetson, l4t_version
from .litert_runner import LiteRtRunner
from .lock import Lock
from .onnxruntime_runner import OnnxRuntimeRunner
from .power import power_sources
from .sampling import Sampler, idle, sampled, stop_sampling
from .sensors import sample
from .server import Server
from .system import cpu_count, read
from .tensorrt import TensorRt, load_tensorrt
from .tensorrt_runner import TensorRtRunner
from .timing import sample_durations, timed

__all__ = ["CHUNK", "MAGIC", "PROTOCOL", "RUNTIMES", "AgentError", "Bundle", "Cache", "Cuda", "LiteRtRunner",
           "Lock",
           "OnnxRuntimeRunner", "Sampler", "Server", "TensorRt", "TensorRtRunner", "cache_folder", "cpu_count",
           "describe", "engine_of", "idle", "is_jetson", "l4t_version", "load_tensorrt", "power_sources", "read",
           "read_frame", "sample", "sample_durations", "sampled", "state", "stop_sampling", "timed", "write_frame"]

"""CUDA through ctypes: a Jetson has its library and no Python package for it."""

from __future__ import annotations

import ctypes
import glob
import os
import sys

from .errors import AgentError
from .system import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


HANDLE, _SIZE = ctypes.c_void_p, ctypes.c_size_t
CUDA_CALLS = {
    "cudaGetDeviceCount": [ctypes.POINTER(ctypes.c_int)], "cudaRuntimeGetVersion": [ctypes.POINTER(ctypes.c_int)],
    "cudaDeviceGetAttribute": [ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int],
    "cudaMemGetInfo": [ctypes.POINTER(_SIZE), ctypes.POINTER(_SIZE)],
    "cudaMalloc": [ctypes.POINTER(HANDLE), _SIZE], "cudaFree": [HANDLE],
    "cudaMallocHost": [ctypes.POINTER(HANDLE), _SIZE], "cudaFreeHost": [HANDLE],
    "cudaMemcpyAsync": [HANDLE, HANDLE, _SIZE, ctypes.c_int, HANDLE],
    "cudaStreamCreate": [ctypes.POINTER(HANDLE)], "cudaStreamSynchronize": [HANDLE], "cudaStreamDestroy": [HANDLE],
    "cudaStreamBeginCapture": [HANDLE, ctypes.c_int], "cudaStreamEndCapture": [HANDLE, ctypes.POINTER(HANDLE)],
    "cudaGraphInstantiateWithFlags": [ctypes.POINTER(HANDLE), HANDLE, ctypes.c_ulonglong],  # CUDA 11.4 and later
    "cudaGraphLaunch": [HANDLE, HANDLE], "cudaGraphExecDestroy": [HANDLE], "cudaGraphDestroy": [HANDLE],
    "cudaEventCreate": [ctypes.POINTER(HANDLE)], "cudaEventRecord": [HANDLE, HANDLE],
    "cudaEventSynchronize": [HANDLE], "cudaEventDestroy": [HANDLE],
    "cudaEventElapsedTime": [ctypes.POINTER(ctypes.c_float), HANDLE, HANDLE],
}
TO_DEVICE, TO_HOST, CAPTURE_THREAD_LOCAL = 1, 2, 1
# cudaDevAttrComputeCapabilityMajor, -Minor, cudaDevAttrMultiProcessorCount and cudaDevAttrIntegrated
_MAJOR, _MINOR, _PROCESSORS, _INTEGRATED = 75, 76, 16, 18


class Cuda:
    """CUDA's runtime library as it lies on the device; every failed call is an AgentError in CUDA's own words."""

    def __init__(self, library: str | None = None) -> None:
        self._library = _load_cudart(library)
        for name, arguments in CUDA_CALLS.items():
            function = getattr(self._library, name, None)
            if function is not None:
                function.argtypes, function.restype = arguments, ctypes.c_int
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def call(self, name: str, *arguments: Any) -> None:
        """Calls one function of the library."""
        function = getattr(self._library, name, None)
        if function is None:
            raise AgentError("cuda", f"this CUDA has no {name}", "update JetPack or CUDA to 11.4 or later")
        code = function(*arguments)
        if code != 0:
            raise AgentError("cuda", f"{name}: {self._library.cudaGetErrorString(code).decode()} (CUDA error {code})")

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """The handle that a creating function returns through its first argument."""
        handle = HANDLE()
        self.call(name, ctypes.byref(handle), *arguments)
        return handle

    def number(self, name: str, *arguments: Any) -> int:
        """The integer that a function returns through its first argument."""
        value = ctypes.c_int()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def device(self) -> dict[str, Any]:
        """Name, compute capability, memory and multiprocessors of device 0, and the version of CUDA.

        `free` of a GPU that shares the processor's memory, as a Jetson's, counts what Linux would give back: CUDA takes
        the files that it keeps in memory for used, and in time they fill most of it (ollama/ollama#12283).
        """
        if self.number("cudaGetDeviceCount") < 1:
            raise AgentError("cuda", "no CUDA device")
        properties = ctypes.create_string_buffer(1 << 16)  # the name is its first member in every version
        getter = getattr(self._library, "cudaGetDeviceProperties_v2", None) or self._library.cudaGetDeviceProperties
        getter.restype = ctypes.c_int
        if getter(properties, 0) != 0:
            raise AgentError("cuda", "the properties of CUDA device 0 cannot be read")
        free, total = _SIZE(), _SIZE()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        shared = self.number("cudaDeviceGetAttribute", _INTEGRATED, 0) == 1
        available = (memory("MemAvailable") if shared else None) or 0
        version = self.number("cudaRuntimeGetVersion")
        capability = [self.number("cudaDeviceGetAttribute", key, 0) for key in (_MAJOR, _MINOR)]
        return {"name": properties.value.decode("utf-8", "replace"), "capability": capability,
                "cuda": f"{version // 1000}.{version % 1000 // 10}", "memory": total.value,
                "free": max(free.value, available), "processors": self.number("cudaDeviceGetAttribute", _PROCESSORS, 0)}


def _load_cudart(library: str | None) -> Any:
    wheels = [os.path.join(folder, "nvidia", "c*", "lib", "libcudart.so*") for folder in sys.path if folder]
    names = [library] if library else [
        "libcudart.so", *(f"libcudart.so.{version}" for version in ("13", "12", "11.0")),
        *sorted(glob.glob("/usr/local/cuda*/lib64/libcudart.so*"), reverse=True),
        *(path for pattern in wheels for path in sorted(glob.glob(pattern), reverse=True))]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise AgentError("cuda", "libcudart.so was not found", "install CUDA (on a Jetson: `sudo apt install "
                     "nvidia-jetpack`), or add its lib64 folder to LD_LIBRARY_PATH")

"""The stand-in for TensorRT with engines that hold their graph and answer as onnxruntime does.

What a device must answer is then known to the bit. Needs numpy and onnxruntime, as it also runs on a device.
"""

import ctypes

import numpy as np
from fake_tensorrt import Context, Engine, Parser, tensorrt_of


class Graph(Parser):
    """It leaves the graph in the network."""

    def __init__(self, network, logger):
        self._network = network

    def parse(self, content):
        self._network.graph = content
        return True


class Answering(Engine):
    def __init__(self, content):
        head, _, self._graph = content.partition(b"\0")
        super().__init__(head)

    def create_execution_context(self):
        return Computing(self.shape, self._graph)


class Computing(Context):
    def __init__(self, shape, graph):
        import onnxruntime

        super().__init__(shape)
        self._session = onnxruntime.InferenceSession(  # as the rules of `tensorrt` ask for: it changes answers
            graph, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"])

    def execute_async_v3(self, stream):
        images, logits = (np.ctypeslib.as_array((ctypes.c_float * count).from_address(self._addresses[name]))
                          for name, count in (("input", int(np.prod(self._shape))), ("output", self._shape[0] * 10)))
        name = self._session.get_inputs()[0].name
        logits[:] = self._session.run(None, {name: images.reshape(self._shape)})[0].ravel()
        return True


def answering(version):
    """The module of `version`."""
    module = tensorrt_of(version)
    module.OnnxParser = Graph
    build = module.Builder.build_serialized_network
    module.Builder.build_serialized_network = lambda self, network, config: (
        build(self, network, config) + b"\0" + network.graph)
    module.Runtime = lambda logger: type("Runtime", (), {"deserialize_cuda_engine": staticmethod(Answering)})
    return module

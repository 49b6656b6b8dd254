"""Rooflines by hand on small graphs, and boards that are read with every figure's origin."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge_se.core.errors import EdgeSeError
from edge_se.graph.counting import count
from edge_se.measure.boards import Figure, Mode, board_names, read_board
from edge_se.measure.roofline import estimate, kernels_of
from edge_se.quantization.placement import place
from edge_se.quantization.ranges import collect
from edge_se.quantization.static import quantize
from edge_se.quantization.targets import TARGETS


def peak(value):
    return Figure(value=value, kind="recalled")


ORIN = Mode(name="m", int8_tops=peak(20.0), fp16_tflops=peak(10.0), memory_gbs=peak(68.0))


@pytest.fixture
def residual():
    """x -> conv 1x1 -> relu -> conv 1x1 -> add x -> relu, 4 channels, 8 x 8 pixels."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (4, 4, 1, 1), np.ones(16))
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Conv", ["b", "w"], ["c"]), helper.make_node("Add", ["c", "x"], ["d"]),
             helper.make_node("Relu", ["d"], ["y"])]
    shape = ["batch", 4, 8, 8]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_kernels_are_fused_and_their_traffic_counted(residual):
    first, second = kernels_of(residual, "fp16")
    pixels = 4 * 8 * 8
    assert (first.name, second.name) == ("a", "c")
    assert (first.macs, second.macs) == (4 * pixels, 4 * pixels)
    assert first.bytes == 2 * (pixels + pixels)               # reads x, writes b
    assert second.bytes == 2 * (pixels + pixels + pixels)     # reads b and x, writes y
    assert first.weight_bytes == 2 * 16
    assert sum(kernel.bytes for kernel in kernels_of(residual, "fp32")) == 2 * (first.bytes + second.bytes)


def test_the_larger_of_compute_and_memory_counts(residual):
    kernels = kernels_of(residual, "fp16")
    memory = sum((kernel.bytes + kernel.weight_bytes) / 68e9 for kernel in kernels)
    found = estimate(kernels, ORIN, "fp16", batch=1, launch_us=0)
    assert found.milliseconds == pytest.approx(1000 * memory)
    assert (found.compute_bound, found.memory_bound, found.launch_share) == (0, 2, 0)
    slow = Mode(name="m", fp16_tflops=peak(1e-6), memory_gbs=peak(68.0))
    compute = sum(2 * kernel.macs / 1e6 for kernel in kernels)
    assert estimate(kernels, slow, "fp16", batch=1, launch_us=0).milliseconds == pytest.approx(1000 * compute)
    assert estimate(kernels, slow, "fp32", batch=1, launch_us=0).milliseconds == pytest.approx(2000 * compute)


def test_launches_and_batches(residual):
    kernels = kernels_of(residual, "fp16")
    without, launched = (estimate(kernels, ORIN, "fp16", batch=1, launch_us=us) for us in (0, 5))
    assert launched.milliseconds - without.milliseconds == pytest.approx(2 * 0.005)
    assert launched.launch_share == pytest.approx(0.01 / launched.milliseconds)
    many = estimate(kernels, ORIN, "fp16", batch=10, launch_us=0).milliseconds
    assert many < 10 * without.milliseconds  # weights are read once


def with_fixed_batch(proto, batch):
    fixed = type(proto)()
    fixed.CopyFrom(proto)
    del fixed.graph.value_info[:]
    for value in (fixed.graph.input[0], fixed.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return fixed


@pytest.mark.parametrize("batch", [1, 4, 6])  # 4 divides every width: a divided weight shows; 6 none
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_fixed_batch_is_divided_out(tiny_onnx, random_images, precision, batch):
    model = tiny_onnx
    if precision == "int8":
        target = TARGETS["tensorrt"]
        model = quantize(model, collect(model, random_images(8)).ranges("minmax", target.activations), target,
                         place(model.proto, target))
    fixed = with_fixed_batch(model.proto, batch)
    assert kernels_of(fixed, "fp16") == kernels_of(model.proto, "fp16")
    assert count(fixed) == count(model.proto)
    dynamic, own = (estimate(kernels_of(proto, "fp16"), ORIN, "fp16", batch=batch, launch_us=1)
                    for proto in (model.proto, fixed))
    assert own == dynamic


def test_constants_are_read_once_a_batch_and_activations_for_each_image(graph_of):
    weights = {"w": np.ones((4, 3, 1, 1), np.float32), "b": np.ones(4, np.float32)}
    (kernel,) = kernels_of(graph_of([("Conv", ["x", "w", "b"], ["y"])], weights, x=("batch", 3, 8, 8)), "fp32")
    assert (kernel.bytes, kernel.weight_bytes) == (4 * 64 * (3 + 4), 4 * (12 + 4))
    nodes = [("Transpose", ["x"], ["t"], {"perm": [0, 1, 3, 2]}), ("MatMul", ["x", "t"], ["y"])]
    _, product = kernels_of(graph_of(nodes, {}, x=("batch", 3, 8, 8)), "fp32")
    assert (product.bytes, product.weight_bytes, product.macs) == (4 * 3 * 64 * 3, 0, 3 * 8 * 64)


def test_rows_that_a_reshape_made_of_images_are_divided_too(graph_of):
    nodes = [("Reshape", ["x", "shape"], ["rows"]), ("MatMul", ["rows", "w"], ["y"])]
    fixed = graph_of(nodes, {"shape": np.array([-1, 8]), "w": np.ones((8, 5), np.float32)}, x=(2, 3, 8, 8))
    (kernel,) = kernels_of(fixed, "fp32")
    assert (kernel.macs, kernel.bytes) == (24 * 8 * 5, 4 * 24 * (8 + 5))


def test_a_net_keeps_all_its_macs_and_int8_is_faster(tiny_onnx, random_images):
    target = TARGETS["tensorrt"]
    ranges = collect(tiny_onnx, random_images(8)).ranges("minmax", target.activations)
    int8 = quantize(tiny_onnx, ranges, target, place(tiny_onnx.proto, target))
    floats, integers = kernels_of(tiny_onnx.proto, "fp16"), kernels_of(int8.proto, "fp16")
    assert sum(kernel.macs for kernel in floats) == sum(kernel.macs for kernel in integers) == count(int8.proto).macs
    assert {kernel.name for kernel in floats} == {kernel.name for kernel in integers}
    assert sum(kernel.macs for kernel in integers if kernel.int8) == count(int8.proto).int8_macs
    assert estimate(integers, ORIN, "fp16", batch=1, launch_us=0).milliseconds < estimate(
        floats, ORIN, "fp16", batch=1, launch_us=0).milliseconds
    with pytest.raises(EdgeSeError, match="its GPU has no INT8 units; deploy FP16 there"):
        estimate(integers, Mode(name="old", fp16_tflops=peak(1.0), memory_gbs=peak(1.0)), "fp16", batch=1, launch_us=0)


@pytest.mark.parametrize("name", board_names())
def test_each_board_is_read_and_each_figure_says_where_it_is_from(name):
    board = read_board(name)
    for mode in board.modes:
        assert mode.gpu_mhz is not None and 100 < mode.gpu_mhz.value < 2000
        for figure in (mode.gpu_mhz, mode.fp16_tflops, mode.memory_gbs, mode.int8_tops):
            assert figure is None or figure.kind in ("published", "computed", "recalled")
            assert figure is None or figure.kind != "computed" or figure.note
    assert len({mode.name for mode in board.modes}) == len(board.modes)


def modes_of(name):
    return {mode.name: mode for mode in read_board(name).modes}


def test_modes_are_named_as_nvpmodel_names_them_and_their_clocks_give_the_published_peaks():
    assert list(modes_of("orin-nano-8gb")) == ["7W", "15W", "25W", "MAXN_SUPER"]
    assert list(modes_of("agx-orin-64gb")) == ["MODE_15W", "MODE_30W", "MODE_50W", "MAXN"]
    assert {"orin-nano-4gb", "orin-nx-8gb", "orin-nx-16gb", "agx-orin-32gb", "thor-t4000",
            "thor-t5000"} < set(board_names())
    # Sparse INT8 of the GPU that NVIDIA publishes, of which dense is half: the modules' own figures.
    for name, mode, sparse in (("orin-nano-8gb", "15W", 40), ("orin-nano-8gb", "MAXN_SUPER", 67),
                               ("orin-nano-4gb", "10W", 20), ("orin-nano-4gb", "MAXN_SUPER", 34),
                               ("agx-orin-64gb", "MAXN", 170)):
        assert modes_of(name)[mode].int8_tops.value == pytest.approx(sparse / 2, rel=0.03)
    for name in board_names():
        for mode in read_board(name).modes if name.startswith(("orin", "agx-orin")) else ():
            assert mode.int8_tops.value == pytest.approx(2 * mode.fp16_tflops.value, rel=0.01)


@pytest.mark.parametrize("name", ["thor-t4000", "thor-t5000", "nano", "tx2"])
def test_what_is_not_published_is_not_invented(name):
    for mode in read_board(name).modes:
        assert mode.int8_tops is None
        assert mode.without_int8 == ("NVIDIA publishes no INT8 figure of its GPU" if "thor" in name
                                     else "its GPU has no INT8 units")


@pytest.mark.parametrize(("name", "typed"), [("orin-nano-8gb", True), ("xavier-nx", False), ("agx-xavier", False),
                                             ("thor-t5000", True)])
def test_whether_types_come_from_the_file_is_that_of_the_boards_tensorrt(name, typed):
    assert read_board(name).strongly_typed == typed


def test_a_board_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "Mine"\ncompute_capability = "8.7"\n[[modes]]\nname = "10 W"\n'
                    'fp16_tflops = { value = 1.0, kind = "recalled" }\n'
                    'memory_gbs = { value = -1, kind = "recalled" }\n')
    with pytest.raises(EdgeSeError, match=r"mine\.toml: 'modes\.0\.memory_gbs\.value': .*greater than 0"):
        read_board(str(path))
    path.write_text(path.read_text().replace("-1", "2"))
    assert read_board(str(path)).modes[0].int8_tops is None and read_board(str(path)).strongly_typed
    path.write_text('tensorrt = "ten"\n' + path.read_text())
    with pytest.raises(EdgeSeError, match=r"mine\.toml: 'tensorrt'"):
        read_board(str(path))

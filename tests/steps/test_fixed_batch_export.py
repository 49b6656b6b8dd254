"""`export --batch N`: files that take N images at once, everywhere in the project and in runtimes."""

import shutil

import numpy as np
import onnx
import pytest

from edge_se.backends.base import Device
from edge_se.backends.openvino import OpenVino, installed
from edge_se.core.errors import EdgeSeError, ModelError
from edge_se.device.agent import AgentError, Bundle
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.counting import count
from edge_se.graph.fixed_batch import with_fixed_batch
from edge_se.graph.onnx_model import OnnxModel
from edge_se.steps import gate as gate_step
from edge_se.steps.bench import Options, bench
from edge_se.steps.export import export
from edge_se.steps.gate import gate
from edge_se.steps.lint import lint
from edge_se.steps.verify import verify

pytestmark = pytest.mark.slow
BATCH = 3
TARGETS = ["cpu", "openvino", "tensorrt"]


@pytest.fixture(scope="module")
def fixed(tiny_build):
    return tiny_build("fixed", targets=TARGETS, fp16=True, batch=BATCH, bundle=True, effort="quick")


@pytest.fixture(scope="module")
def free(tiny_build):
    return tiny_build("free", targets=TARGETS, fp16=True, effort="quick")


def models(build):
    return {item.file: OnnxModel.read(build.folder / item.file, precision=item.precision, target=item.target)
            for item in build.artifacts}


def test_no_dynamic_size_and_no_shape_of_before_is_left(fixed):
    for model in models(fixed).values():
        graph = model.proto.graph
        told = [*graph.input, *graph.value_info, *graph.output]
        sizes = [dim for value in told for dim in value.type.tensor_type.shape.dim]
        assert model.input_shape[0] == BATCH and len(told) > 20
        assert all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in sizes)
        assert graph.output[0].type.tensor_type.shape.dim[0].dim_value == BATCH
        onnx.shape_inference.infer_shapes(model.proto, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model.proto, full_check=True)


def test_the_files_answer_as_those_of_any_batch(fixed, free, random_images):
    images = random_images(BATCH + 1, seed=3)  # the last batch is filled
    for (name, own), other in zip(models(fixed).items(), models(free).values()):
        assert np.allclose(logits_of(own, images), logits_of(other, images), atol=1e-4), name
        assert count(own.proto) == count(other.proto)


def test_runtimes_take_that_batch_and_no_other(fixed, random_images, run_onnx):
    one, whole = (next(random_images(n).batches(n)) for n in (1, BATCH))
    for name, model in models(fixed).items():
        assert run_onnx(model, whole)[0].shape == (BATCH, 10)
        with pytest.raises(Exception, match=r"(?i)dimension|batch|shape"):
            run_onnx(model, one)
        if installed() and name == "int8.openvino.onnx":
            with OpenVino().open(model, Device()) as session:
                assert session.run(whole).shape == (BATCH, 10)


def test_gate_bench_verify_and_lint(fixed, instead_of_cifar10):
    instead_of_cifar10(gate_step, 40)
    assert gate(fixed.folder)["n"] == 40
    options = Options(min_duration=0.02, batches=(BATCH,), fresh=False, backend="onnxruntime")
    rows = bench("cpu", model=fixed.folder, precisions="fp32,int8", options=options)["measurements"]
    assert {row["batch"] for row in rows} == {BATCH}
    with pytest.raises(EdgeSeError, match=f"use --batch {BATCH}"):
        bench("cpu", model=fixed.folder, options=Options(min_duration=0.02, fresh=False))
    assert len(verify(fixed.folder)["files"]) == 5
    assert lint(fixed.folder / "int8.cpu.onnx", images=4)["verdict"] == "clean"


def test_a_bundle_fills_its_batch(fixed, free, random_images, tmp_path):
    bundle = Bundle(str(fixed.folder / "bundle"))
    images = random_images(BATCH + 2, seed=4)
    answers = bundle.run(bundle.normalised(images.pixels))
    assert np.allclose(answers, logits_of(models(free)[bundle.file], images), atol=1e-4)
    np.save(tmp_path / "image.npy", images.pixels[0])
    assert np.allclose(bundle.run(bundle.read_image(str(tmp_path / "image.npy"))), answers[:1], atol=1e-4)
    copied = shutil.copytree(fixed.folder / "bundle", tmp_path / "bundle")
    text = (copied / "bundle.json").read_text()
    assert f'"batch": {BATCH}' in text
    (copied / "bundle.json").write_text(text.replace(f'"batch": {BATCH}', '"batch": 0'))
    with pytest.raises(AgentError, match=r"no readable bundle\.json"):
        Bundle(str(copied))


def test_a_source_of_another_batch_is_refused(fixed, tiny_onnx, tmp_path):
    assert with_fixed_batch(models(fixed)["fp32.onnx"], BATCH).input_shape[0] == BATCH
    with pytest.raises(ModelError, match="--batch 2: the graph takes 3 images at once"):
        export(fixed.folder / "fp32.onnx", batch=2, out=tmp_path / "out", accuracy=False)
    for wrong in (0, -1, 5000):
        with pytest.raises(EdgeSeError, match=f"--batch: {wrong} is no number of images"):
            export(fixed.folder / "fp32.onnx", batch=wrong, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fixed_batch_with_fused_preprocessing(tiny_onnx, calibration_npz, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    build = export(tmp_path / "tiny.onnx", int8=True, targets=["cpu"], calibration=calibration_npz, batch=2,
                   fuse_preprocessing=True, effort="quick", out=tmp_path / "built")
    assert {model.input_shape for model in models(build).values()} == {(2, 32, 32, 3)}


def test_a_net_of_torch_keeps_its_parity(zoo_net, random_images):
    from edge_se.evaluation.parity import parity
    from edge_se.graph.source import Source

    _, _, model = zoo_net
    fixed = with_fixed_batch(model, 4)
    reference = {}

    def answers(batch):
        reference["images"] = len(batch)
        return logits_of(model, random_images(6))
    told = parity(Source(name="x", model=fixed, origin={}, reference=answers), random_images(6))
    assert told["torch_vs_onnx"]["images"] == reference["images"] == 6

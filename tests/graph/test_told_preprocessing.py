"""How a model sees an image: named, told option by option or in a file, and checked against what the graph tells."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge_se.core.errors import EdgeSeError
from edge_se.data.presets import CAFFE_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, PRESETS
from edge_se.device.agent.preprocess import tensor
from edge_se.graph.metadata import read_metadata
from edge_se.graph.source import SourceOptions, load_source

SIZE = (64, 96)
INPUTS = {"NCHW": ("batch", 3, *SIZE), "NHWC": ("batch", *SIZE, 3), "grey": ("batch", 1, *SIZE),
          "grey NHWC": ("batch", *SIZE, 1), "uint8": ("batch", 3, *SIZE), "uint8 NHWC": ("batch", *SIZE, 3)}


@pytest.fixture(scope="module")
def files(graph_of, tmp_path_factory):
    """A classifier for each of INPUTS, which pools, and answers with ten numbers."""
    made = {}
    for name, shape in INPUTS.items():
        moved = [("Transpose", ["c"], ["t"], {"perm": [0, 3, 1, 2]})] if "NHWC" in name else []
        cast = [("Cast", ["x"], ["c"], {"to": TensorProto.FLOAT})] if "uint8" in name else [("Identity", ["x"], ["c"])]
        weights = np.random.default_rng(0).standard_normal((3 if "grey" not in name else 1, 10)).astype(np.float32)
        proto = graph_of([*cast, *moved, ("GlobalAveragePool", ["t" if moved else "c"], ["p"]),
                          ("Flatten", ["p"], ["f"]), ("Gemm", ["f", "w"], ["y"])], {"w": weights}, x=shape)
        if "uint8" in name:
            proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
        made[name] = tmp_path_factory.mktemp("models") / f"{name}.onnx"
        onnx.save(proto, made[name])
    return made


@pytest.fixture
def how(files):
    """(name, options) -> the preprocessing that its export says of itself, read from the file that it wrote."""

    def told(name, **options):
        source = load_source(str(files[name]), None, SourceOptions(**options))
        return read_metadata(onnx.load_from_string(source.model.content)).preprocessing
    return told


@pytest.mark.parametrize(("name", "colour", "axes", "dtype"), [
    ("NCHW", "RGB", "NCHW", "float32"), ("NHWC", "RGB", "NHWC", "float32"), ("grey", "grey", "NCHW", "float32"),
    ("grey NHWC", "grey", "NHWC", "float32"), ("uint8", "RGB", "NCHW", "uint8"),
    ("uint8 NHWC", "RGB", "NHWC", "uint8")])
def test_the_graph_tells_axes_channels_and_type(how, name, colour, axes, dtype):
    told = how(name)
    assert (told.size, told.colour, told.axes, told.dtype) == (SIZE, colour, axes, dtype)
    assert len(told.mean) == (1 if colour == "grey" else 3)


@pytest.mark.parametrize("name", PRESETS)
def test_a_name_tells_all_of_it(how, name):
    told, fields = how("NCHW", preprocessing=name), PRESETS[name]
    for key, value in fields.items():
        assert getattr(told, key) == value
    assert told.share == fields.get("share", 0.875) and told.resize == "crop"


def test_what_a_name_tells_fits_what_the_graph_takes(how):
    grey, raw = how("grey", preprocessing="imagenet"), how("uint8", preprocessing="openai")
    assert (grey.mean, grey.std) == ((0.449,), (0.226,))  # the mean of the channels' own
    assert (raw.mean, raw.range, raw.interpolation, raw.share) == ((0.0,) * 3, "0-255", "bicubic", 1.0)


@pytest.mark.parametrize(("options", "mean", "std", "scale"), [
    ({"range": "-1-1"}, (0.0,) * 3, (1.0,) * 3, "-1-1"),
    ({"range": "0-255", "mean": CAFFE_MEAN}, CAFFE_MEAN, (1.0,) * 3, "0-255"),
    ({"preprocessing": "tf", "range": "0-1"}, (0.0,) * 3, (1.0,) * 3, "0-1"),
    ({"range": "0-1"}, IMAGENET_MEAN, IMAGENET_STD, "0-1"),  # it is the default's
    ({"mean": (0.5,), "std": (0.5,)}, (0.5,) * 3, (0.5,) * 3, "0-1"),
    ({"colour": "BGR"}, IMAGENET_MEAN[::-1], IMAGENET_STD[::-1], "0-1"),
    ({"colour": "BGR", "mean": (0.1, 0.2, 0.3)}, (0.1, 0.2, 0.3), IMAGENET_STD[::-1], "0-1"),
    ({"preprocessing": "caffe", "colour": "RGB"}, CAFFE_MEAN[::-1], (1.0,) * 3, "0-255"),
    ({"preprocessing": "openai", "mean": (0.5,)}, (0.5,) * 3, CLIP_STD, "0-1")])
def test_single_options_win(how, options, mean, std, scale):
    told = how("NCHW", **options)
    assert (told.mean, told.std, told.range) == (mean, std, scale)


def test_the_way_to_its_size_is_told_too(how):
    told = how("NCHW", resize="squash", interpolation="bicubic", antialias=False, crop_share=0.95)
    assert (told.resize, told.interpolation, told.antialias, told.share) == ("squash", "bicubic", False, 0.95)


def test_a_file_tells_what_it_names(how, tmp_path):
    (tmp_path / "own.toml").write_text('preset = "cifar10"\ncolour = "BGR"\nmean = [0.1, 0.2, 0.3]\ncrop_share = 0.9\n')
    told = how("NCHW", preprocessing=str(tmp_path / "own.toml"), resize="letterbox")
    assert (told.mean, told.colour, told.share, told.resize) == ((0.1, 0.2, 0.3), "BGR", 0.9, "letterbox")
    (tmp_path / "few.toml").write_text('axes = "NHWC"\nrange = "0-255"\n')
    told = how("NHWC", preprocessing=str(tmp_path / "few.toml"))
    assert (told.mean, told.std, told.axes) == ((0.0,) * 3, (1.0,) * 3, "NHWC")


@pytest.mark.parametrize(("options", "assumed"), [
    ({}, True), ({"preprocessing": "imagenet"}, False), ({"range": "0-255"}, False), ({"colour": "BGR"}, True),
    ({"mean": (0.5,), "std": (0.5,)}, False)])
def test_what_nobody_told_is_said(files, options, assumed):
    for name in ("NCHW", "NHWC"):
        assert (load_source(str(files[name]), None, SourceOptions(**options)).assumption is not None) is assumed
    assert load_source(str(files["uint8"]), None).assumption is None, "bytes need no normalisation"


@pytest.mark.parametrize(("name", "options", "says"), [
    ("NCHW", {"axes": "NHWC"}, "leave --axes NHWC out: the graph tells"),
    ("NHWC", {"axes": "NCHW"}, "leave --axes NCHW out"),
    ("grey", {"colour": "BGR"}, "--colour: the graph takes one channel"),
    ("NCHW", {"colour": "grey"}, "the graph takes three channels"),
    ("grey", {"mean": (0.1, 0.2, 0.3)}, "--mean: 3 numbers for 1 channel"),
    ("uint8", {"range": "0-1"}, "--range: the graph takes uint8 pixels"),
    ("uint8 NHWC", {"std": (0.2,)}, "--std: the graph takes uint8 pixels"),
    ("NCHW", {"preprocessing": "imagnet"}, "did you mean 'imagenet'"),
    ("NCHW", {"preprocessing": "missing.toml"}, "missing.toml: no such file"),
    ("NCHW", {"range": "0-2"}, "--range: unknown value '0-2'"),
    ("NCHW", {"resize": "squish"}, "--resize: .*did you mean 'squash'"),
    ("NCHW", {"crop_share": 87.5}, "--crop-share: 87.5"),
    ("NCHW", {"mean": (0.485, 0.456, 0.406), "range": "0-255"}, "--mean: .*multiply by 255"),
    ("NCHW", {"mean": (123.7,), "range": "-1-1"}, "--mean: .*from 0 to 255")])
def test_what_cannot_be_is_one_message(files, name, options, says):
    with pytest.raises(EdgeSeError, match=says):
        load_source(str(files[name]), None, SourceOptions(**options))


@pytest.mark.parametrize(("content", "says"), [
    ("colour = 'rgb'", "'colour'"), ("croop_share = 1.0", "did you mean 'crop_share'"), ("preset = 'tff'", "'tf'"),
    ("mean = [124, 116, 104]", "mean: .*from 0 to 255"), ("mean = ", "not readable as TOML"),
    ("mean = [0.1, 0.2]", "--mean: 2 numbers for 3 channels")])
def test_a_file_that_cannot_be(files, tmp_path, content, says):
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(EdgeSeError, match=says):
        load_source(str(files["NCHW"]), None, SourceOptions(preprocessing=str(tmp_path / "own.toml")))


def test_a_file_of_ours_keeps_what_it_says(files, tmp_path):
    for name in INPUTS:
        first = load_source(str(files[name]), None, SourceOptions(resize="squash"))
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(first.model.content)
        again = load_source(str(path), None)
        assert again.metadata.preprocessing == first.metadata.preprocessing and again.assumption is None
    with pytest.raises(EdgeSeError, match="says its own normalisation; leave --colour out"):
        load_source(str(path), None, SourceOptions(colour="RGB"))


def test_every_kind_of_model_gets_its_own_tensor(how, run_onnx, files):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, *SIZE), dtype=np.uint8)
    for name in INPUTS:
        made = tensor(pixels, how(name))
        assert made.shape == (2, *INPUTS[name][1:]) and made.dtype == how(name).dtype
        assert run_onnx(onnx.load(files[name]), made)[0].shape == (2, 10)

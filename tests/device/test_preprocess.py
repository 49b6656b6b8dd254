"""One value says how an image becomes a model's input, one function does it: here, on the device, for every kind."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_se.device.agent.preprocess import (
    ImageError,
    Preprocessing,
    fitted,
    of_document,
    read_pixels,
    shown,
    tensor,
)

HALF = (0.5, 0.5, 0.5)
PLAIN = Preprocessing(size=(20, 30), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
RAW = Preprocessing(size=(4, 4), mean=(0.0,) * 3, std=(1.0,) * 3, range="0-255")


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (57, 91, 3), dtype=np.uint8))


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)


# ------------------------------------------------------------------------------------------ what a picture looks like

@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, orientation):
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 200  # the upper left quarter is bright
    # What a camera stores for each orientation, by the eight symmetries of the rectangle.
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
              5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: upright.transpose(1, 0, 2)[::-1, ::-1],
              8: np.rot90(upright, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    how = replace(PLAIN, size=(8, 16))
    np.testing.assert_array_equal(read_pixels(tmp_path / "x.png", how), upright.transpose(2, 0, 1))


def grey16(values):
    return Image.fromarray(np.array(values, np.uint16))


@pytest.mark.parametrize(("name", "make"), [
    ("deep.png", lambda: grey16([[0, 128 * 257], [200 * 257, 65535]])),
    ("deep.tif", lambda: grey16([[0, 128 * 257], [200 * 257, 65535]])),
    ("grey.png", lambda: Image.fromarray(np.array([[0, 128], [200, 255]], np.uint8))),
    ("alpha.png", lambda: Image.fromarray(np.array([[[0, 255], [128, 255]], [[200, 255], [9, 0]]], np.uint8), "LA")),
])
def test_grey_of_any_depth_is_what_a_viewer_shows(tmp_path, name, make):
    image = make()
    image.save(tmp_path / name)
    found = read_pixels(tmp_path / name, replace(PLAIN, size=(2, 2)))
    np.testing.assert_array_equal(found, [[[0, 128], [200, 255]]] * 3)


def test_a_deep_pgm_which_pillow_opens_as_32_bits(tmp_path):
    values = np.array([[0, 128 * 257], [200 * 257, 65535]], ">u2")
    (tmp_path / "deep.pgm").write_bytes(b"P5 2 2 65535\n" + values.tobytes())
    found = read_pixels(tmp_path / "deep.pgm", replace(PLAIN, size=(2, 2)))
    np.testing.assert_array_equal(found, [[[0, 128], [200, 255]]] * 3)


def test_colours_of_any_kind_are_what_a_viewer_shows(tmp_path):
    rgb = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    image, how = Image.fromarray(rgb), replace(PLAIN, size=(2, 2))
    image.convert("CMYK").save(tmp_path / "print.tif")
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_pixels(path, how), rgb.transpose(2, 0, 1), err_msg=path.name)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_whatever_lies_below(tmp_path, kind):
    path = tmp_path / "x.png"
    if kind == "P":
        image = Image.new("P", (2, 2), 1)
        image.putpalette([0, 0, 0, 9, 9, 9])
        image.save(path, transparency=1)
    else:
        Image.new(kind, (2, 2), (9, 0) if kind == "LA" else (9, 9, 9, 0)).save(path)
    assert (read_pixels(path, replace(PLAIN, size=(2, 2))) == 255).all()


def test_half_transparent_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "x.png")
    assert set(read_pixels(tmp_path / "x.png", replace(PLAIN, size=(2, 2))).ravel()) == {127}


@pytest.mark.parametrize(("image", "says"), [
    (Image.fromarray(np.zeros((4, 4), np.float32)), "float pixels"),
    (Image.fromarray(np.zeros((4, 4), np.int32)), "32-bit pixels"),
    (Image.new("LAB", (4, 4)), "of the kind LAB")])
def test_what_nobody_can_show_is_refused(tmp_path, image, says):
    image.save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match=says):
        read_pixels(tmp_path / "x.tif", PLAIN)


def test_cmyk_with_a_profile_and_16_bits_with_white_as_0_are_refused(tmp_path):
    Image.new("CMYK", (4, 4)).save(tmp_path / "x.jpg", icc_profile=b"a profile")
    with pytest.raises(ImageError, match="CMYK with a colour profile"):
        read_pixels(tmp_path / "x.jpg", PLAIN)
    image = grey16([[0, 1]])
    image.tag_v2 = {262: 0}
    with pytest.raises(ImageError, match="0 is white"):
        shown(image)


# ------------------------------------------------------------------------------------------------------------ its size

def test_crop_takes_the_centre_of_the_scaled_shorter_side(picture):
    how = replace(PLAIN, size=(64, 64), share=0.875)
    large = picture.resize((116, 73), Image.Resampling.BILINEAR)  # 91 * 73 / 57 = 116.5, cut as torchvision does
    np.testing.assert_array_equal(fitted(picture, how),
                                  np.asarray(large.crop((26, 4, 90, 68))).transpose(2, 0, 1))


def test_squash_takes_all_of_it(picture):
    squashed = picture.resize((30, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(fitted(picture, replace(PLAIN, resize="squash", interpolation="bicubic")),
                                  np.asarray(squashed).transpose(2, 0, 1))


def test_letterbox_fills_up_with_grey():
    found = fitted(Image.new("RGB", (60, 20), (255, 255, 255)), replace(PLAIN, size=(30, 30), resize="letterbox"))
    assert (found[:, 10:20] == 255).all() and (found[:, :10] == 114).all() and (found[:, 20:] == 114).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 30), (90, 100)])
def test_without_antialiasing_it_is_torchs(picture, interpolation, size):
    torch = pytest.importorskip("torch")
    how = replace(PLAIN, size=size, resize="squash", interpolation=interpolation, antialias=False)
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(values, size=size, mode=interpolation, antialias=False)[0]
    np.testing.assert_allclose(fitted(picture, how), theirs.clamp(0, 255).numpy(), atol=0.51)
    if size == (20, 30):
        assert not np.array_equal(fitted(picture, how), fitted(picture, replace(how, antialias=True)))


@pytest.mark.parametrize(("size", "share"), [((32, 32), 1.0), ((63, 200), 1.0), ((64, 64), 0.875), ((224, 224), 0.875)])
def test_the_usual_crop_goes_by_size(size, share):
    assert replace(PLAIN, size=size, share=0.0).share == share


# ---------------------------------------------------------------------------------------------------------- its values

@pytest.mark.parametrize(("kind", "value"), [
    ("0-1", lambda pixel: pixel / 255), ("0-255", lambda pixel: pixel), ("-1-1", lambda pixel: pixel / 127.5 - 1)])
def test_ranges(pixels, kind, value):
    how = replace(PLAIN, size=(4, 4), range=kind)
    mean, std = (np.reshape(part, (1, 3, 1, 1)) for part in (how.mean, how.std))
    found = tensor(pixels, how)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (value(pixels.astype(np.float64)) - mean) / std, rtol=1e-5, atol=1e-5)
    low, high = how.extremes
    assert (value(0), value(255)) == (low, high)


def test_bgr_turns_the_channels_and_nhwc_the_axes(pixels):
    np.testing.assert_array_equal(tensor(pixels, replace(RAW, colour="BGR")), pixels[:, ::-1])
    np.testing.assert_array_equal(tensor(pixels, replace(RAW, axes="NHWC")), pixels.transpose(0, 2, 3, 1))
    bgr = Preprocessing(size=(4, 4), mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0), colour="BGR")
    np.testing.assert_allclose(tensor(pixels, bgr)[:, 0], pixels[:, 2] / 255 - 0.1, atol=1e-6)  # in the model's order


def test_uint8_models_get_pixels(pixels):
    found = tensor(pixels, replace(RAW, dtype="uint8"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


def test_grey_models_get_luma_and_grey_pixels_serve_rgb_models(pixels):
    how = Preprocessing(size=(4, 4), mean=(0.0,), std=(1.0,), range="0-255", colour="grey")
    found = tensor(pixels, how)
    expected = [np.asarray(Image.fromarray(one.transpose(1, 2, 0)).convert("L")) for one in pixels]
    np.testing.assert_array_equal(found[:, 0], expected)
    np.testing.assert_array_equal(tensor(found.astype(np.uint8), RAW), found.repeat(3, axis=1))
    np.testing.assert_array_equal(tensor(found.astype(np.uint8), how), found)


# ----------------------------------------------------------------------------------------------------- what it is told

@pytest.mark.parametrize(("changes", "says"), [
    ({"resize": "shrink"}, "resize 'shrink' is none of crop, squash, letterbox"),
    ({"interpolation": "nearest"}, "interpolation"), ({"colour": "CMYK"}, "colour"), ({"axes": "CHW"}, "axes"),
    ({"range": "0-1023"}, "range"), ({"dtype": "int8"}, "dtype"), ({"share": 1.5}, "a crop of 1.5"),
    ({"size": (0, 4)}, "a size of"), ({"mean": (0.5,)}, "1 means and 3 deviations for 3 channels"),
    ({"mean": (float("nan"), 0.0, 0.0)}, "no number"), ({"std": (0.0, 1.0, 1.0)}, "a standard deviation of 0"),
    ({"std": (-1.0, 1.0, 1.0)}, "a standard deviation of -1"), ({"dtype": "uint8"}, "pixels as they are"),
    ({"colour": "grey"}, "3 means and 3 deviations for 1 channels")])
def test_what_cannot_be_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        replace(PLAIN, **changes)


@pytest.mark.parametrize("how", [
    PLAIN, replace(RAW, dtype="uint8", axes="NHWC"), replace(PLAIN, labels=("cat", "dog"), share=0.5),
    Preprocessing(size=(8, 8), mean=(0.5,), std=(0.5,), colour="grey", resize="letterbox", antialias=False)])
def test_it_comes_back_from_its_document(how):
    assert of_document(how.document()) == how
    told = {key: how.document()[key] for key in ("size", "mean", "std", "labels")}
    assert of_document({**how.beyond(*told), **told}) == how


def test_older_documents_mean_what_they_meant():
    old = {"layout": "float32 NCHW, RGB, (pixel / 255 - mean) / std", "mean": list(HALF), "std": list(HALF),
           "size": [224, 224]}
    how = of_document(old)
    assert (how, how.share) == (Preprocessing(size=(224, 224), mean=HALF, std=HALF), 0.875)
    assert how.layout == old["layout"] and how.beyond("size", "mean", "std", "labels") == {}


@pytest.mark.parametrize("changes", [
    {"size": [8]}, {"size": [8.0, 8]}, {"size": 8}, {"mean": ["a", "b", "c"]}, {"std": None}, {"labels": [1, 2]},
    {"antialias": 1}, {"share": "all"}, {"mean": [True, 0.0, 0.0]}])
def test_documents_of_another_kind_are_refused(changes):
    with pytest.raises((TypeError, ValueError, KeyError)):
        of_document(PLAIN.document() | changes)

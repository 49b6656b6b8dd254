"""A study from its file to its results, with tiny nets and made-up images; killed, failed and done cells."""

import csv
import json
from importlib import import_module
from pathlib import Path

import pytest
import study_work
from jsonschema import Draft202012Validator

from edge_se.core.errors import ArtifactError, EdgeSeError, UnavailableError
from edge_se.data import calibration, cifar10, splits
from edge_se.nets import zoo
from edge_se.reporting import figures as reporting_figures
from edge_se.studies import plan
from edge_se.studies import study as step
from edge_se.studies.executor import Job
from edge_se.studies.figures import draw
from edge_se.studies.local import LocalExecutor
from edge_se.studies.plan import Evaluations
from edge_se.studies.tables import comparison_rows, page, summary_rows

pytestmark = pytest.mark.slow
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "study-1.json").read_text())
STUDY = '''name = "tiny"
question = "Does SE help tiny nets?"
models = ["tiny_none", "tiny_se"]
recipes = ["short.toml"]
seeds = [0, 1]
baseline = "tiny_none"

[evaluations]
volatility = true

[evaluations.int8]
placements = ["se-float", "conv-only"]
images = 60
latency = true

[evaluations.robustness]
corruptions = ["gaussian_noise"]
severities = [1, 5]
images = 40
'''
RECIPE = '''batch_size = 64
amp = "off"
[[phases]]
epochs = 4
resolution = 32
[optimizer]
learning_rate = 0.05
[schedule]
warmup_fraction = 0.0
'''


@pytest.fixture(scope="module")
def toys(cifar):  # the robustness of cells asks for its layout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "MODELS", dict(zoo.MODELS))
        patch.setattr(plan, "MODELS", zoo.MODELS)
        for module, name in ((splits, "load"), (cifar10, "require"), (cifar10, "find"), (calibration, "load")):
            patch.setattr(module, name, getattr(module, name))
        patch.setattr(step, "run", import_module("study_work").cell_of_toys)
        patch.syspath_prepend(str(Path(__file__).parent))
        study_work.with_toys()
        yield


@pytest.fixture(scope="module")
def ran(toys, tmp_path_factory):
    """(study file, folder of cells, document) of a study in which one worker was killed during training."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "short.toml").write_text(RECIPE)
    (folder / "study.toml").write_text(STUDY)
    cells, notes = folder / "cells", Notes()
    killed = next(cell for cell in step.read_plan(folder / "study.toml").cells if cell.model == "tiny_se")
    (cells / killed.folder).mkdir(parents=True)
    (cells / killed.folder / "kill").touch()
    document = step.study(folder / "study.toml", out=folder / "out", options=step.Options(cells=cells), progress=notes)
    return folder, document, notes, killed


class Notes:
    def __init__(self):
        self.lines = []

    def task(self, what, total):
        from edge_se.core.progress import SILENT

        return SILENT.task(what, total)

    def note(self, message):
        self.lines.append(message)


def test_results_are_written_and_fit_the_schema(ran):
    folder, document, _, _ = ran
    Draft202012Validator.check_schema(SCHEMA)
    written = json.loads((folder / "out" / "results.json").read_text())
    Draft202012Validator(SCHEMA).validate(written)
    assert written == json.loads(json.dumps({key: document[key] for key in written}))
    with open(folder / "out" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["rows"]) == 4 * (1 + 1 + 2 * (3 + 2) + 3 * (1 + 3))
    assert {row["evaluation"] for row in rows} == {"validation", "volatility", "int8", "robustness"}
    text = (folder / "out" / "tiny.md").read_text()
    assert text == page(document)
    assert set(document["figures"]) == {path.name for path in (folder / "out").glob("*.svg")} == {
        "tiny-validation.svg", "tiny-validation-curves.svg", "tiny-volatility.svg", "tiny-int8.svg",
        "tiny-robustness.svg"}
    assert all(f"]({name})" in text for name in document["figures"])


def test_figures_are_those_of_the_cells(ran):
    folder, document, _, _ = ran
    for cell in document["cells"]:
        card = json.loads((folder / "cells" / cell["cell"] / "card.json").read_text())
        top1 = next(row["value"] for row in document["rows"]
                    if (row["cell"], row["evaluation"]) == (cell["cell"], "validation"))
        assert top1 == card["validation"]["top1"] and len(cell["curve"]) == cell["epochs"] == 4
        assert cell["weights_sha256"] == card["weights"]["sha256"]
        assert not (folder / "cells" / cell["cell"] / "checkpoint.pt").exists()
    assert not [row for row in document["rows"] if row["evaluation"] == "test"]  # nobody asked for it


def test_an_evaluation_is_of_the_cells_own_net(ran):
    _, document, _, _ = ran
    clean = {row["cell"]: row["value"] for row in document["rows"] if row.get("corruption") == "clean"
             and row["file"] == "fp32.onnx" and row["measure"] == "top1"}
    assert len(clean) == 4
    images = splits.load("validation", None).first(40)
    for cell in document["cells"]:
        assert clean[cell["cell"]] * 40 / 100 == pytest.approx(right(ran[0] / "cells" / cell["cell"], images), abs=1)


def right(folder, images):
    import torch

    from edge_se.nets.weights import load_weights

    card = json.loads((folder / "card.json").read_text())
    net = zoo.build(zoo.MODELS[card["model"]])
    load_weights(net, folder / "weights.safetensors")
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(next(images.batches(len(images)))))
    return int((logits.argmax(1).numpy() == images.labels).sum())


def test_a_latency_is_set_beside_fp32s(ran):
    _, document, notes, _ = ran
    for measure in ("p50_ms", "times_fp32"):
        rows = [row for row in document["rows"] if row["measure"] == measure]
        assert len(rows) == 8 and all(row["value"] > 0 and "method" not in row for row in rows)
    busy = any("busy machine" in line for line in notes.lines)
    assert busy == (document["executor"]["workers"] > 1)


def test_a_killed_worker_loses_nothing_but_time(ran, tmp_path):
    import torch
    from safetensors.torch import load_file

    folder, document, notes, killed = ran
    assert any(f"{killed.folder}, worker 2" in line for line in notes.lines)
    own = next(cell for cell in document["cells"] if cell["cell"] == killed.folder)
    job = Job(name="whole", work=import_module("study_work").cell_of_toys, log=tmp_path / "log",
              arguments=step.arguments(killed, Evaluations(), tmp_path, device="cpu", data=None))
    whole = next(LocalExecutor(document["executor"]["workers"]).run([job])).result
    one, other = (load_file(place / "weights.safetensors") for place in (folder / "cells" / killed.folder, tmp_path))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert own["curve"] == whole["curve"]  # hashes may differ: safetensors writes metadata in any order


def test_what_is_done_is_not_done_again(ran, monkeypatch):
    folder, document, _, _ = ran
    ran_now = []
    monkeypatch.setattr(step, "_run", lambda executor, jobs, progress: (ran_now.extend(jobs), ({}, {}))[1])
    again = step.study(folder / "study.toml", out=folder / "again", options=step.Options(cells=folder / "cells"))
    assert ran_now == [] and again["rows"] == document["rows"] and again["comparisons"] == document["comparisons"]
    for name in ("results.csv", "tiny.md", "tiny-int8.svg", "tiny-robustness.svg", "tiny-validation-curves.svg"):
        assert (folder / "again" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_a_further_evaluation_or_seed_runs_that_alone(ran, monkeypatch):
    folder = ran[0]
    (folder / "more.toml").write_text(STUDY.replace("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    (folder / "less.toml").write_text(STUDY.partition("[evaluations]")[0])
    asked = []

    def interrupted(executor, jobs, progress):
        asked.extend(job.name for job in jobs)
        if jobs:
            raise KeyboardInterrupt
        return {}, {}
    monkeypatch.setattr(step, "_run", interrupted)
    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        step.study(folder / "more.toml", out=folder / "more", options=step.Options(cells=folder / "cells"),
                   progress=notes)
    assert f"{folder / 'cells'} keeps the cells that are done" in notes.lines[-1]
    assert len(asked) == 2 and all("-s2-" in name for name in asked)
    asked.clear()
    less = step.study(folder / "less.toml", out=folder / "less", options=step.Options(cells=folder / "cells"))
    assert not asked and {row["evaluation"] for row in less["rows"]} == {"validation"}


def test_the_test_set_is_read_where_a_study_asks_and_nothing_is_trained_for_it(ran):
    folder = ran[0]
    (folder / "test.toml").write_text(STUDY.replace("seeds = [0, 1]", "seeds = [0]").partition("[evaluations]")[0]
                                      + "[evaluations]\ntest = true\n")
    cells = [folder / "cells" / cell.folder for cell in step.read_plan(folder / "test.toml").cells]
    before = [(cell / name).stat().st_mtime_ns for cell in cells for name in ("card.json", "weights.safetensors")]
    assert not any("test" in json.loads((cell / "card.json").read_text()) for cell in cells)
    found = step.study(folder / "test.toml", out=folder / "test", options=step.Options(cells=folder / "cells"))
    assert [row["n"] for row in found["rows"] if row["evaluation"] == "test"] == [50] * 2
    assert before == [(cell / name).stat().st_mtime_ns for cell in cells
                      for name in ("card.json", "weights.safetensors")]


def test_altered_weights_are_found(ran, tmp_path):
    import shutil

    folder, _, _, killed = ran
    shutil.copytree(folder / "cells" / killed.folder, tmp_path / killed.folder)
    path = tmp_path / killed.folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="delete the folder"):
        step.study(folder / "study.toml", out=tmp_path / "out", options=step.Options(cells=tmp_path))


def test_failed_cells_are_told_after_the_others_results(ran, monkeypatch):
    folder, document, _, _ = ran
    (folder / "more.toml").write_text(STUDY.replace("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    monkeypatch.setattr(step, "_run", lambda executor, jobs, progress: (
        {}, {job.name: "the loss became nan; lower it" for job in jobs}))
    with pytest.raises(EdgeSeError, match=r"2 of 6 cells failed, tiny_none-e4-s2-\w+ for one: the loss became nan"):
        step.study(folder / "more.toml", out=folder / "failed", options=step.Options(cells=folder / "cells"))
    written = json.loads((folder / "failed" / "results.json").read_text())
    Draft202012Validator(SCHEMA).validate(written)
    assert [cell["error"] for cell in written["cells"]].count("the loss became nan; lower it") == 2
    assert "2 cells failed and are missing." in (folder / "failed" / "tiny.md").read_text()
    assert written["rows"] == json.loads(json.dumps(document["rows"]))


def test_tables_show_means_and_paired_differences(ran):
    _, document, _, _ = ran
    columns, rows = summary_rows(document, "int8")
    assert columns == ["model", "recipe", "target", "placement", "method", "calibration", "seeds", "top-1 %",
                       "drop, points", "flips", "p50 ms", "x FP32"]
    assert len(rows) == 4 * 2 and all(row[columns.index("seeds")] == "2" for row in rows)
    columns, rows = comparison_rows(document, "validation")
    assert [row[:3] for row in rows] == [["tiny_se", "short", "tiny_none"]]
    own = [[row["value"] for row in document["rows"] if (row["model"], row["evaluation"]) == (model, "validation")]
           for model in ("tiny_se", "tiny_none")]
    mean = sum(one - other for one, other in zip(*own)) / 2
    assert rows[0][5].startswith(f"{mean:+.2f}")


def test_without_matplotlib_there_are_no_figures_but_all_else(ran, monkeypatch, tmp_path):
    folder, document, _, _ = ran

    def missing(path):
        raise UnavailableError("figures need matplotlib", where=path, fix="pip install 'edge-se[plots]'")
    monkeypatch.setattr("edge_se.studies.figures.require_figures", missing)
    assert reporting_figures.require_figures is not missing
    with pytest.raises(UnavailableError):
        draw(document, tmp_path)
    notes = Notes()
    step.study(folder / "study.toml", out=tmp_path, options=step.Options(cells=folder / "cells"), progress=notes)
    assert any("pip install 'edge-se[plots]'" in line for line in notes.lines)
    assert not list(tmp_path.glob("*.svg")) and (tmp_path / "tiny.md").exists()

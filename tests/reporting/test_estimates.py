"""The error of estimates is said with the figures that were measured."""

from edge_se.core.progress import SilentProgress
from edge_se.reporting import estimates
from edge_se.steps.estimate import estimates as step


def group(**changes):
    return {"group": "all", "variant": "machine", "n": 40, "geometric_mean": 2.04, "p10": 1.11, "p90": 5.96,
            "min": 1.0, "max": 7.0, "rank_correlation": 0.93} | changes


def test_the_error_in_words():
    words = estimates.error_in_words({"summary": [group(), group(group="openvino", geometric_mean=9.0)]})
    assert words.startswith("measured latency is 2.0 times the estimate, between 1.1 and 6.0 (10th to 90th percentile "
                            "of 40 measurements on a CPU")


def test_an_estimate_tells_its_error_to_its_reader(tmp_path, tiny_onnx):
    from edge_se.steps.export import export

    class Heard(SilentProgress):
        def __init__(self):
            self.notes = []

        def note(self, message):
            self.notes.append(message)

    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.content)
    export(str(tmp_path / "tiny.onnx"), out=tmp_path / "build", accuracy=False)
    heard = Heard()
    step("orin-nano-8gb", model=str(tmp_path / "build"), progress=heard)
    assert any(estimates.error_in_words(estimates.read_estimator()) in note for note in heard.notes)

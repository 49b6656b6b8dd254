"""`--device web` for real: onnxruntime-web in node and in a headless Chromium, which opens the printed address."""

import json
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_se.backends.machines.choice import Place, Web, machine_of
from edge_se.backends.machines.web_files import SCRIPTS, VARIABLE, find_runtime
from edge_se.core.errors import EdgeSeError
from edge_se.core.progress import SILENT
from edge_se.device.agent.preprocess import Preprocessing, tensor
from edge_se.evaluation.accuracy import logits_of
from edge_se.graph.onnx_model import OnnxModel
from edge_se.measure.timing import TimingPlan
from edge_se.steps import gate as gate_step
from edge_se.steps.bench import Options, bench

BROWSER = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update")
PLAN = TimingPlan(min_duration=0.05, min_runs=5, warmup=0.0)
WASM = "onnxruntime-web/ort-wasm-simd-threaded.wasm"
INSTALLED = Path(__file__).parents[2] / "web" / "node_modules" / "onnxruntime-web"


@pytest.fixture(scope="module")
def node():
    if shutil.which("node") is None:
        pytest.skip("no node here: apt-get install nodejs")
    return "node"


@pytest.fixture(scope="module")
def runtime():
    for given in (None, INSTALLED):
        try:
            return find_runtime(given)
        except EdgeSeError as error:
            reason = str(error)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def build(tiny_build):
    return tiny_build("tiny", targets="cpu")


class Opener:
    """Progress that opens the address in Chromium as soon as it is printed."""

    def __init__(self, chromium, profile):
        self.task, self.notes, self._chromium, self._profile = SILENT.task, [], chromium, profile

    def note(self, text):
        self.notes.append(text)
        if address := re.search(r"^http://\S+$", text, re.MULTILINE):
            self.process = subprocess.Popen(
                [self._chromium, *BROWSER, f"--user-data-dir={self._profile}", address[0]],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def browser(chromium, tmp_path):
    opener = Opener(chromium, tmp_path / "profile")
    yield opener
    opener.close()


def script(node, text, *arguments):
    """What a module of `text` prints as JSON, with the agent's scripts beside it."""
    done = subprocess.run([node, "--input-type=module", "-e", text, *map(str, arguments)], cwd=SCRIPTS, check=True,
                          capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


CLOCKS = """
import {resolution, runsOfASample, sampled, warmedUp} from "./clock.mjs";
const [tick, cost] = process.argv.slice(1).map(Number);
let time = 0;
const now = () => { time += 0.00001; return Math.floor(time / tick) * tick; };
const call = async () => { time += cost; };
const mean = await warmedUp(call, 200, now), runs = runsOfASample(resolution(now), mean);
const {samples, window} = await sampled(call, runs, 0.5, 20, now);
console.log(JSON.stringify({tick: resolution(now), mean, runs, samples, window}));
"""


@pytest.mark.parametrize(("tick", "cost", "runs"), [(1.0, 0.2, 250), (1.0, 2.0, 25), (0.1, 2.0, 3), (0.005, 2.0, 1),
                                                    (0.00001, 2.0, 1)])
def test_a_coarse_clock_measures_several_runs_at_once(node, tick, cost, runs):
    told = script(node, CLOCKS, tick, cost)
    assert told["tick"] == pytest.approx(tick, rel=0.01) and abs(told["runs"] - runs) <= 0.03 * runs
    assert told["mean"] == pytest.approx(cost, rel=0.02)
    assert len(told["samples"]) >= 20 and max(abs(one / cost - 1) for one in told["samples"]) <= 0.021
    assert told["window"] >= 0.499


SETTLED = CLOCKS.split("const mean")[0].replace("sampled", "settled").replace(
    "[tick, cost]", "[tick, cost, runs]") + """
console.log(JSON.stringify(await settled(call, tick, runs, 0.5, 20, now)));
"""


@pytest.mark.parametrize(("tick", "cost", "given", "enough"), [
    (0.1, 1.0, 1, 5), (0.1, 1.0, 3, 3), (1.0, 0.2, 1, 250), (1.0, 0.001, 1, 25_000), (0.005, 2.0, 1, 1)])
def test_samples_that_are_too_short_for_the_clock_get_more_runs(node, tick, cost, given, enough):
    told = script(node, SETTLED, tick, cost, given)
    assert 0.5 * enough <= told["runs"] <= 2.1 * enough and (told["runs"] == given or given < enough)
    assert np.median(told["samples"]) == pytest.approx(cost, rel=0.05) and len(told["samples"]) >= 20


PIXELS = """
import {tensor} from "./pixels.mjs";
const [shape, how] = process.argv.slice(1).map(JSON.parse);
const pixels = Uint8Array.from({length: shape.reduce((one, other) => one * other)}, (_, place) => place * 7919 >> 3);
const {values, shape: made, dtype} = tensor(pixels, shape, how);
console.log(JSON.stringify({values: [...values], made, dtype}));
"""
USUAL = Preprocessing(size=(5, 7), mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


@pytest.mark.parametrize(("channels", "how"), [
    (3, USUAL), (1, USUAL), (3, replace(USUAL, colour="BGR", axes="NHWC", range="-1-1")),
    (3, replace(USUAL, colour="grey", mean=(0.5,), std=(0.3,))),
    (1, replace(USUAL, colour="grey", mean=(0.1,), std=(3.0,))),
    (3, Preprocessing(size=(5, 7), mean=(0.0,) * 3, std=(1.0,) * 3, range="0-255", dtype="uint8", axes="NHWC"))])
def test_pixels_become_the_same_numbers_to_the_bit(node, channels, how):
    shape = (3, channels, *how.size)
    pixels = (np.arange(np.prod(shape)) * 7919 >> 3).astype(np.uint8).reshape(shape)
    told = script(node, PIXELS, json.dumps(shape), json.dumps(how.document()))
    wanted = tensor(pixels, how)
    assert told["dtype"] == {"float32": "<f4", "uint8": "|u1"}[how.dtype]
    np.testing.assert_array_equal(np.array(told["values"], wanted.dtype).reshape(told["made"]), wanted)


AGENT = """
import {Agent} from "./agent.mjs";
const [images, batch, classes, ends] = process.argv.slice(1).map(Number);
let asked = 0;
const worker = {terminate() {}, postMessage({id, op, shape}) {
  if (op === "run" && asked++ === ends) worker.onerror({message: "gone"});
  else queueMicrotask(() => worker.onmessage({data: op === "open" ? {id} : {
    id, shape: [shape[0], classes], payload: new Float32Array(shape[0] * classes).fill(asked).buffer}}));
}};
const agent = new Agent({spawn: () => worker, runtime: ""}), sha256 = "x", content = new Uint8Array(images);
agent.received.set(sha256, {content, kind: "images", whole: true});
await agent.answer({op: "open", session: "s", sha256, runtime: "onnxruntime-web", threads: 1});
const how = {colour: "grey", axes: "NCHW", dtype: "uint8"};
const header = {op: "answer", session: "s", sha256, shape: [images, 1, 1, 1], batch, preprocessing: how};
const [answer, payload] = await agent.answer(header, content), values = new Float32Array(payload?.buffer ?? 0);
const again = ends >= 0 ? await agent.answer(header, content) : [];
console.log(JSON.stringify({answer, again: again[0], last: values.at(-1), length: values.length}));
"""


@pytest.mark.parametrize(("images", "batch", "classes"), [(5, 2, 10), (600, 300, 1000), (64, 64, 21_841),
                                                          (1, 1, 250_000)])
def test_answers_of_many_classes_come_whole(node, images, batch, classes):
    told = script(node, AGENT, images, batch, classes, -1)
    assert told["answer"] == {"ok": True, "shape": [images, classes]}
    assert told["length"] == images * classes and told["last"] == -(-images // batch)


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_a_worker_that_ended_is_told_at_once_and_again(node, ends):
    told = script(node, AGENT, 5, 2, 10, ends)
    for answer in (told["answer"], told["again"]):
        assert not answer["ok"] and answer["error"]["what"] == "the worker of the model ended (gone)"


def checked(document, threads=1):
    rows = document["measurements"]
    assert [(row["precision"], row["target"]) for row in rows] == [("fp32", "any"), ("int8", "cpu")]
    for row in rows:
        assert row["backend"] == "onnxruntime-web" and row["provider"] == "wasm" and row["threads"] == threads
        assert 0 < row["p50_ms"] <= row["p99_ms"] and row["samples"] >= 100 and row["flips_against_onnxruntime"] == 0
        assert row["peak_memory_bytes"] > 1 << 20 and row["runs_per_sample"] >= 1
        assert row["p50_ms"] * row["runs_per_sample"] > 20 * row["clock_resolution_ms"] > 0
    device = document["environment"]["device"]
    assert device["runtimes"]["onnxruntime-web"]["version"] and device["browser"]["simd"] and device["uncertified"]
    return device


@pytest.mark.slow
def test_a_build_is_measured_in_node(node, runtime, build):
    options = Options(min_duration=0.05, accuracy=False, web=Web(runtime=runtime))
    device = checked(bench("web", model=build.out, options=options))
    assert device["name"].startswith("node on ") and device["browser"]["shared_array_buffer"]


@pytest.mark.slow
def test_a_session_has_the_threads_that_it_is_asked_for(node, runtime, tiny_onnx):
    images = np.ones((2, 3, 32, 32), np.float32)
    with machine_of("web", web=Web(runtime=runtime)) as machine:
        backend, answers = machine.backends["onnxruntime-web"], []
        for threads, had in ((0, machine.facts["cores"]), (1, 1), (3, 3)):
            with backend.open(tiny_onnx, replace(machine.device, threads=threads)) as session:
                answers.append(session.run(images))
                assert session.tells()["threads"] == had
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0], other, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_gate_in_node_gives_the_verdict_of_this_machine(node, runtime, build, own_answers, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(runtime))
    own_answers(gate_step, 200)
    here, there = (gate_step.gate(build.out, max_drop=50, place=Place(device=name))["targets"][0]
                   for name in ("cpu", "web"))
    assert [there[key] for key in ("verdict", "n", "top1")] == [here[key] for key in ("verdict", "n", "top1")]
    assert there["n"] == 200 and there["measured_by"]["runtime"] == "onnxruntime-web"
    told = there["on_device"]
    assert told["runtime_flips"]["flips"] == told["fp32"]["runtime_flips"]["flips"] == 0


@pytest.mark.slow
def test_a_build_is_measured_in_a_browser_that_opens_the_address(browser, runtime, build):
    options = Options(min_duration=0.05, accuracy=False, threads=(2,), web=Web(serve=True, runtime=runtime))
    device = checked(bench("web", model=build.out, options=options, progress=browser), threads=2)
    assert re.match(r"Chrom|HeadlessChrome", device["name"]) and "Chrome" in device["browser"]["user_agent"]
    assert device["browser"]["cross_origin_isolated"] and device["browser"]["secure_context"]


@pytest.mark.slow
def test_a_page_of_another_machine_has_no_threads_and_says_so(browser, runtime, tiny_onnx, own_address):
    """Reached at this machine's own address in its network, as a phone would reach it."""
    with machine_of("web", host=own_address, web=Web(serve=True, runtime=runtime), progress=browser) as machine:
        assert not machine.facts["browser"]["secure_context"] and not machine.facts["browser"]["shared_array_buffer"]
        backend = machine.backends["onnxruntime-web"]
        with (backend.open(tiny_onnx, replace(machine.device, threads=2)) as session,
              pytest.raises(EdgeSeError, match=r"no SharedArrayBuffer.*--threads 1.*localhost")):
            session.run(np.zeros((1, 3, 32, 32), np.float32))
        with backend.open(tiny_onnx, replace(machine.device, threads=0)) as session:
            latencies = session.time(np.zeros((1, 3, 32, 32), np.float32), PLAN)
            told = session.tells()
        assert told["threads"] == 1 and told["clock_resolution_ms"] >= 0.05
        assert latencies.percentile(50) * told["runs_per_sample"] > 20 * told["clock_resolution_ms"]


@pytest.fixture
def own_address():
    from edge_se.backends.machines.web_page import LOOPBACK, _own_address

    address = _own_address()
    if address == LOOPBACK:
        pytest.skip("this machine has no network, so no page can be of another machine")
    return address


@pytest.mark.slow
def test_images_are_answered_in_shards_and_kept(node, runtime, tiny_onnx, random_images):
    images = random_images(150)
    with (machine_of("web", web=Web(runtime=runtime)) as machine,
          machine.backends["onnxruntime-web"].open(tiny_onnx, machine.device) as session):
        for fixed in (False, True):
            there = np.concatenate(list(session.logits(images, 64, fixed)))
            assert there.shape == (150, 10)
            np.testing.assert_allclose(there, logits_of(tiny_onnx, images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_what_a_page_refuses_is_a_message(node, runtime, tiny_onnx):
    with machine_of("web", web=Web(runtime=runtime)) as machine:
        webgpu = machine.backends["onnxruntime-web-webgpu"]
        assert not webgpu.automatic and "no WebGPU here" in webgpu.why_not(tiny_onnx, machine.device)
        with (webgpu.open(tiny_onnx, machine.device) as session,  # asked for all the same: nothing runs in wasm instead
              pytest.raises(EdgeSeError, match=r"with webgpu alone .*--backend onnxruntime-web")):
            session.run(np.zeros((1, 3, 32, 32), np.float32))
        graph = tiny_onnx.copy()
        graph.graph.node[0].op_type = "NoSuchOperator"
        with (machine.backends["onnxruntime-web"].open(OnnxModel.of(graph), machine.device) as session,
              pytest.raises(EdgeSeError, match=r"^node: onnxruntime-web cannot load it with wasm alone")):
            session.run(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "why"), [
    (lambda modules: (modules / "onnxruntime-common").unlink(), "onnxruntime-common"),
    (lambda modules: (modules / WASM).unlink(), "no available backend"),
    (lambda modules: (modules / WASM).write_bytes(b"\0asm\1\0\0\0\xff"), "no available backend")])
def test_a_runtime_that_does_not_start_is_told(node, runtime, tiny_onnx, tmp_path, spoil, why):
    (tmp_path / "node_modules" / "onnxruntime-web").mkdir(parents=True)
    for path in [*runtime.glob("ort.*.min.mjs"), *runtime.glob("ort-wasm-simd-threaded.[mw]*")]:
        shutil.copy(path, tmp_path / "node_modules" / "onnxruntime-web")
    (tmp_path / "node_modules" / "onnxruntime-common").symlink_to(runtime.parents[1] / "onnxruntime-common")
    spoil(tmp_path / "node_modules")
    with (machine_of("web", web=Web(runtime=tmp_path / "node_modules" / "onnxruntime-web")) as machine,
          machine.backends["onnxruntime-web"].open(tiny_onnx, machine.device) as session,
          pytest.raises(EdgeSeError, match=f"^node: onnxruntime-web does not start .*{why}.*; run it again.*npm")):
        session.run(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.slow
def test_node_that_ends_is_told(node, runtime, tiny_onnx):
    with (machine_of("web", web=Web(runtime=runtime)) as machine,
          machine.backends["onnxruntime-web"].open(tiny_onnx, machine.device) as session):
        session.run(np.zeros((1, 3, 32, 32), np.float32))
        threading.Timer(0.2, machine._link._transport._node.kill).start()
        with pytest.raises(EdgeSeError, match=r"^node: it ended; look for what ended it"):
            session.time(np.zeros((1, 3, 32, 32), np.float32), TimingPlan(min_duration=30.0))

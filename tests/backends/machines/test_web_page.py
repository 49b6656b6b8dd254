"""The way to a page: how it is announced, and a conversation with a page that a thread plays."""

import io
import json
import socket
import threading
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from edge_se.backends.machines import web_page
from edge_se.backends.machines.choice import Web, way_to
from edge_se.backends.machines.link import Link
from edge_se.backends.machines.web_files import VARIABLE, find_runtime, served
from edge_se.backends.machines.web_page import InBrowser, InNode, read_address
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.core.progress import SILENT
from edge_se.device.agent import read_frame, write_frame


class Notes:
    def __init__(self):
        self.notes, self.task = [], SILENT.task

    def note(self, message):
        self.notes.append(message)

    @property
    def address(self):
        return next(line for note in self.notes for line in note.splitlines() if line.startswith("http://"))


@pytest.fixture
def runtime(tmp_path):
    """What looks like an installed onnxruntime-web."""
    folder = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs.map", "ort.js"):
        (folder / name).write_text(name)
    return folder


def posted(url, body=b"", key=""):
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {key}"}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, response.read()


def play(address, answers, key=None):
    """A page that answers `answers` requests and then falls silent; its key."""
    base, _, token = address.rpartition("/")
    key = json.loads(posted(f"{base}/join", json.dumps({"token": token, "key": key}).encode())[1])["key"]

    def work():
        got = done = 0
        while done < answers:
            status, frame = posted(f"{base}/next/{got}", key=key)
            if status == 204:
                continue
            got, header = got + 1, read_frame(io.BytesIO(frame))[0]
            if header["op"] != "ping":
                answer = io.BytesIO()
                write_frame(answer, {"ok": True, "heard": header["op"]})
                posted(f"{base}/answer/{done}", answer.getvalue(), key)
                done += 1
        if not answers or header["op"] != "bye":
            posted(f"{base}/gone", key=key)
    threading.Thread(target=work, daemon=True).start()
    return key


@pytest.fixture
def opened(runtime, monkeypatch):
    """A served page, its notes, and what plays a browser as soon as the address is printed."""
    notes = Notes()
    page = InBrowser(runtime=runtime, progress=notes)
    with closing(page):
        yield page, notes


def test_a_link_speaks_with_a_page(opened):
    page, notes = opened
    notes.note = lambda text: (notes.notes.append(text), threading.Timer(0, play, (notes.address, 3)).start())
    with Link(page) as link:
        assert link.ask("state")[0]["heard"] == "state"
        assert link.shown.startswith("http://127.0.0.1:") and page._server.token not in link.shown
        assert link.agent_sha256 == page.agent_sha256 and len(link.agent_sha256) == 64


def test_a_page_that_goes_away_may_come_back_and_no_other(opened, monkeypatch):
    monkeypatch.setattr("edge_se.backends.machines.link.time.sleep", lambda seconds: None)
    page, notes = opened
    keys = []

    def note(text):
        notes.notes.append(text)
        if text.startswith("open"):
            keys.append(play(notes.address, 1))  # it answers hello and is closed
        elif text.startswith("load"):
            with pytest.raises(urllib.error.HTTPError, match="410"):
                play(notes.address, 1)
            keys.append(play(notes.address, 3, keys[0]))
    notes.note = note
    with Link(page, progress=notes) as link:
        assert link.ask("describe")[0]["heard"] == "describe"
    assert keys[0] == keys[1]
    assert any("the page was closed, or its device slept" in text for text in notes.notes)


def test_nobody_opens_it(opened, monkeypatch):
    monkeypatch.setattr(web_page, "OPENED_S", 0.05)
    with pytest.raises(UnavailableError, match=r"no page joined within 0 s; .*--host"), Link(opened[0]):
        pass


@pytest.mark.parametrize(("program", "says"), [
    ("echo 'SyntaxError: too old' >&2; exit 1", "it ended: SyntaxError: too old; install node 20"),
    ("exit 0", "it ended; install node 20"), ("sleep 9", "it did not start within 0 s")])
def test_a_node_that_does_not_come(runtime, tmp_path, monkeypatch, program, says):
    (tmp_path / "node").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if says.endswith("0 s"):
        monkeypatch.setattr(web_page, "STARTED_S", 0.1)
    with closing(InNode(runtime=runtime)) as page, pytest.raises(UnavailableError, match=f"^node: {says}"):
        page.start()
    monkeypatch.setenv("PATH", "")
    page = InNode(runtime=runtime)
    with closing(page), pytest.raises(UnavailableError, match=r"node is not installed.*--serve"):
        page.start()


def test_a_port_that_is_taken(runtime):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        page = InBrowser(runtime=runtime, listen=("127.0.0.1", taken.getsockname()[1]))
        with closing(page), pytest.raises(UnavailableError, match=r"cannot listen there .*--host"):
            page.start()


@pytest.mark.parametrize(("listen", "shown"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_printed_address(runtime, monkeypatch, listen, shown):
    with socket.socket(socket.AF_INET6) as probe:
        if listen == "::1" and probe.connect_ex(("::1", 9)) == 99:
            pytest.skip("no IPv6 here")
    monkeypatch.setattr(web_page, "OPENED_S", 0.0)
    notes = Notes()
    with closing(InBrowser(runtime=runtime, listen=(listen, 0), progress=notes)) as page:
        with pytest.raises(UnavailableError):
            page.start()
        assert notes.address.startswith(shown)
        with urllib.request.urlopen(notes.address, timeout=10) as response:
            assert b"edge-se" in response.read()


def test_every_network_gets_this_machine_s_own_address(runtime, monkeypatch):
    monkeypatch.setattr(web_page, "OPENED_S", 0.0)
    notes = Notes()
    page = InBrowser(runtime=runtime, listen=("0.0.0.0", 0), progress=notes)
    with closing(page), pytest.raises(UnavailableError):
        page.start()
    assert "0.0.0.0" not in notes.address


def test_the_address_is_a_qr_code(monkeypatch):
    segno = pytest.importorskip("segno", reason="segno is not installed: pip install 'edge-se[web]'")
    drawn = web_page._qr_code("http://192.168.1.5:8765/token")
    assert len(drawn.splitlines()) == -(-segno.make_qr("http://192.168.1.5:8765/token").symbol_size()[1] // 2)
    monkeypatch.setattr(web_page, "importable", lambda name: False)
    assert "pip install 'edge-se[web]'" in web_page._qr_code("http://192.168.1.5:8765/token")


@pytest.mark.parametrize(("text", "address"), [("0.0.0.0", ("0.0.0.0", 0)), ("0.0.0.0:8765", ("0.0.0.0", 8765)),
                                               ("[::]:80", ("::", 80)), ("board.local:1", ("board.local", 1))])
def test_addresses_to_listen_on(text, address):
    assert read_address(text) == address


@pytest.mark.parametrize("text", ["", ":80", "host:99999", "host:x", "me@host", "http://host", "host/path", "[::",
                                  "::1"])
def test_what_is_no_address(text):
    with pytest.raises(EdgeSeError, match="--host"):
        read_address(text)


def test_where_onnxruntime_web_is_looked_for(runtime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_runtime(None) == find_runtime(runtime) == find_runtime(runtime.parent) == runtime.resolve()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UnavailableError, match=rf"^\${VARIABLE}: .* is no onnxruntime-web.*npm install"):
        find_runtime(None)
    assert find_runtime(runtime) == runtime.resolve()
    with pytest.raises(UnavailableError, match=r"^--web-runtime: "):
        find_runtime(tmp_path / "nowhere")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.chdir("/")
    with pytest.raises(UnavailableError, match=r"^--device web: onnxruntime-web is in neither .*npm install"):
        find_runtime(None)


def test_what_is_served_is_there(runtime):
    files = served(runtime)
    assert {"/web/page.mjs", "/web/session.mjs", "/ort/ort.wasm.bundle.min.mjs",
            "/ort/ort-wasm-simd-threaded.wasm"} <= set(files)
    assert not [path for path in files if path.endswith((".map", ".js", ".html"))]
    assert all(Path(file).is_file() for file in files.values())


@pytest.mark.parametrize(("device", "host", "web", "says"), [
    ("web", "0.0.0.0", Web(), "--device web --serve"), ("cpu", None, Web(serve=True), "--serve: is of a page"),
    ("ssh://orin", None, Web(serve=True), "--serve: is of a page"),
    ("cpu", None, Web(runtime=Path("x")), "--web-runtime: is of a page")])
def test_options_of_a_page_and_no_page(device, host, web, says):
    with pytest.raises(EdgeSeError, match=says):
        way_to(device, host, web=web)

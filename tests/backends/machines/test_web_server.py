"""The server of `--device web` by plain HTTP: who may do what, and what happens when the network or a page fails."""

import http.client
import io
import json
import socket
import subprocess
import time

import pytest

from edge_se.backends.machines import web_server
from edge_se.backends.machines.web_files import SCRIPTS
from edge_se.backends.machines.web_server import GONE, LARGEST, LARGEST_JOIN, WebServer
from edge_se.device.agent import MAGIC, read_frame, write_frame

ISOLATED = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}


@pytest.fixture
def server(tmp_path):
    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    made = WebServer(("127.0.0.1", 0), {"/web/agent.mjs": SCRIPTS / "agent.mjs", "/ort/a.wasm": tmp_path / "a.wasm"})
    yield made
    made.end()


@pytest.fixture
def ask(server):
    """(method, path, body, key, headers) -> (status, body, headers)."""
    def asked(method, path, body=None, key=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request(method, path, body, {**({"Authorization": f"Bearer {key}"} if key else {}),
                                                    **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read(), {name.lower(): text for name, text in response.getheaders()}
        finally:
            connection.close()
    return asked


@pytest.fixture
def join(server, ask):
    """(key, token) -> the status, and the key that a page gets."""
    def joined(key=None, token=None):
        status, body, _ = ask("POST", "/join", json.dumps({"token": token or server.token, "key": key}))
        return status, json.loads(body)["key"] if body else None
    return joined


@pytest.fixture
def page(server, join):
    """(the key of a page that joined, the host's end of the conversation)."""
    status, key = join()
    guest = server.next_guest(5)
    assert status == 200 and guest.stdout.read(len(MAGIC)) == MAGIC
    return key, guest


def head(path, key, length):
    return (f"POST {path} HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n").encode()


def frame(**header):
    stream = io.BytesIO()
    write_frame(stream, header)
    return stream.getvalue()


def test_the_page_is_at_its_address_and_may_have_threads(server, ask):
    status, body, headers = ask("GET", f"/{server.token}")
    assert status == 200 and b'src="/web/page.mjs"' in body and headers["content-type"].startswith("text/html")
    assert ISOLATED.items() <= headers.items() and "default-src 'none'" in headers["content-security-policy"]
    status, body, headers = ask("GET", "/web/agent.mjs")
    assert status == 200 and body == (SCRIPTS / "agent.mjs").read_bytes() and ISOLATED.items() <= headers.items()
    assert headers["content-type"].startswith("text/javascript")
    assert ask("GET", "/ort/a.wasm")[2]["content-type"] == "application/wasm"


@pytest.mark.parametrize("path", ["/", "/wrong", "/web", "/web/", "/ort/", "/web/../web_server.py", "/web/page.html",
                                  "//etc/passwd", "/%2e%2e/etc/passwd", "/join", "/next/0"])
def test_nothing_else_is_served(ask, path):
    status, body, _ = ask("GET", path)
    assert status == 404 and body == b""


@pytest.mark.parametrize("path", ["/", "/next", "/next/", "/next/x", "/next/-1", "/next/1/2", "/gone/1", "/answer",
                                  "/run"])
def test_nothing_else_can_be_asked(ask, page, path):
    assert ask("POST", path, b"", key=page[0])[0] == 404


def test_the_token_is_used_up_by_the_first_page(server, ask, join):
    for _ in range(2):  # the preview of a messenger
        assert ask("GET", f"/{server.token}")[0] == 200
    assert server.next_guest(0.01) is None
    status, key = join()
    assert status == 200 and len(key) > 16
    assert join() == join(key="another") == (410, None)
    assert server.next_guest(5) is not None and server.next_guest(0.01) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"key": "x"}', b'{"token": "wrong"}', b'{"token": null}',
                                  b'{"token": "\\ud800"}', b"[" * 4000])
def test_a_wrong_token_joins_nothing(server, ask, join, body):
    assert ask("POST", "/join", body)[0] == 403
    assert server.next_guest(0.01) is None
    assert join()[0] == 200, "a wrong one uses nothing up"


def test_only_the_key_hears_and_answers(ask, page):
    key, guest = page
    guest.write(frame(op="secret"))
    for wrong in (None, "", "wrong", key[:-1], f"{key}x", "\xe4"):
        for path in ("/next/0", "/answer/0", "/gone"):
            assert ask("POST", path, b"", key=wrong)[0] == 403
    assert not guest.ended


@pytest.mark.parametrize(("path", "largest"), [("/answer/0", LARGEST), ("/join", LARGEST_JOIN)])
def test_an_oversized_upload_is_refused_unread(server, ask, page, path, largest):
    key, guest = page
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(head(path, key, largest + 1))
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
        while line.recv(4096):  # until the server closes the line
            pass
    for length in ("", "-1", "1e3", "\u0663"):
        assert ask("POST", path, None, key=key, headers={"Content-Length": length.encode()})[0] == 411
    assert not guest.ended


def test_requests_and_answers_arrive_once_and_in_order(ask, page):
    key, guest = page
    guest.write(frame(op="first"))
    guest.write(frame(op="second"))
    assert ask("POST", "/next/0", b"", key=key)[1] == frame(op="first")
    assert ask("POST", "/next/0", b"", key=key)[1] == frame(op="first"), "the reply was lost on the way"
    assert ask("POST", "/next/1", b"", key=key)[1] == frame(op="second")
    for number, name in ((0, "one"), (0, "one"), (1, "two")):
        assert ask("POST", f"/answer/{number}", frame(ok=True, name=name), key=key)[0] == 204
    assert [read_frame(guest.stdout)[0]["name"] for _ in range(2)] == ["one", "two"]


def test_a_page_waits_for_the_next_request(ask, page, monkeypatch):
    monkeypatch.setattr(web_server, "POLL_S", 0.05)
    assert ask("POST", "/next/0", b"", key=page[0])[:2] == (204, b"")


@pytest.mark.parametrize("body", [b"", b"\0\0\0\5hallo", b"\xff\xff\xff\xff", b"\0\0\0\2[]",
                                  frame(ok=True)[:-1], frame(ok=True) + b"x"])
def test_what_is_no_answer_is_refused(ask, page, body):
    key, guest = page
    assert ask("POST", "/answer/0", body, key=key)[0] == 400
    assert ask("POST", "/answer/0", frame(ok=True), key=key)[0] == 204
    assert read_frame(guest.stdout)[0]["ok"]


def test_an_upload_that_breaks_off_counts_for_nothing(server, ask, page):
    key, guest = page
    whole = frame(ok=True)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(head("/answer/0", key, len(whole)) + whole[:5])
    assert ask("POST", "/answer/0", whole, key=key)[0] == 204
    assert read_frame(guest.stdout)[0]["ok"] and not guest.ended


def test_a_closed_page_is_gone_and_may_come_back(server, ask, join, page):
    key, guest = page
    with pytest.raises(subprocess.TimeoutExpired):
        guest.wait(0.01)
    assert ask("POST", "/gone", b"", key=key)[0] == 204
    assert guest.wait(5) == GONE and read_frame(guest.stdout) is None
    with pytest.raises(BrokenPipeError):
        guest.write(frame(op="ping"))
    assert ask("POST", "/next/0", b"", key=key)[0] == 410
    assert join(key=key) == (200, key)
    again = server.next_guest(5)
    assert again is not guest and not again.ended


def test_a_page_that_is_loaded_twice_leaves_one_behind(server, join, page):
    key, guest = page
    for _ in range(3):
        join(key=key)
    assert guest.wait(5) == GONE
    newest = server.next_guest(5)
    assert not newest.ended and server.next_guest(0.01) is None


def test_a_silent_page_is_gone(page, monkeypatch):
    monkeypatch.setattr(web_server, "SILENCE_S", 0.1)
    start = time.monotonic()
    assert page[1].wait(5) == GONE and time.monotonic() - start < 3


def test_the_host_ends_it(server, ask, page):
    key, guest = page
    guest.stdin.close()
    assert guest.wait(0) == 0 and ask("POST", "/next/0", b"", key=key)[0] == 410
    server.end()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    server.end()

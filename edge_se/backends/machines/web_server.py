"""The HTTP server of `--device web`: one page, its scripts, and the conversation with the one page that joined.

    GET  /TOKEN          the page, whose script joins; the token is in the printed address alone
    GET  /web/…, /ort/…  the files of `served`, and nothing else
    POST /join           {"token", "key"} -> {"key"}: the first page gets the key, and only with it a page joins again
    POST /next/N         the N-th request of the host, as a frame; 204 where there is none within POLL_S
    POST /answer/N       the N-th answer, as a frame
    POST /gone           the page is closed

The last three carry the key. 410 means that the connection is over. A messenger's preview of the address joins nothing,
so it uses nothing up.
"""

from __future__ import annotations

import hmac
import io
import json
import os
import queue
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from edge_se.backends.machines.web_files import PAGE, TYPES
from edge_se.device.agent import MAGIC, read_frame

LARGEST = 64 << 20  # bytes of an answer: the samples of an hour, or the logits of 64 images with 250,000 classes
LARGEST_JOIN = 4096
POLL_S = 5.0     # a page asks again at once, so it is heard from this often
SILENCE_S = 60.0  # after which a page is gone: a phone slept, or left the network
TURN_S = 0.1
STALLED_S = 60.0  # a transfer that stands still for so long is given up
GONE = 255       # how OpenSSH tells a connection that dropped, and so does a page
_ASKED = re.compile(r"/gone|/(?P<operation>next|answer)/(?P<number>[0-9]{1,9})")
HEADERS = {  # the first three give a page threads and a fine clock
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
                               "connect-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
}


class Guest:
    """A page that joined, with the members of a process that `Link` uses: requests go in, answers come out."""

    def __init__(self) -> None:
        self.stdin = self
        self.stderr: BinaryIO = io.BytesIO()
        reading, writing = os.pipe()
        self.stdout: BinaryIO = os.fdopen(reading, "rb")
        self._answers: BinaryIO = os.fdopen(writing, "wb")
        self._requests: list[bytes] = []
        self._first = self._answered = 0
        self._code: int | None = None
        self._changed, self._answering = threading.Condition(), threading.Lock()
        self.heard = time.monotonic()
        self._put(MAGIC)

    def write(self, content: bytes) -> None:
        """One request, as a frame."""
        with self._changed:
            if self._code is not None:
                raise BrokenPipeError
            self._requests.append(content)
            self._changed.notify_all()

    def flush(self) -> None:
        """Each `write` is a whole request."""

    def close(self) -> None:
        """The host is done."""
        self.end(0)

    def wait(self, timeout: float | None = None) -> int:
        """0 when the host ended it, GONE when the page did; TimeoutExpired while it is there."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._code is not None, timeout):
                raise subprocess.TimeoutExpired("page", timeout or 0.0)
        assert self._code is not None
        return self._code

    def kill(self) -> None:
        """Gives the page up."""
        self.end(GONE)

    def end(self, code: int) -> None:
        """Ends the conversation, once."""
        with self._changed:
            if self._code is not None:
                return
            self._code = code
            self._changed.notify_all()
        with self._answering:
            self._answers.close()

    @property
    def ended(self) -> bool:
        """Whether the conversation is over."""
        return self._code is not None

    def request(self, number: int) -> bytes | None:
        """The request of this number, None where none comes within POLL_S; those before it have arrived."""
        self.heard = time.monotonic()
        with self._changed:
            while self._first < number and self._requests:
                self._requests.pop(0)
                self._first += 1
            self._changed.wait_for(lambda: self._code is not None or self._requests, POLL_S)
            return self._requests[0] if self._requests and self._first == number else None

    def answer(self, number: int, frame: bytes) -> None:
        """Takes an answer; one that was sent twice counts once. ValueError for what is no frame."""
        self.heard = time.monotonic()
        stream = io.BytesIO(frame)
        if read_frame(stream) is None or stream.read(1):
            raise ValueError("no frame")
        with self._answering:
            if number == self._answered and self._code is None:
                self._answered += 1
                self._put(frame)

    def _put(self, content: bytes) -> None:
        self._answers.write(content)
        self._answers.flush()


class WebServer(ThreadingHTTPServer):
    """Serves one page at `address` (host, port; port 0: any that is free) until it is closed.

    OSError where it cannot listen there.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], files: Mapping[str, Path]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self.files, self.token = files, secrets.token_urlsafe(16)
        self._key: str | None = None
        self._guest: Guest | None = None
        self._joining, self._joined = threading.Lock(), queue.Queue[Guest]()
        threading.Thread(target=self.serve_forever, args=(TURN_S,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def next_guest(self, seconds: float) -> Guest | None:
        """The next page that joins; None when there is none within so many seconds."""
        end = time.monotonic() + seconds
        while True:
            try:
                guest = self._joined.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return None
            if not guest.ended:  # a page that was loaded twice leaves one behind
                return guest

    def end(self) -> None:
        """Stops listening; whoever is connected is told at its next request."""
        self.shutdown()
        self.server_close()
        if self._guest is not None:
            self._guest.end(0)

    def join(self, token: str, key: str) -> str | None:
        """The key, for the first page and whoever has it; None for every other. ValueError for a wrong token."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise ValueError("wrong token")
        with self._joining:
            if self._key is None:
                self._key = secrets.token_urlsafe(16)
            elif not hmac.compare_digest(key.encode(), self._key.encode()):
                return None
            if self._guest is not None:
                self._guest.end(GONE)
            self._guest = Guest()
            self._joined.put(self._guest)
            return self._key

    def lose(self) -> None:
        """The page is gone, if there is one."""
        if self._guest is not None:
            self._guest.end(GONE)

    def guest(self, authorization: str) -> Guest | None:
        """The page that sends this header; None for a wrong key."""
        if self._key is None or not hmac.compare_digest(authorization.encode(), f"Bearer {self._key}".encode()):
            return None
        return self._guest

    def service_actions(self) -> None:
        """In each turn: a page that is silent for too long is gone."""
        guest = self._guest
        if guest is not None and time.monotonic() - guest.heard > SILENCE_S:
            guest.end(GONE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break and stand still are what networks do; a bug is told with its traceback."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version, server_version, sys_version = "HTTP/1.1", "edge-se", ""
    timeout = STALLED_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        found = self.server.files.get(path)
        if found is None and hmac.compare_digest(path.encode(), f"/{self.server.token}".encode()):
            found = PAGE
        if found is None:
            self._reply(HTTPStatus.NOT_FOUND)
            return
        with open(found, "rb") as file:
            self._head(HTTPStatus.OK, os.fstat(file.fileno()).st_size, TYPES[found.suffix])
            shutil.copyfileobj(file, self.wfile, 1 << 18)

    def do_POST(self) -> None:
        if self.path == "/join":
            self._join()
            return
        asked = _ASKED.fullmatch(self.path)
        if asked is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        guest = self.server.guest(self.headers.get("Authorization", ""))
        if guest is None:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        content = self._content(LARGEST)
        if content is None:
            return
        if asked["operation"] is None:
            guest.end(GONE)
            self._reply(HTTPStatus.NO_CONTENT)
        elif guest.ended:
            self._reply(HTTPStatus.GONE)
        elif asked["operation"] == "next":
            request = guest.request(int(asked["number"]))
            self._reply(HTTPStatus.NO_CONTENT if request is None else HTTPStatus.OK, request or b"")
        else:
            try:
                guest.answer(int(asked["number"]), content)
                self._reply(HTTPStatus.NO_CONTENT)
            except ValueError:
                self._reply(HTTPStatus.BAD_REQUEST)

    def _join(self) -> None:
        content = self._content(LARGEST_JOIN)
        if content is None:
            return
        try:
            told = json.loads(content)
            key = self.server.join(str(told["token"]), str(told.get("key")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._reply(HTTPStatus.FORBIDDEN)
            return
        if key is None:
            self._reply(HTTPStatus.GONE)
        else:
            self._reply(HTTPStatus.OK, json.dumps({"key": key}).encode(), "application/json")

    def _content(self, largest: int) -> bytes | None:
        """The body; None, with the reply, for one without a length, too large, or cut short."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > largest:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            self.close_connection = True
            return None
        return content

    def _refuse(self, status: HTTPStatus) -> None:
        """Replies without having read the body, so the connection ends."""
        self.close_connection = True
        self._reply(status)

    def _reply(self, status: HTTPStatus, content: bytes = b"", kind: str = "application/octet-stream") -> None:
        self._head(status, len(content), kind)
        self.wfile.write(content)

    def _head(self, status: HTTPStatus, length: int, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: what the user must know is told by the command."""

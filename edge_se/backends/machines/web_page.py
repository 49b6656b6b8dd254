"""The way to a page: a browser that opens an address, or node on this machine with the same scripts."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from edge_se.backends.machines import web_files
from edge_se.backends.machines.web_server import Guest, WebServer
from edge_se.core.environment import importable
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.core.progress import SILENT, Progress

LOOPBACK = "127.0.0.1"
OPENED_S = 600.0  # a person has to find the phone
RETURN_S = 120.0  # for a page that was closed, or whose phone slept
STARTED_S = 60.0  # node, on a machine that does much else
_WORDS_S = 2.0  # a process that ended has said everything; reading it takes no time
_TURN_S = 0.1
_EVERYWHERE = ("0.0.0.0", "::")
_NOWHERE = ("192.0.2.1", 9)  # of a network that is for documents alone
_NODE = "install node 20 or later"


@dataclass(kw_only=True)
class WebPage(ABC):
    """One page that joins a server at `listen` (host, port), with the files of onnxruntime-web in `runtime`."""

    runtime: Path
    listen: tuple[str, int] = (LOOPBACK, 0)
    _server: WebServer | None = field(default=None, repr=False)
    bootstraps: ClassVar[bool] = False
    retries: ClassVar[int]

    @property
    @abstractmethod
    def shown(self) -> str:
        """Where the page is, for messages."""

    @property
    def agent_sha256(self) -> str:
        """The hash of the scripts."""
        return web_files.sha256()

    def start(self) -> Guest:
        """The page, once it has joined; UnavailableError where none does."""
        if self._server is None:
            try:
                self._server = WebServer(self.listen, web_files.served(self.runtime))
            except OSError as error:
                raise UnavailableError(f"cannot listen there ({error.strerror or error})", where=self.shown,
                                       fix="give another address or port with --host, or leave the port out") from error
            seconds = self._call(self._server)
        else:
            seconds = self._call_again()
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._may_come():
            if guest := self._server.next_guest(_TURN_S):
                return guest
        raise self.why_silent(seconds) if self._may_come() else self.why_ended(0, "")

    @abstractmethod
    def why_ended(self, code: int, said: str, printed: str = "", spoke: bool = False) -> EdgeSeError:
        """The error for a page that is gone; `spoke`: after it had joined."""

    @abstractmethod
    def why_silent(self, seconds: float) -> EdgeSeError:
        """The error where no page joined within so many seconds, or the one that did answers nothing."""

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None:
            self._server.end()

    @abstractmethod
    def _call(self, server: WebServer) -> float:
        """Brings a page to the server; the seconds within which it should join."""

    @abstractmethod
    def _call_again(self) -> float:
        """The same for a page that was there before."""

    def _may_come(self) -> bool:
        return True


@dataclass(kw_only=True)
class InBrowser(WebPage):
    """In a browser that opens the printed address. It may load the page again and goes on; no other may."""

    progress: Progress = SILENT
    retries: ClassVar[int] = 3

    @property
    def shown(self) -> str:
        """The address of the server without the token."""
        return self._at(self.listen[0])

    def why_ended(self, code: int, said: str, printed: str = "", spoke: bool = False) -> EdgeSeError:
        """It was closed, or did not speak for a minute."""
        return UnavailableError("the page was closed, or its device slept", where=self.shown,
                                fix="keep the page in front and the screen on, and run it again")

    def why_silent(self, seconds: float) -> EdgeSeError:
        """Nobody opened the address, or what opened it does not run the page."""
        fix = ("a browser of 2023 or later is needed; for one on another device also --host, a network that both "
               "share, and a firewall that lets it through")
        return UnavailableError(f"no page joined within {seconds:.0f} s", where=self.shown, fix=fix)

    def _at(self, host: str) -> str:
        port = self._server.port if self._server else self.listen[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _call(self, server: WebServer) -> float:
        host = _own_address() if self.listen[0] in _EVERYWHERE else self.listen[0]
        address = f"{self._at(host)}/{server.token}"
        self.progress.note(f"open this address in a browser: the first page that does is measured\n{address}\n"
                           f"{_qr_code(address)}")
        return OPENED_S

    def _call_again(self) -> float:
        self.progress.note(f"load the page again where it was, within {RETURN_S:.0f} s, and keep it in front")
        return RETURN_S


@dataclass(kw_only=True)
class InNode(WebPage):
    """In node on this machine."""

    retries: ClassVar[int] = 0
    _node: subprocess.Popen[str] | None = field(default=None, repr=False)
    _said: list[str] = field(default_factory=list, repr=False)
    _hearing: threading.Thread | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """Its name."""
        return "node"

    def why_ended(self, code: int, said: str, printed: str = "", spoke: bool = False) -> EdgeSeError:
        """With its own last words. One that did not even start is too old, most likely."""
        fix = "look for what ended it (out of memory?) and run it again" if spoke else _NODE
        return UnavailableError(f"it ended{self._last_words()}", where=self.shown, fix=fix)

    def why_silent(self, seconds: float) -> EdgeSeError:
        """Nothing but a machine that is overloaded makes it that slow."""
        return UnavailableError(f"it did not start within {seconds:.0f} s{self._last_words()}", where=self.shown,
                                fix="wait until this machine does less, and run it again")

    def close(self) -> None:
        """Ends node and the server."""
        if self._node is not None:
            self._node.kill()
            self._node.wait()
        super().close()

    def _call(self, server: WebServer) -> float:
        node = shutil.which("node")
        if node is None:
            raise UnavailableError("node is not installed", where="--device web", fix=f"{_NODE}, or measure in a "
                                   "browser with --serve")
        address = f"http://{LOOPBACK}:{server.port}/{server.token}"
        self._node = subprocess.Popen([node, web_files.SCRIPTS / "node.mjs", address, self.runtime], text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      errors="replace", start_new_session=True)
        self._hearing = threading.Thread(target=self._hear, args=(self._node, server), daemon=True)
        self._hearing.start()
        return STARTED_S

    def _call_again(self) -> float:
        return 0.0

    def _may_come(self) -> bool:
        return self._node is not None and self._node.poll() is None

    def _hear(self, node: subprocess.Popen[str], server: WebServer) -> None:
        """Keeps what node says until it ends, and ends the conversation then."""
        with node.stderr or io.StringIO() as lines:
            for line in lines:
                self._said = [*self._said[-19:], line.strip()]
        server.lose()

    def _last_words(self) -> str:
        """Its error message, else its last line."""
        if self._hearing is not None and not self._may_come():
            self._hearing.join(_WORDS_S)
        lines = [line for line in self._said if line]
        told = next((line for line in lines if "Error" in line), lines[-1] if lines else None)
        return f": {told[:300]}" if told else ""


def read_address(text: str) -> tuple[str, int]:
    """(host, port) of HOST[:PORT], port 0 where there is none; EdgeSeError for what is no address."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or 0
    except ValueError:
        host = None
    if not host or parts.netloc != text or "@" in text:
        raise EdgeSeError(f"{text!r} is no address to listen on", where="--host",
                          fix="write HOST or HOST:PORT, such as 0.0.0.0:8765 for every network of this machine")
    return host, port


def _own_address() -> str:
    """The address of this machine in its network. Nothing is sent: a datagram socket only chooses its way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)
            return str(probe.getsockname()[0])
        except OSError:
            return LOOPBACK


def _qr_code(address: str) -> str:
    """Of block characters; where segno is missing, what brings it."""
    if not importable("segno"):
        return "`pip install 'edge-se[web]'` also shows it as a QR code"
    import segno

    drawn = io.StringIO()
    segno.make_qr(address).terminal(drawn, compact=True)
    return drawn.getvalue()

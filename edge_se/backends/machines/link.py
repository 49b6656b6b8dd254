"""The conversation with an agent: requests and answers, files by hash, and what happens when the connection drops."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from edge_se.backends.machines.transport import Transport, greeting
from edge_se.core.errors import EdgeSeError, UnavailableError
from edge_se.core.progress import SILENT, Advance, Progress
from edge_se.device.agent import CHUNK, MAGIC, PROTOCOL, read_frame, write_frame
from edge_se.device.agent.cache import FILES, IMAGES

T = TypeVar("T")
PING_S = 5.0
GREETING_S = 60.0  # a slow device on a slow line; OpenSSH itself gives up after ten seconds without an answer
ENDS_S = 10.0  # between the end of its answers and its own
CHATTER = 1 << 16  # what a login shell may print before the agent speaks


class _DroppedError(Exception):
    """The connection ended; `error` says why, `again` whether another attempt makes sense."""

    def __init__(self, error: EdgeSeError, again: bool) -> None:
        super().__init__(str(error))
        self.error, self.again = error, again


class Link:
    """One agent. After a dropped connection it starts another and opens again what was open.

    It gives up after `retries` drops in a row. Files, images and engines lie in the device's cache by their hash, so
    none is sent or built twice.
    """

    def __init__(self, transport: Transport, *, python: str | None = None, progress: Progress = SILENT) -> None:
        self._transport, self._python, self._progress = transport, python, progress
        self._token = uuid.uuid4().hex
        self._connection: _Connection | None = None
        self._sessions: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, bytes] = {}
        self._drops = 0
        self._sent, self._told = set[str](), False  # images of this run, and whether it was said that they went twice

    @property
    def shown(self) -> str:
        """Where the device is, for messages."""
        return self._transport.shown

    @property
    def agent_sha256(self) -> str:
        """The hash of the agent."""
        return self._transport.agent_sha256

    def __enter__(self) -> Link:
        """Connects; EdgeSeError with the fix when that fails."""
        try:
            self._connected()
        except _DroppedError as dropped:
            raise dropped.error from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """The device deletes what it was sent, except engines. An interrupted agent stops at once."""
        if self._connection is not None:
            self._connection.end()
            self._connection = None

    def ask(self, operation: str, payload: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """(answer, payload). Errors of the agent become EdgeSeErrors; a dropped connection is made again."""
        return self._through(lambda connection: connection.exchange({"op": operation, **fields}, payload))

    def _through(self, work: Callable[[_Connection], T]) -> T:
        """Does `work` over a connection. When that drops, it starts again over another one."""
        while True:
            try:
                done = work(self._connected())
                self._drops = 0
                return done
            except _DroppedError as dropped:
                self._connection = None
                self._drops += 1
                if not dropped.again or self._drops > self._transport.retries:
                    if self._transport.bootstraps:
                        self._tidy()
                    raise dropped.error from None
                self._progress.note(f"{self.shown}: {dropped.error.what}; trying again "
                                    f"({self._drops} of {self._transport.retries})")
                time.sleep(self._drops)

    def open(self, session: str, content: bytes, **fields: Any) -> dict[str, Any]:
        """Sends a model unless it is there, and opens it as `session`."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._contents[sha256] = content
        with self._progress.task(f"sending to {self.shown}", len(content)) as advance:
            self._through(lambda connection: connection.send(sha256, lambda: content, FILES, advance))
        answer, _ = self.ask("open", session=session, sha256=sha256, **fields)
        self._sessions[session] = {"sha256": sha256, **fields}
        return answer

    def ask_about(self, sha256: str, images: Callable[[], bytes], operation: str,
                  **fields: Any) -> tuple[dict[str, Any], bytes]:
        """As `ask`, about images of this hash, which are sent unless the device keeps them. A drop repeats both."""
        def work(connection: _Connection) -> tuple[dict[str, Any], bytes]:
            if connection.send(sha256, images, IMAGES):
                if sha256 in self._sent and not self._told:
                    self._told = True
                    self._progress.note(f"{self.shown}: its disk has no room for all images: some are sent again for "
                                        "each file; free some space there")
                self._sent.add(sha256)
            return connection.exchange({"op": operation, "sha256": sha256, **fields})
        return self._through(work)

    def close(self, session: str) -> None:
        """Frees it on the device."""
        if self._sessions.pop(session, None) is not None and self._connection is not None:
            self.ask("close", session=session)

    def _connected(self) -> _Connection:
        """The connection, made and brought up to date when there is none."""
        if self._connection is None:
            connection = _Connection(self._transport, self._python, self._token)
            try:
                self._open_again(connection)
            except BaseException:  # else it would go on, and keep others from the device
                connection.end()
                raise
            self._connection = connection
        return self._connection

    def _open_again(self, connection: _Connection) -> None:
        """What was open before the drop."""
        for session, fields in self._sessions.items():
            connection.send(fields["sha256"], partial(self._contents.__getitem__, fields["sha256"]), FILES)
            engine = connection.exchange({"op": "open", "session": session, **fields})[0].get("engine") or {}
            if not engine.get("cached", True):
                self._progress.note(f"{self.shown}: an engine that was not kept was built again after the drop; "
                                    "it may answer otherwise")

    def _tidy(self) -> None:
        """After an agent died, another one removes its files. This may fail: the next run does it too."""
        with contextlib.suppress(EdgeSeError, _DroppedError):
            _Connection(self._transport, self._python, self._token).end()


class _Connection:
    """One process of the transport, from its greeting to its end."""

    def __init__(self, transport: Transport, python: str | None, token: str) -> None:
        self._transport, self._process, self._met, self._busy = transport, transport.start(), False, False
        self._frames: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._said: list[bytes] = []
        self._printed, self._spoke = b"", False
        self._writing, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()
        try:
            if transport.bootstraps:
                self._write(lambda stream: (stream.write(greeting(python)), stream.flush()))
            self.exchange({"op": "hello", "protocol": PROTOCOL, "token": token}, seconds=GREETING_S)
        except BaseException:
            self._stop()
            raise
        self._met = True
        self._threads.append(threading.Thread(target=self._keep_alive, daemon=True))
        self._threads[-1].start()

    def exchange(self, header: dict[str, Any], payload: bytes = b"", *,
                 seconds: float | None = None) -> tuple[dict[str, Any], bytes]:
        """Sends one request and waits for its answer."""
        end = None if seconds is None else time.monotonic() + seconds
        self._busy = True
        self._write(lambda stream: write_frame(stream, header, payload))
        while True:
            try:
                frame = self._frames.get(timeout=PING_S)
                break
            except queue.Empty:
                if end is not None and time.monotonic() > end:
                    self._process.kill()
                    raise _DroppedError(self._transport.why_silent(seconds or 0.0), False) from None
        if frame is None:
            raise self._dropped()
        self._busy = False
        answer, content = frame
        if not answer.get("ok"):
            raise self._refused(answer.get("error") or {})
        return answer, content

    def send(self, sha256: str, read: Callable[[], bytes], kind: str,
             advance: Advance = lambda units: None) -> bool:
        """A file in acknowledged parts, unless the device has it; whether it was sent."""
        named = {"sha256": sha256, "kind": kind}
        if self.exchange({"op": "has", **named})[0]["has"]:
            return False
        content = read()
        for offset in range(0, len(content), CHUNK):
            part = content[offset : offset + CHUNK]
            self.exchange({"op": "put", "offset": offset, "total": len(content), **named}, part)
            advance(len(part))
        return True

    def end(self) -> None:
        """Ends the agent: an idle one gets a goodbye, a busy one stops at once. Both remove what they received."""
        with contextlib.suppress(_DroppedError, EdgeSeError):
            if self._busy:
                self._write(lambda stream: write_frame(stream, {"op": "abort"}))
            else:
                self.exchange({"op": "bye"}, seconds=10)
        self._stop()

    def _refused(self, error: dict[str, Any]) -> Exception:
        where, what = self._transport.shown, str(error.get("what", "the agent refused without saying why"))
        if error.get("kind") == "bug":
            return RuntimeError(f"the agent on {where} has a bug:\n{what}")
        return EdgeSeError(what, where=where, fix=str(error.get("fix") or "") or None)

    def _write(self, write: Any) -> None:
        try:
            with self._writing:
                write(self._process.stdin)
        except (BrokenPipeError, ValueError, OSError):
            raise self._dropped() from None

    def _keep_alive(self) -> None:
        """Tells the agent that the host is there, also while that computes for minutes: an agent alone ends itself."""
        with contextlib.suppress(ValueError, OSError):  # whoever asks next learns of a connection that ended
            while not self._over.wait(PING_S):
                with self._writing:
                    write_frame(self._process.stdin, {"op": "ping"})

    def _dropped(self) -> _DroppedError:
        """Why it ended. Only a connection that had worked and then dropped may be made again."""
        try:
            code = self._process.wait(timeout=ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return _DroppedError(UnavailableError(
                "what answers there is not the agent, or stopped within an answer", where=self._transport.shown,
                fix="run it again; no program there may write between its answers"), False)
        self._threads[1].join(2)
        refusal = next((frame for frame in self._left() if frame is not None), None)
        if refusal is not None and not refusal[0].get("ok"):  # the bootstrap's last words
            error = self._refused(refusal[0].get("error") or {})
            if isinstance(error, EdgeSeError):
                return _DroppedError(error, False)
        said, printed = (content.decode("utf-8", "replace") for content in (b"".join(self._said), self._printed))
        error = self._transport.why_ended(code, said, printed, self._spoke)
        return _DroppedError(error, self._met and code == 255)

    def _left(self) -> list[tuple[dict[str, Any], bytes] | None]:
        self._threads[0].join(2)
        return list(self._frames.queue)

    def _stop(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(2)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            if self._find_magic():
                while (frame := read_frame(self._process.stdout)) is not None:
                    self._frames.put(frame)
        self._frames.put(None)

    def _find_magic(self) -> bool:
        """Skips what a login shell prints before the agent speaks."""
        seen = b""
        assert self._process.stdout
        while not seen.endswith(MAGIC):
            part = self._process.stdout.read(1)
            if not part or len(seen) > CHATTER:
                self._printed = seen
                return False
            seen += part
        self._spoke = True
        return True

    def _read_errors(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in iter(self._process.stderr.readline, b"") if self._process.stderr else ():
                self._said = [*self._said[-19:], line]

"""What host and agent write to each other."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 1
MAGIC = b"edge-se-agent/1\n"  # a login shell may print before it on stdout
CHUNK, LARGEST = 1 << 20, 1 << 30  # bytes of a file's part, of a frame


def read_frame(stream: Any) -> tuple[dict[str, Any], bytes] | None:
    """(header, payload) from a binary stream: 4 bytes length, JSON, then as many bytes as its "bytes" says.

    None at its end; ValueError for what is no frame.
    """
    size = stream.read(4)
    if len(size) < 4:
        return None
    length = int.from_bytes(size, "big")
    header = json.loads(stream.read(length)) if length <= LARGEST else None
    if not isinstance(header, dict):
        raise ValueError("no frame")
    count = header.get("bytes", 0)
    if not isinstance(count, int) or not 0 <= count <= LARGEST:
        raise ValueError("no frame")
    payload = stream.read(count) if count else b""
    return (header, payload) if len(payload) == count else None


def write_frame(stream: Any, header: dict[str, Any], payload: bytes = b"") -> None:
    """The counterpart of `read_frame`."""
    content = json.dumps(dict(header, bytes=len(payload)) if payload else header).encode()
    stream.write(len(content).to_bytes(4, "big") + content + payload)
    stream.flush()


class Pipe:
    """Standard input without a buffer, so that `select` sees all that waits."""

    def fileno(self) -> int:
        """For `select`."""
        return 0

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer at the end."""
        parts, missing = [], count
        while missing:
            part = os.read(0, min(missing, CHUNK))
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

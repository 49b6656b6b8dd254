"""What goes wrong on a device."""

from __future__ import annotations


class AgentError(Exception):
    """What went wrong and what mends it; `kind` is for programs.

    It is full, busy, model, image, runtime, cuda, protocol or bug.
    """

    def __init__(self, kind: str, what: str, fix: str = "") -> None:
        super().__init__(f"{what}; {fix}" if fix else what)
        self.kind, self.what, self.fix = kind, what, fix

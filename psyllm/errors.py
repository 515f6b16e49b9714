"""The ways to fail: a wrong request (UsageError, exit 2), one that nothing answers to (NoMatch, exit 1), and a failure
at a named boundary (Failure, exit 1)."""

from __future__ import annotations

from typing import Literal

Boundary = Literal["endpoint", "schema", "budget", "store", "stopped", "training"]


class PsyllmError(Exception):
    """Says what is wrong in one line, and in `hint` what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(PsyllmError):
    """The user's input is wrong: a file, a line, a value, a flag."""

    exit_code = 2


class NoMatch(UsageError):
    """The request is well-formed, and nothing answers to it: exit 1, as grep does."""

    exit_code = 1


class Failure(PsyllmError):
    """Something failed at a boundary. `fatal` ends the run (a revoked key); otherwise it ends one dialogue."""

    def __init__(self, boundary: Boundary, message: str, *, hint: str = "", fatal: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.boundary = boundary
        self.fatal = fatal

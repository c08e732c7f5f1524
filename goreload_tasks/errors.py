"""The one error that a person can cause."""

from __future__ import annotations


class GoreloadError(Exception):
    """What a person did, asked for or has set up cannot be done.

    The message is one line: what is wrong, where (file, setting, value), and the mend.
    A task turns it into that line on stderr and the exit code.

    Args:
        message: the line.
        code: exit code; 2 unless a program's own result is passed on (1: it does not compile).
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code

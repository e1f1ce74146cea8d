"""What the exit code of every command says."""

from __future__ import annotations

ALL_OK = 0
SOME_FAILED = 1  # also: a digest did not match
USAGE = 2
INPUT_UNREADABLE = 3
OUTPUT_FAILED = 4
BELOW_MIN_SUCCESS = 5
INTERRUPTED = 130


class Ended(Exception):
    """Ends the program with an exit code and, where there is something to say, one line on standard error."""

    def __init__(self, exit_code: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code

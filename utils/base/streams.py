"""Where output goes: a terminal, or a place for plain lines.

Plain are a file, a pipe, TERM=dumb and NO_COLOR (https://no-color.org): no escape codes, no line that is drawn again.
Rich is imported where something is drawn, so that `--help` does without it.
"""

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 120  # columns of a table in a file
# Where a stream goes while its file descriptor is kept from native libraries, see `utils.base.startup.quiet_stderr`.
KEPT: dict[str, TextIO] = {}


class StandardStream(io.TextIOBase):
    """sys.stdout or sys.stderr as it is at each moment; a character that its encoding lacks is written as an escape."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def stream(self) -> TextIO | None:
        """The stream, also while a display has replaced it by its own; None if it was closed before the start."""
        stream = KEPT.get(self.name) or getattr(sys, self.name)
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        stream = self.stream
        if stream is not None:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            self.stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(AttributeError, ValueError):  # None, or closed
            return self.stream.isatty()  # type: ignore[union-attr]
        return False

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()


def is_terminal(name: str = "stdout") -> bool:
    """Whether escape codes may be written to a stream, "stdout" or "stderr"."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return not plain and StandardStream(name).isatty()


def make_console(name: str = "stdout", width: int | None = None) -> "Console":
    """Rich's console on a stream, "stdout" or "stderr".

    Args:
        width: columns; None is the width of the terminal, or `PLAIN_WIDTH` where there is none.
    """
    from rich.console import Console

    class PlainConsole(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False  # never hidden: a process that is killed could not bring it back

    terminal = is_terminal(name)
    if width is None and not terminal:
        width = PLAIN_WIDTH
    return PlainConsole(
        file=StandardStream(name),  # type: ignore[arg-type]
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        width=width,
        force_jupyter=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def write_line(text: str, name: str) -> None:
    """Write a line to "stdout" or "stderr" at once."""
    stream = StandardStream(name)
    stream.write(f"{text}\n")
    stream.flush()

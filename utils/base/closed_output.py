"""Let a command go on when nobody reads its output any more: `train.py | head`, a terminal that was closed."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

CLOSED = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal


class ForgivingStream:
    """A text stream whose writes go nowhere once its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text; return its length."""
        self.attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self.attempt(self.stream.flush)

    def close(self) -> None:
        """Flush only: a library that kept this stream, as absl's logging does, must not close that of the process."""
        self.flush()

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something with the stream; if its reader is gone, connect it to the null device."""
        try:
            action()
        except OSError as error:
            if error.errno not in CLOSED:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def survive_closed_output() -> Iterator[None]:
    """Let the block, or the function that this decorates, go on without output if the reader of it is gone."""
    before = sys.stdout, sys.stderr
    # None: it was closed before the start, `train.py >&-`; print leaves it out.
    sys.stdout, sys.stderr = (stream and ForgivingStream(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before

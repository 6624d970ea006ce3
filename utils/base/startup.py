"""Keep native libraries quiet and interruptible while they start."""

import atexit
import contextlib
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO, cast

from utils.base.closed_output import ForgivingStream
from utils.base.errors import UserError
from utils.base.streams import KEPT

# Ctrl-C, the end of a job, a closed terminal, Ctrl-\ ; the last two are not everywhere.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)
# Keras and TensorFlow import these where they are installed, for functions that no command calls.
UNUSED_BY_KERAS = ("jax", "matplotlib", "pandas", "sklearn", "tensorflow")


@contextlib.contextmanager
def quiet_stderr(loud: bool = False) -> Iterator[None]:
    """Hide what native libraries print at start-up, unless something unexpected happens, or `loud`.

    TensorFlow logs device probing to file descriptor 2 before any of its log settings take effect.
    """
    if loud:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    progress = keep_progress()
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise  # nothing more to say
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            progress()


def quiet_end() -> None:
    """Hide what native libraries print while the process ends; an uncaught error is printed before that."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


@contextlib.contextmanager
def without_notices(loud: bool = False) -> Iterator[None]:
    """Hide Python warnings by which a library says that a part of it moves elsewhere, unless `loud`.

    >>> with without_notices():
    ...     warnings.warn("Warning: tf.lite.Interpreter is deprecated and is scheduled for deletion")
    """
    with warnings.catch_warnings():
        if not loud:
            warnings.filterwarnings("ignore", r"(?s).*\bis deprecated\b")
        yield


def keep_progress() -> Callable[[], None]:
    """Let lines and progress on stderr reach the terminal while its descriptor is hidden; return what ends this."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # None, closed, or not a file
        if sys.stderr.fileno() == 2 and "stderr" not in KEPT:
            file = open(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
            KEPT["stderr"] = cast("TextIO", ForgivingStream(file))
            return lambda: KEPT.pop("stderr").stream.close()  # type: ignore[attr-defined]
    return lambda: None


def import_keras(loud: bool = False) -> None:
    """Import Keras and its backend without what they print, if that was not done yet: for functions that users import.

    >>> import_keras()
    """
    if "keras" in sys.modules:
        return
    with quiet_stderr(loud), interrupt_later():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs


@contextlib.contextmanager
def without_unused_packages() -> Iterator[None]:
    """Import Keras and TensorFlow in this block in two thirds of the time: as if UNUSED_BY_KERAS were not
    installed, but for the backend.

    After the block these can be imported as ever. What is imported already stays.

    >>> with without_unused_packages():
    ...     import keras
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    hidden = [name for name in UNUSED_BY_KERAS if name not in sys.modules and name != backend]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is an ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def interrupt_later() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block: during imports of native libraries it may be lost, or crash them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[tuple[int, FrameType | None]] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: received.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if received and callable(handler):
        handler(*received[0])


@contextlib.contextmanager
def restore_signal_handlers() -> Iterator[None]:
    """Restore the handlers of STOP_SIGNALS at the end of the block, however it ends."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def end_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process during a block of native code, where Python's handlers never run.

    TensorFlow takes over SIGTERM there until all workers have joined. Both handlers are restored afterwards.
    """
    with restore_signal_handlers():
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
        yield

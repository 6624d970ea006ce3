"""Keep native libraries quiet and interruptible while they start."""

import contextlib
import os
import signal
import sys
import tempfile
import threading

from utils.base.errors import UserError


@contextlib.contextmanager
def quiet_stderr():
    """Keep what native libraries print at start-up off the terminal, unless something unexpected happens.

    TensorFlow logs device probing to file descriptor 2 before any of its log settings count.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise  # that says it all
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def interrupt_later():
    """Let Ctrl-C wait for the end of the block: amid the imports of native libraries it may be lost, or crash them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted = []
    handler = signal.signal(signal.SIGINT, lambda *about: noted.append(about))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if noted and callable(handler):
        handler(*noted[0])


@contextlib.contextmanager
def end_at_once():
    """Let Ctrl-C end the process during a block that waits in native code, where Python's handlers never run.

    SIGTERM TensorFlow takes for itself there, until all workers have come; afterwards both are as before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

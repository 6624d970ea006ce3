"""Say at once that a signal came, also while the main thread is inside native code, where Python's handlers wait."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from utils.base.startup import STOP_SIGNALS, restore_signal_handlers
from utils.base.terminal import say

PATIENCE = 3  # seconds that the main thread has to obey a second signal


@contextlib.contextmanager
def announce_stop(workers: int) -> Iterator[None]:
    """Inside this block the first of STOP_SIGNALS is answered with a line, and the second ends the process for certain.

    What the signals do is up to their handlers, such as those of `utils.training.checkpoint.StopOnSignal`. The handlers
    that were there are restored.

    Args:
        workers: processes that train together; of several the epoch ends first, not the step.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no handlers there
        return
    unit = "step" if workers == 1 else "epoch"
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    ended = threading.Event()
    thread = threading.Thread(target=answer, args=(reader, unit, ended), daemon=True)
    thread.start()
    try:
        with restore_signal_handlers():
            yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(writer)
        thread.join()
        os.close(reader)


def answer(reader: int, unit: str, ended: threading.Event) -> None:
    """Read the numbers of signals until the pipe is closed, and answer them."""
    told = False
    while numbers := os.read(reader, 1):
        if numbers[0] not in STOP_SIGNALS:
            continue
        if not told:
            told = True
            say(f"stopping after this {unit}; again to stop now", "stderr")
            continue
        say("stopping now", "stderr")
        if not ended.wait(PATIENCE):  # the main thread is inside native code
            os._exit(128 + numbers[0])

"""Process many items in several processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from utils.base.errors import UserError

AnyItem = TypeVar("AnyItem")
AnyResult = TypeVar("AnyResult")


def run_parallel(
    function: Callable[[AnyItem], AnyResult],
    items: Sequence[AnyItem],
    workers: int | None = None,
    chunk: int = 1,
    advice: str = "--workers",
) -> Iterator[tuple[AnyItem, AnyResult]]:
    """Yield `(item, function(item))` in the order of completion, from this process or from several.

    Args:
        function: can be pickled, as can items and results.
        items: what to process.
        workers: processes; None is one per core. A single chunk stays in this process.
        chunk: items that a process takes at a time.
        advice: the option or key that lowers the number of processes, for the error message.

    Raises:
        UserError: a process was killed.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    workers = min(workers or os.cpu_count() or 1, len(chunks))
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    # Started afresh rather than forked: a fork would copy the locks of running threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        tasks = {pool.submit(run_chunk, function, part): part for part in chunks}
        try:
            for task in as_completed(tasks):
                yield from zip(tasks[task], task.result(), strict=True)
        except BrokenProcessPool:
            raise UserError(
                f"A process was killed, probably for lack of memory: use fewer than {workers} with {advice}. (A script "
                "that calls this needs `if __name__ == '__main__':` around the call.)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def run_chunk(function: Callable[[AnyItem], AnyResult], items: Sequence[AnyItem]) -> list[AnyResult]:
    """The results of one chunk."""
    return [function(item) for item in items]

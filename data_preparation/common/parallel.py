"""Work on many items in several processes."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import cv2

from utils.base.errors import UserError


def run_parallel(function, items, workers=None, chunk=1, advice="--workers"):
    """Yield `(item, function(item))` as they get done, in this process or in several.

    Args:
        function: can be pickled, as the items and results.
        workers: processes; None is one per core. Work of one chunk stays in this process.
        chunk: items that a process takes at a time.
        advice: what an error names to lower the number of processes with.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    workers = min(workers or os.cpu_count(), len(chunks))
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
                f"A process was ended, probably for lack of memory: use fewer than {workers} with {advice}. (A script "
                "that calls this needs `if __name__ == '__main__':` around the call.)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def run_chunk(function, items):
    return [function(item) for item in items]

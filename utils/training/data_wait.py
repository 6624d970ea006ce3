"""Data wait: how much of its time training waits for the next batch."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from omegaconf import DictConfig

MAX_SHARE = 0.1  # data wait above which a faster loader pays


class DataWait:
    """Measure an iteration: `for batch in data_wait(batches): ...`

    The first batch does not count: loaders start to read ahead with it.

    Args:
        clock: returns seconds.

    Attributes:
        waited, worked: seconds of the last iteration spent for the next batch, and between batches.

    Example:
        >>> data_wait = DataWait()
        >>> list(data_wait([1, 2, 3]))
        [1, 2, 3]
        >>> 0 <= data_wait.share <= 1
        True
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.waited = self.worked = 0.0

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        self.waited = self.worked = 0.0
        iterator = iter(batches)
        try:
            batch = next(iterator, None)
            while batch is not None:
                handed_over = self.clock()
                yield batch
                returned = self.clock()
                batch = next(iterator, None)
                self.worked += returned - handed_over
                self.waited += self.clock() - returned
        finally:
            if hasattr(iterator, "close"):  # a generator: loaders stop their threads
                iterator.close()

    @property
    def share(self) -> float:
        """Share of the time that was data wait, 0 to 1."""
        total = self.waited + self.worked
        return self.waited / total if total else 0.0

    def advice(self, cfg: DictConfig) -> str | None:
        """One line on what to change, or None if the data comes fast enough."""
        if self.share <= MAX_SHARE:
            return None
        if cfg.DATASET.SERVICE is None:
            advice = [f"raise DATALOADER_WORKERS (now {cfg.DATALOADER_WORKERS})"]
        else:
            advice = [f"add hosts to DATASET.SERVICE (now {len(cfg.DATASET.SERVICE)})"]
        if cfg.DATASET.CACHE is None and cfg.DATA_GENERATOR_TYPE != "DALI_GENERATOR":
            advice.append("keep decoded images with DATASET.CACHE=memory")
        if cfg.AUGMENTATION.ENGINE == "tensorflow":
            advice.append("on a CPU set AUGMENTATION.ENGINE=albumentations")
        if cfg.PREPROCESS_DATA.RESIZE.VALUE:
            advice.append("store the images at the size of INPUT")
        if cfg.AUGMENTATION.ELASTIC.PROBABILITY > 0:
            advice.append("lower AUGMENTATION.ELASTIC.PROBABILITY (the slowest knob)")
        return f"Data wait: {self.share:.0%} of the training time. To reduce it, {', '.join(advice)}."

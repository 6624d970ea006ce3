"""Read the images of a prediction in threads, ahead of the networks, with a progress bar."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Task
from utils.base.terminal import say
from utils.inference.sources import Source, SourceSettings


class SourceImage(NamedTuple):
    """One image of a source.

    source: the file or series it comes from; frame: which of its images; image: uint8 or uint16
    `(height, width, channels)`; truth: `(height, width)` class indices, or None without a mask.
    """

    source: Source
    frame: int
    image: np.ndarray
    truth: np.ndarray | None = None

    @property
    def is_last(self) -> bool:
        """Whether it is the last image of its source."""
        return self.frame == self.source.frames - 1


class Progress(Task):
    """How many images are predicted, and the sources that failed.

    Args:
        sources: how many there are; each counts as one image until it is opened.
        verbose: false shows nothing.

    Attributes:
        problems: {source: what is wrong with it}.
    """

    def __init__(self, sources: int, verbose: bool = True) -> None:
        super().__init__("predict", sources, quiet=not verbose, compiles=True)
        self.problems: dict[Source, str] = {}

    def opened(self, source: Source) -> None:
        """Count the images of a source."""
        self.total = (self.total or 0) + source.frames - 1

    def failed(self, source: Source, error: UserError) -> None:
        """Note the first problem of a source and print it."""
        self.problems.setdefault(source, str(error))
        say(f"Skipped: {error}", "stderr")


def read_ahead(
    sources: Sequence[Source], reading: SourceSettings, workers: int, progress: Progress
) -> Iterator[SourceImage]:
    """Yield the images of all sources in order, while threads read the following ones.

    At most `workers + 1` images are read ahead. Sources that cannot be read are reported to `progress`.
    """
    frames = open_sources(sources, reading, progress)
    with ThreadPoolExecutor(workers) as threads:
        pending: deque[tuple[Source, int, Future]] = deque()
        while True:
            while len(pending) <= workers and (following := next(frames, None)) is not None:
                source, frame = following
                pending.append((source, frame, threads.submit(source.read, frame)))
            if not pending:
                return
            source, frame, future = pending.popleft()
            if source in progress.problems:
                continue
            try:
                image, truth = future.result()
            except UserError as error:
                progress.failed(source, error)
                source.close()
                continue
            yield SourceImage(source, frame, image, truth)


def open_sources(
    sources: Sequence[Source], reading: SourceSettings, progress: Progress
) -> Iterator[tuple[Source, int]]:
    """Open one source after the other, each when the images of the one before are taken; yield (source, frame)."""
    for source in sources:
        try:
            source.open(reading)
        except UserError as error:
            progress.failed(source, error)
            continue
        progress.opened(source)
        for frame in range(source.frames):
            if source in progress.problems:
                break
            yield source, frame

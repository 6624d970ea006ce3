"""Pictures to look at: image, truth and prediction, errors side by side; masks in colours."""

import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image

from utils.base.pictures import displayable
from utils.inference.comparison import compare
from utils.inference.writers import MaskPrediction, Writer, WriterSettings
from utils.inference.writers.png import write_png

THREADS = min(4, os.cpu_count() or 1)
AHEAD = 4 * THREADS  # pictures that may wait to be drawn, each with its image


class PictureWriter(Writer[MaskPrediction]):
    """Writes `pictures/<name>.png` in threads, while the network predicts; opens the first ones if asked to.

    A picture of 256x256 takes 18 ms: one after the other, a fast network would wait for its pictures.
    """

    def __init__(self, folder: Path, settings: WriterSettings) -> None:
        super().__init__(folder, settings)
        self.count = 0
        self.threads = ThreadPoolExecutor(THREADS)
        self.pending: deque[Future[None]] = deque()

    def write(self, prediction: MaskPrediction) -> None:
        for index, (name, labels) in enumerate(zip(prediction.names(), prediction.labels, strict=True)):
            image = stored_image(prediction, index)  # here: a series is closed when it is written
            opens = self.count < self.settings.show and has_screen()
            self.pending.append(
                self.threads.submit(self.draw, name, image, prediction.truths[index], labels, opens=opens)
            )
            self.count += 1
            while len(self.pending) > AHEAD:
                self.pending.popleft().result()

    def draw(self, name: str, image: np.ndarray, truth: np.ndarray | None, labels: np.ndarray, *, opens: bool) -> None:
        """Write a picture of an image `(height, width, channels)`, and open it."""
        picture = compare(shown(image, self.settings.center_channel), truth, labels, self.settings.meaning)
        write_png(self.folder / "pictures" / f"{name}.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if opens:
            Image.fromarray(picture).show(title=name)

    def flush(self) -> None:
        while self.pending:
            self.pending.popleft().result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.threads.shutdown(cancel_futures=kind is not None)


def shown_image(prediction: MaskPrediction, index: int, center_channel: bool) -> np.ndarray:
    """An image of a prediction at the size of its mask: `(height, width, 3)` uint8 RGB; see `displayable`."""
    return shown(stored_image(prediction, index), center_channel)


def stored_image(prediction: MaskPrediction, index: int) -> np.ndarray:
    """An image of a prediction: `(height, width, channels)` uint8 or uint16."""
    return prediction.image if prediction.image is not None else prediction.source.display_image(index)


def shown(image: np.ndarray, center_channel: bool) -> np.ndarray:
    """Of `(height, width, channels)` uint8 or uint16 what is shown: `(height, width, 3)` uint8 RGB."""
    return displayable(image / np.float32(np.iinfo(image.dtype).max), center_channel)


def has_screen() -> bool:
    """Whether pictures can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

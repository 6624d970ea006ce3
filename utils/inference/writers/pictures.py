"""Pictures to look at: image, truth and prediction, errors side by side; masks in colours."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.base.pictures import displayable
from utils.inference.comparison import compare
from utils.inference.writers import MaskPrediction, Writer, WriterSettings
from utils.inference.writers.png import write_png


class PictureWriter(Writer[MaskPrediction]):
    """Writes `pictures/<name>.png` and opens the first ones on the screen if asked to."""

    def __init__(self, folder: Path, settings: WriterSettings) -> None:
        super().__init__(folder, settings)
        self.count = 0

    def write(self, prediction: MaskPrediction) -> None:
        for index, (name, labels) in enumerate(zip(prediction.names(), prediction.labels, strict=True)):
            image = shown_image(prediction, index, self.settings.center_channel)
            picture = compare(image, prediction.truths[index], labels, self.settings.meaning)
            write_png(self.folder / "pictures" / f"{name}.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            if self.count < self.settings.show and has_screen():
                Image.fromarray(picture).show(title=name)
            self.count += 1


def shown_image(prediction: MaskPrediction, index: int, center_channel: bool) -> np.ndarray:
    """An image of a prediction at the size of its mask: `(height, width, 3)` uint8 RGB; see `displayable`."""
    image = prediction.image if prediction.image is not None else prediction.source.display_image(index)
    return displayable(image / np.float32(np.iinfo(image.dtype).max), center_channel)


def has_screen() -> bool:
    """Whether pictures can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

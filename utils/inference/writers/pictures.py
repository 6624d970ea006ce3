"""Pictures to look at: image, truth and prediction side by side."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.base.pictures import displayable, legend, side_by_side
from utils.inference.writers import MaskPrediction, Writer, WriterSettings
from utils.inference.writers.png import write_png

LARGEST_SIDE = 2048  # pixels; larger images are shown smaller


class PictureWriter(Writer[MaskPrediction]):
    """Writes `pictures/<name>.png` and opens the first ones on the screen if asked to."""

    def __init__(self, folder: Path, settings: WriterSettings) -> None:
        super().__init__(folder, settings)
        self.count = 0

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        for index, (name, labels) in enumerate(zip(prediction.names(), prediction.labels, strict=True)):
            image = prediction.image if prediction.image is not None else source.display_image(index)
            picture = self.draw(image, prediction.truths[index], labels)
            write_png(self.folder / "pictures" / f"{name}.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            if self.count < self.settings.show and has_screen():
                Image.fromarray(picture).show(title=name)
            self.count += 1

    def draw(self, image: np.ndarray, truth: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
        """The panels with a legend, uint8 RGB."""
        shrink = max(1, -(-max(labels.shape) // LARGEST_SIDE))
        image, labels = image[::shrink, ::shrink], labels[::shrink, ::shrink]
        if truth is not None:
            truth = truth[::shrink, ::shrink]
            if self.settings.ignore_label is not None:
                truth = np.where(truth == self.settings.ignore_label, 0, truth)
        image = displayable(image / np.float32(np.iinfo(image.dtype).max), self.settings.center_channel)
        panels = side_by_side(image, truth, labels, self.settings.multi_label)
        return np.vstack([panels, legend(self.settings.class_names, panels.shape[1])])


def has_screen() -> bool:
    """Whether pictures can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

"""Write what a model predicts."""

from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError
from utils.files import write_whole
from utils.visualize import displayable, side_by_side


class PredictionWriter:
    """Write bare masks and pictures of predictions into a folder.

    Args:
        folder: gets the folders `masks` and `pictures`.
        classes: int, OUTPUT.CLASSES.
        center_channel: bool, SHOW_CENTER_CHANNEL_IMAGE.
    """

    def __init__(self, folder, classes, center_channel):
        self.classes = classes
        self.center_channel = center_channel
        self.masks = Path(folder) / "masks"
        self.pictures = Path(folder) / "pictures"
        self.written = {}

    def write(self, path, image, truth, probability):
        """Write the prediction for one image.

        Args:
            path: of the image; gives the names of the files.
            image: `(height, width, channels)` float in [0, 1].
            truth: `(height, width)` class indices, or None.
            probability: `(height, width, classes)` float.

        Raises:
            UserError: another image of the same name was written before.
        """
        if path.stem in self.written:
            raise UserError(f"{path} and {self.written[path.stem]} would both be written as {path.stem}.png.")
        self.written[path.stem] = path
        mask = class_indices(probability)
        write_png(self.masks / f"{path.stem}.png", mask)
        picture = side_by_side(displayable(image, self.center_channel), truth, mask)
        write_png(self.pictures / f"{path.stem}.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def class_indices(probability):
    """`(height, width, classes)` probabilities -> `(height, width)` uint8 class indices; one class: p > 0.5 is 1."""
    if probability.shape[-1] == 1:
        return (probability[..., 0] > 0.5).astype(np.uint8)
    return probability.argmax(axis=-1).astype(np.uint8)


def write_png(path, picture):
    """Write a PNG that appears only when whole."""
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise UserError(f"Cannot write {path}: OpenCV could not encode a picture of shape {picture.shape}.")
    with write_whole(path) as temporary:
        temporary.write_bytes(encoded.tobytes())

"""Write what a model predicts."""

import csv
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
        center_channel: bool, SHOW_CENTER_CHANNEL_IMAGE.
    """

    def __init__(self, folder, center_channel):
        self.center_channel = center_channel
        self.masks = Path(folder) / "masks"
        self.pictures = Path(folder) / "pictures"
        self.written = f"pictures in {self.pictures}, masks in {self.masks}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Every file is whole when it is written: nothing is left to do."""

    def write(self, path, image, truth, probability, size):
        """Write the prediction for one image.

        Args:
            path: of the image; its name is that of the files.
            image: `(height, width, channels)` float in [0, 1], as the model saw it.
            truth: `(height, width)` class indices, or None.
            probability: `(height, width, classes)` float; of an unpadded network the centre of the image only.
            size: (height, width) of the image file. The bare mask gets that size where the image was resized.
        """
        seen = image.shape[:2]
        predicted = probability.shape[:2]
        image = center(image, predicted)
        truth = None if truth is None else center(truth, predicted)
        picture = side_by_side(displayable(image, self.center_channel), truth, class_indices(probability))
        write_png(self.pictures / f"{path.stem}.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if predicted == seen != size:
            # Probabilities, not labels, are resized: smooth borders, and no class between two others.
            probability = cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR)
            probability = probability.reshape(*size, -1)
        write_png(self.masks / f"{path.stem}.png", class_indices(probability))


class LabelWriter:
    """Write `labels.csv`: for each image the likeliest class and the probability of each.

    Args:
        folder: to write to.
        names: list of class names, in the order of the model's output.
    """

    def __init__(self, folder, names):
        self.names = names
        self.path = Path(folder) / "labels.csv"
        self.rows = []
        self.written = f"labels in {self.path}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is not None:
            return
        with write_whole(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["image", "label", *self.names], *self.rows])

    def write(self, path, image, truth, probability, size):
        """Note the prediction for one image: probability `(classes,)`. One class stands for the second name."""
        if len(probability) == 1:
            probability = np.array([1 - probability[0], probability[0]])
        label = self.names[int(probability.argmax())]
        self.rows.append([path, label, *(f"{value:.6f}" for value in probability)])


def center(array, size):
    """The centre of `(height, width, ...)`, of the given size."""
    top, left = ((have - want) // 2 for have, want in zip(array.shape, size, strict=False))
    return array[top : top + size[0], left : left + size[1]]


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

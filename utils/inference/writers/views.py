"""Images with their masks, kept apart so that they can be drawn with any opacity; Dice of each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.base.class_bits import in_region
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.ignored_classes import known_only, plain
from utils.base.pictures import draw_contours, overlay
from utils.inference.comparison import fit
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.writers import MaskPrediction, Writer
from utils.inference.writers.pictures import shown_image

LARGEST_VIEW = 1024  # pixels; larger images are shown smaller
LEAST_VIEW = 512  # pixels; narrower images are enlarged


class ViewWriter(Writer[MaskPrediction]):
    """Writes `views/<name>.npz`: image `(height, width, 3)` RGB, labels and, if known, truth `(height, width)`."""

    def write(self, prediction: MaskPrediction) -> None:
        folder = self.folder / "views"
        folder.mkdir(exist_ok=True)
        for index, (name, labels) in enumerate(zip(prediction.names(), prediction.labels, strict=True)):
            arrays = {"image": shown_image(prediction, index, self.settings.center_channel), "labels": labels}
            if (truth := prediction.truths[index]) is not None:
                check_truth(truth, self.settings.meaning, name)
                arrays["truth"] = truth
            with atomic_write(folder / f"{name}.npz") as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)


def check_truth(truth: np.ndarray, meaning: MaskMeaning, name: str) -> None:
    """Raise a UserError if a truth has values that are no class of the model."""
    classes = len(meaning.class_names)
    most = 2 ** (classes - 1) - 1 if meaning.multi_label else classes - 1
    largest = int(np.where(meaning.is_void(truth), 0, plain(truth)).max())
    if largest > most:
        raise UserError(
            f"The truth of {name} holds the value {largest}; the model has {classes} classes, so that values go up to "
            f"{most}. Save its masks as those that the model was trained with."
        )


def draw_view(view: Path, opacity: float, meaning: MaskMeaning) -> np.ndarray:
    """The image with the predicted areas in the colours of their classes, and the contours of the truth dashed.

    Args:
        view: written by `ViewWriter`.
        opacity: of the areas, 0 to 1; at 0 the image alone.
        meaning: of the values of the masks.

    Returns:
        `(height', width', 3)` uint8 RGB; no side is longer than LARGEST_VIEW.
    """
    with np.load(view) as stored:
        arrays = {name: fit(stored[name], LARGEST_VIEW, LEAST_VIEW) for name in stored.files}
    if opacity == 0:
        return arrays["image"]
    picture = overlay(arrays["image"], arrays["labels"], opacity, meaning.multi_label, meaning.first_class)
    if "truth" in arrays:
        known = meaning.without_void(arrays["truth"])
        draw_contours(picture, known, meaning.multi_label, dashed=True, first=meaning.first_class)
    return picture


def dice_of_classes(views: Sequence[Path], meaning: MaskMeaning) -> list[float | None] | None:
    """Dice of each class, 0 to 1, over all pixels of all views together; pixels that are not scored do not count.

    Returns:
        In the order of the classes, with None for one that is neither in the truth nor predicted; None without a truth.
    """
    both, total = (np.zeros(len(meaning.class_names), np.int64) for _ in range(2))
    for view in views:
        with np.load(view) as arrays:
            if "truth" not in arrays:
                return None
            truth, labels = known_only(arrays["truth"], arrays["labels"])
        scored = ~meaning.is_void(truth)
        for index in range(len(both)):
            one, other = (
                (in_region(mask, [index], meaning.multi_label) if index else mask == 0) & scored
                for mask in (labels, truth)
            )
            both[index] += (one & other).sum()
            total[index] += one.sum() + other.sum()
    return [float(2 * common / size) if size else None for common, size in zip(both, total, strict=True)]

"""`validation_<name>.png`: validation images with truth and prediction, the worst, median and best of an epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import keras
import numpy as np
from keras import KerasTensor
from omegaconf import DictConfig

from utils.base.files import atomic_write, warn_if_not_saved
from utils.base.pictures import displayable, legend, titled
from utils.config.class_names import mask_class_names
from utils.inference.class_indices import center_crop, class_indices
from utils.inference.comparison import (
    TRUTH_AND_PREDICTION,
    class_legend,
    describe_dice,
    draw_masks,
    fit,
    mean_dice,
)
from utils.inference.forward import in_unit_range
from utils.inference.mask_meaning import MaskMeaning

TILE = 256  # pixels of the longer side of an image, at most
COLUMNS = 4
# (what, how many): pictures of an epoch, 8 in all
SHOWN = (("worst", 3), ("median", 2), ("best", 3))


class Tile(NamedTuple):
    """An image of the mosaic: its Dice, and `(height, width[, 3])` picture, truth and prediction."""

    dice: float | None
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


class Mosaic:
    """Collects images from the validation pass; nothing is predicted or read again.

    The images are spread evenly over the validation data, at the size of a tile, so that memory and time do not grow
    with the data.

    Args:
        cfg: checked config of a model for masks; CALLBACKS.VALIDATION_IMAGES is read.
        total: number of images of the validation data.

    Attributes:
        tiles: those of the last epoch.
    """

    def __init__(self, cfg: DictConfig, total: int) -> None:
        self.meaning = MaskMeaning.from_config(cfg, mask_class_names(cfg))
        self.center_channel = cfg.SHOW_CENTER_CHANNEL_IMAGE
        self.total = total
        wanted = min(cfg.CALLBACKS.VALIDATION_IMAGES, total)
        self.positions = set(np.linspace(0, total - 1, wanted, dtype=int).tolist())
        self.begin()

    def begin(self) -> None:
        """Start an epoch."""
        self.tiles: list[Tile] = []
        self.count = 0

    def add(self, images: KerasTensor, truths: KerasTensor, probabilities: KerasTensor) -> None:
        """Copy what is needed of the next batch.

        Args:
            images: `(batch, height, width, channels)`, as the loader gives them.
            truths: `(batch, height, width, 1)` class indices.
            probabilities: `(batch, height, width, classes)`; of an unpadded model the centre of the image.
        """
        for number in range(len(truths)):
            if self.count in self.positions:
                image, truth = np.asarray(in_unit_range(images[number])), np.asarray(truths[number])[..., 0]
                self.tiles.append(self.make_tile(image, truth, np.asarray(probabilities[number])))
            self.count += 1

    def make_tile(self, image: np.ndarray, truth: np.ndarray, probability: np.ndarray) -> Tile:
        """An image at the size of a tile, with its score at full size."""
        size = probability.shape[:2]
        picture, truth = displayable(center_crop(image, size), self.center_channel), center_crop(truth, size)
        predicted = class_indices(probability, multi_label=self.meaning.multi_label)
        dice = mean_dice(truth, predicted, self.meaning)
        return Tile(dice, *(fit(part, TILE) for part in (picture, truth, predicted)))

    def choose(self) -> list[tuple[str, Tile]]:
        """Worst, median and best tiles, in this order; those without a score only where others are lacking."""
        ranked = sorted(self.tiles, key=lambda tile: (tile.dice is None, tile.dice or 0))
        scored = [tile for tile in ranked if tile.dice is not None] or ranked
        total = sum(number for _, number in SHOWN)
        if len(scored) <= total:
            return [("", tile) for tile in ranked[:total]]
        (_, worst), (_, median), (_, best) = SHOWN
        middle = (len(scored) - median) // 2
        parts = scored[:worst], scored[middle : middle + median], scored[-best:]
        return [(label, tile) for (label, _), part in zip(SHOWN, parts, strict=True) for tile in part]

    def draw(self, title: str) -> np.ndarray:
        """The mosaic, `(height, width, 3)` uint8 RGB."""
        drawn = [titled(self.draw_tile(tile), f"{label} {describe_dice(tile.dice)}") for label, tile in self.choose()]
        height, width = (max(picture.shape[axis] for picture in drawn) for axis in (0, 1))
        drawn = [np.pad(p, ((0, height - p.shape[0]), (0, 4 + width - p.shape[1]), (0, 0))) for p in drawn]
        columns = COLUMNS if self.meaning.draws_contours else COLUMNS // 2
        drawn += [np.zeros_like(drawn[0])] * (-len(drawn) % columns)
        rows = [np.hstack(drawn[first : first + columns]) for first in range(0, len(drawn), columns)]
        entries = class_legend(self.meaning)
        how = TRUTH_AND_PREDICTION if self.meaning.draws_contours else "left: truth, right: prediction"
        picture = titled(np.vstack(rows), title)
        return np.vstack([picture, legend([*entries, (how, None)], picture.shape[1])])

    def draw_tile(self, tile: Tile) -> np.ndarray:
        """Truth and prediction in one image, or in two if there are too many classes for contours."""
        return np.hstack(list(draw_masks(tile.image, tile.truth, tile.predicted, self.meaning, "").values()))


class ValidationPicture(keras.callbacks.Callback):
    """Write the mosaic after each epoch.

    Args:
        path: of the picture.
        mosaic: which the validation has filled.
        title: of the run.
        saved_epoch: the epoch, from 1, of the weights that are saved; 0: none are.
    """

    def __init__(self, path: Path, mosaic: Mosaic, title: str, saved_epoch: Callable[[], int]) -> None:
        super().__init__()
        self.path, self.mosaic, self.title, self.saved_epoch = path, mosaic, title, saved_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not self.mosaic.tiles:
            return
        count, total = len(self.mosaic.tiles), self.mosaic.total
        saved = self.saved_epoch()
        weights = "" if saved in (0, epoch + 1) else f" (the saved weights are of epoch {saved})"
        shown = f"epoch {epoch + 1}{weights}: from {count} of {total} validation images"
        picture = titled(self.mosaic.draw(shown), self.title)
        with warn_if_not_saved("the validation picture"), atomic_write(self.path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())

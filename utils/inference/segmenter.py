"""Segment one file at a time, with the network of the last request kept in memory."""

import threading
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.config.class_names import mask_class_names
from utils.inference.available import restore_masks_config
from utils.inference.find_sources import make_source
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.output import MaskOutput
from utils.inference.prediction import predict_sources
from utils.inference.predictor import Predictor
from utils.inference.sources import SourceSettings
from utils.inference.writers import Format, image_name
from utils.inference.writers.views import dice_of_classes

VIEWS = Format("utils.inference.writers.views:ViewWriter")  # of this page only


class Segmentation(NamedTuple):
    """What was written, and how it is read.

    Attributes:
        views: a file per slice or page, for `draw_view`.
        masks: the mask, and that of an image also in colours.
        table: the areas, predictions.csv.
        meaning: of the values of masks.
        dice: of each class in the whole file, None where it does not occur; None without a truth.
    """

    views: list[Path]
    masks: list[str]
    table: Path
    meaning: MaskMeaning
    dice: list[float | None] | None


class Segmenter:
    """Segments files with networks by name; safe to call from several threads.

    Args:
        cfg: the config of the command; its PREDICT holds.
        folder: results are written below it, a folder for each file.
    """

    def __init__(self, cfg: DictConfig, folder: str | Path) -> None:
        self.cfg, self.folder = cfg, Path(folder)
        self.name: str | None = None
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, name: str, path: Path, truth: Path | None = None) -> Segmentation:
        """Segment a file.

        Args:
            name: of the weights, without ending.
            path: an image, a TIFF stack or a NIfTI volume.
            truth: its mask of the same kind, as the masks of the training data.

        Raises:
            UserError: weights that do not fit, or a file that cannot be read.
        """
        with self.lock:
            self.load(name)
            source = make_source(Path(path), truth)
            self.count += 1
            output = MaskOutput.from_config(
                self.trained, self.folder / str(self.count), mask_class_names(self.trained), ["color_masks"]
            )
            output.formats = {**output.formats, "views": VIEWS}
            reading, workers = SourceSettings.from_config(self.trained), self.cfg.DATALOADER_WORKERS
            with output:
                problems = predict_sources(self.predictor, [source], reading, output, workers, verbose=False)
            if problems:
                raise UserError(problems[source])
        views = [output.folder / "views" / f"{image_name(source, index)}.npz" for index in range(source.frames)]
        masks = [output.folder / "masks" / f"{source.name}{source.ending}"]
        if (colors := output.folder / "color_masks" / masks[0].name).exists():
            masks.append(colors.rename(colors.with_stem(f"colors_{colors.stem}")))  # a browser saves by name alone
        return Segmentation(
            views,
            [str(mask) for mask in masks],
            output.folder / "predictions.csv",
            output.settings.meaning,
            dice_of_classes(views, output.settings.meaning),
        )

    def load(self, name: str) -> None:
        """Load the network of that name unless it is the last one used."""
        if name == self.name:
            return
        trained = restore_masks_config(self.cfg, name)
        self.predictor, self.trained, self.name = Predictor([trained]), trained, name

"""Segment one file at a time, with the network of the last request kept in memory."""

import threading
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.checkpoints import restore_config
from utils.config.class_names import mask_class_names
from utils.inference.find_sources import make_source
from utils.inference.members import check_members, member_config
from utils.inference.output import MaskOutput
from utils.inference.prediction import predict_sources
from utils.inference.predictor import Predictor
from utils.inference.sources import SourceSettings
from utils.inference.writers import image_name


class Segmentation(NamedTuple):
    """The files that were written: a picture per slice or page, the mask, the table of areas."""

    pictures: list[str]
    mask: str
    table: Path


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

    def __call__(self, name: str, path: Path) -> Segmentation:
        """Segment a file.

        Args:
            name: of the weights, without ending.
            path: an image, a TIFF stack or a NIfTI volume.

        Raises:
            UserError: weights that do not fit, or a file that cannot be read.
        """
        with self.lock:
            self.load(name)
            source = make_source(Path(path))
            self.count += 1
            output = MaskOutput.from_config(
                self.trained, self.folder / str(self.count), mask_class_names(self.trained), formats=["pictures"]
            )
            reading, workers = SourceSettings.from_config(self.trained), self.cfg.DATALOADER_WORKERS
            with output:
                problems = predict_sources(self.predictor, [source], reading, output, workers, verbose=False)
            if problems:
                raise UserError(problems[source])
        names = [image_name(source, index) for index in range(source.frames)]
        return Segmentation(
            [str(output.folder / "pictures" / f"{name}.png") for name in names],
            str(output.folder / "masks" / f"{source.name}{source.ending}"),
            output.folder / "predictions.csv",
        )

    def load(self, name: str) -> None:
        """Load the network of that name unless it is the last one used."""
        if name == self.name:
            return
        trained = restore_config(member_config(self.cfg, name))
        if trained.MODEL.TYPE == "classifier":
            raise UserError(f"{name} labels whole images: use predict.py.")
        check_members([trained])
        self.predictor, self.trained, self.name = Predictor([trained]), trained, name

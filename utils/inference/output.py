"""The folder of a prediction: probabilities become masks or labels, which the writers of the chosen formats write."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from omegaconf import DictConfig, OmegaConf

from utils.base.backups import keep_previous_folder
from utils.base.errors import UserError
from utils.base.locks import lock_path, locked
from utils.base.registry import load_object
from utils.inference.class_indices import classes_and_mean_confidence
from utils.inference.drift import Drift
from utils.inference.postprocessing import Postprocess, build_postprocessing
from utils.inference.read_ahead import SourceImage
from utils.inference.sliding_window import zeros
from utils.inference.sources import Source
from utils.inference.uncertainty.members import Members
from utils.inference.writers import (
    LABEL_FORMATS,
    MASK_FORMATS,
    Format,
    LabelPrediction,
    MaskPrediction,
    Writer,
    WriterSettings,
    image_name,
)

LONGEST_NAME = 255  # bytes, on most file systems


class Output(ABC):
    """The folder that predictions are written to: a context manager, entered before the first image.

    No other process may write there meanwhile. Nothing is written before the first prediction, and tables appear only
    if the block ends without an error.

    Args:
        folder: an earlier one is kept under another name.
        formats: {name: row of the table in `utils.inference.writers`} to write.
        settings: what the writers need to know.
        keep: how many earlier folders are kept, see `utils.base.backups.keep_previous_folder`.

    Attributes:
        notes: what became of earlier output, a line each.
    """

    def __init__(
        self, folder: Path, formats: Mapping[str, Format], settings: WriterSettings, keep: int | None = None
    ) -> None:
        self.folder, self.formats, self.settings, self.kept = Path(folder), formats, settings, keep
        self.notes: list[str] = []
        self.writers: list[Writer] = []
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.stack.__enter__()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.stack.enter_context(locked(lock_path(self.folder), f"the predictions {self.folder}"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, traceback)

    @abstractmethod
    def add(self, item: SourceImage, probability: np.ndarray | None, members: Members | None = None) -> None:
        """Take the probabilities of the next image, or its members; the images of a source come in order."""

    def write(self, prediction: MaskPrediction | LabelPrediction) -> None:
        """Write a source in every format."""
        if not self.writers:
            self.notes = prepare_folder(self.folder, self.kept)
            for row in self.formats.values():
                self.writers.append(self.stack.enter_context(load_object(row.writer)(self.folder, self.settings)))
            self.stack.push(self.settle)
        for writer in self.writers:
            writer.write(prediction)

    def settle(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Get masks and pictures to the disk before the writers of tables are left, which say that all is there."""
        if kind is None:
            for writer in self.writers:
                writer.flush()
            os.sync()

    def findings(self) -> list[str]:
        """What is worth saying of the predictions, a line each."""
        return []

    def __str__(self) -> str:
        names = [name for name in self.formats if (self.folder / name).exists()]
        return f"{', '.join(names[:-1])}{' and ' if names[1:] else ''}{names[-1]} in {self.folder}"


class MaskOutput(Output):
    """Turns probabilities into masks. The slices of a volume are postprocessed and written when all have come.

    Args:
        postprocess: function labels -> labels of an image or a volume `(height, width, slices)`; or None.
        thresholds: see `utils.inference.class_indices.class_indices`.

    Attributes:
        expected: with PREDICT.UNCERTAINTY, the expected Dice of each source written.
    """

    def __init__(
        self,
        folder: Path,
        formats: Mapping[str, Format],
        settings: WriterSettings,
        keep: int | None = None,
        postprocess: Postprocess | None = None,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        super().__init__(folder, formats, settings, keep)
        self.postprocess, self.thresholds = postprocess, thresholds
        self.drift = None if settings.fingerprint is None else Drift(settings.fingerprint)
        self.instances = settings.instances
        self.keeps_probabilities = any(row.needs_probabilities for row in formats.values()) or bool(
            self.instances and self.instances.needs_probability
        )
        self.current: MaskPrediction | None = None
        self.predicted: set[int] = set()
        self.expected: dict[Source, float] = {}

    @classmethod
    def from_config(
        cls,
        cfg: DictConfig,
        folder: Path,
        class_names: Sequence[str],
        formats: Sequence[str] = (),
        members: Sequence[DictConfig] = (),
    ) -> Self:
        """The output that PREDICT asks for, and the formats named whatever PREDICT says.

        `members` are the configs of all networks that predict together, if there are several.

        Raises:
            UserError: the number of thresholds is not that of the foreground classes.
        """
        chosen = {
            name: row
            for name, row in MASK_FORMATS.items()
            if row.key is None or OmegaConf.select(cfg.PREDICT, row.key) or name in formats
        }
        settings = WriterSettings.from_config(cfg, class_names, members or [cfg])
        postprocess, thresholds = build_postprocessing(cfg), cfg.PREDICT.POSTPROCESS.THRESHOLDS
        return cls(folder, chosen, settings, kept_folders(cfg), postprocess, thresholds)

    def add(self, item: SourceImage, probability: np.ndarray | None, members: Members | None = None) -> None:
        source, unsure = item.source, None
        if members is not None:
            probability, unsure = members.finish()
        else:
            assert probability is not None
            probability = source.restore(probability, item.image.shape[:2])
        if item.frame == 0 or self.current is None:
            self.check_names(source)
            self.current = MaskPrediction(source)
        labels, confidence = classes_and_mean_confidence(probability, self.thresholds, self.settings.multi_label)
        self.current.labels.append(labels)
        self.current.confidences.append(confidence)
        self.current.truths.append(item.truth)
        if members is not None and unsure is not None:
            self.current.add_members(members, probability, labels, unsure, self.settings.meaning)
        if self.drift:
            self.current.unlike = self.drift.add(item)
        if self.keeps_probabilities:
            self.keep(self.current, item.frame, probability)
        if item.is_last:
            prediction, self.current = self.current, None
            prediction.image = None if item.source.is_series else item.image
            if self.postprocess:
                processed = np.moveaxis(self.postprocess(np.stack(prediction.labels, axis=-1)), -1, 0)
                prediction.labels = [np.ascontiguousarray(labels) for labels in processed]
            self.divide(prediction)
            self.predicted.update(*(np.flatnonzero(np.bincount(labels.ravel())) for labels in prediction.labels))
            self.write(prediction)
            if prediction.sums:
                self.expected[source] = prediction.sums.numbers().expected_dice

    def divide(self, prediction: MaskPrediction) -> None:
        """Number the objects of each image, with PREDICT.INSTANCES."""
        if self.instances is None:
            return
        maps = prediction.probabilities
        for index, labels in enumerate(prediction.labels):
            prediction.objects.append(self.instances(labels, None if maps is None else maps[:, :, index]))

    def findings(self) -> list[str]:
        """Those of the writers, what is unlike the training, and a warning if every pixel of all is of one class."""
        found = [line for writer in self.writers for line in writer.findings()]
        found += self.drift.lines() if self.drift else []
        if len(self.predicted) != 1:
            return found
        (value,) = self.predicted
        if self.settings.multi_label and value:
            return found
        name = self.settings.class_names[value]
        return [*found, f"Warning: every pixel is predicted as {name}. Are these images like those of the training?"]

    def check_names(self, source: Source) -> None:
        """Raise a UserError if a file that will be written for a source has too long a name, before any is."""
        if self.instances and source.spacing is not None:
            raise UserError(
                f"{source.path}: is a volume, and PREDICT.INSTANCES divides images. Leave it out; lesions are counted "
                "by evaluate.py, EVALUATION.METRICS=[lesions]."
            )
        names = [source.name + source.ending]
        if "pictures" in self.formats:
            names.append(f"{image_name(source, source.frames - 1)}.png")
        if max(len(os.fsencode(name)) for name in names) > LONGEST_NAME:
            raise UserError(
                f"{source.path}: a name for its mask or its pictures would be too long, over {LONGEST_NAME} bytes. "
                "Give the file a shorter one."
            )

    @staticmethod
    def keep(prediction: MaskPrediction, frame: int, probability: np.ndarray) -> None:
        """Keep the probabilities of one image until its source is complete."""
        if not prediction.source.is_series:
            prediction.probabilities = probability[:, :, None]
            return
        if prediction.probabilities is None:
            height, width, classes = probability.shape
            prediction.probabilities = zeros((height, width, prediction.source.frames, classes))
        prediction.probabilities[:, :, frame] = probability


class LabelOutput(Output):
    """Notes the probabilities of a classifier."""

    @classmethod
    def from_config(cls, cfg: DictConfig, folder: Path, class_names: Sequence[str]) -> Self:
        """The output of a classifier."""
        settings = WriterSettings.from_config(cfg, class_names)
        return cls(folder, LABEL_FORMATS, settings, kept_folders(cfg))

    def add(self, item: SourceImage, probability: np.ndarray | None, members: Members | None = None) -> None:
        assert probability is not None
        self.write(LabelPrediction(item.source, probability))


def kept_folders(cfg: DictConfig) -> int | None:
    """How many folders of earlier output PREDICT keeps; None: all."""
    return 0 if cfg.PREDICT.OVERWRITE else cfg.PREDICT.KEEP_PREVIOUS


def prepare_folder(folder: Path, keep: int | None) -> list[str]:
    """Make the folder anew; say what became of an earlier one, see `keep_previous_folder`."""
    notes = []
    if folder.is_dir() and any(folder.iterdir()):
        previous, removed = keep_previous_folder(folder, keep)
        if previous is not None:
            notes.append(f"Earlier output is now in {previous}")
        if removed:
            older = "the one before was" if len(removed) == 1 else f"the {len(removed)} before were"
            notes[-1] += f"; {older} removed (PREDICT.KEEP_PREVIOUS=null keeps all)"
    folder.mkdir(parents=True, exist_ok=True)
    return notes

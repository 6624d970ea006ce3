"""One writer per output format, and the table of them. Nothing heavy is imported until a format is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from utils.base.palette import color_table
from utils.checkpoints.fingerprint import load_fingerprint
from utils.inference.instances import Instances
from utils.inference.mask_meaning import MaskMeaning, stored_values
from utils.inference.uncertainty.cases import CaseSums
from utils.inference.uncertainty.learnt import Learnt, load_learnt

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from omegaconf import DictConfig

    from utils.inference.sources import Source
    from utils.inference.uncertainty.members import Members


@dataclass(frozen=True)
class Format:
    """A row of the tables below."""

    writer: str  # "module:class"
    key: str | None = None  # of PREDICT, which asks for it, with those above it: TILE.SIZE; None: always written
    needs_probabilities: bool = False


# What predict.py writes: name in the output folder -> its writer. They write in this order.
MASK_FORMATS = {
    "masks": Format("utils.inference.writers.masks:MaskWriter"),
    "objects": Format("utils.inference.writers.objects:ObjectWriter", "INSTANCES.METHOD"),
    "color_masks": Format("utils.inference.writers.masks:ColorMaskWriter", "PICTURES"),
    "pictures": Format("utils.inference.writers.pictures:PictureWriter", "PICTURES"),
    "uncertainty": Format("utils.inference.writers.uncertainty:UncertaintyWriter", "UNCERTAINTY"),
    "predictions.csv": Format("utils.inference.writers.tables:AreaWriter"),
    "review.html": Format("utils.inference.writers.review:ReviewWriter", "UNCERTAINTY"),
    "rle.csv": Format("utils.inference.writers.tables:RleWriter", "RLE"),
    "coco_results.json": Format("utils.inference.writers.coco:CocoWriter", "COCO", needs_probabilities=True),
    "probabilities": Format(
        "utils.inference.writers.probabilities:ProbabilityWriter", "PROBABILITIES", needs_probabilities=True
    ),
}

# The same for a classifier
LABEL_FORMATS = {"labels.csv": Format("utils.inference.writers.tables:LabelWriter")}


@dataclass
class MaskPrediction:
    """The masks of a source, slice by slice.

    Attributes:
        source: open; one image, or a series.
        labels: uint8 `(height, width)` class indices of each slice, or the bits of overlapping classes.
        objects: int32 `(height, width)`, the label image of each slice; empty without PREDICT.INSTANCES.
        confidences: of each slice, the mean probability of the classes chosen.
        truths: `(height, width)` class indices of each slice, or None.
        image: of a source that is one image, `(height, width, channels)` uint8 or uint16; of a series None.
        probabilities: float32 `(height, width, slices, classes)`, where a format needs them.
        unsure: of each slice, uint16 `(height, width)`, see `utils.inference.uncertainty.members`; empty without
            PREDICT.UNCERTAINTY.
        sums: of all slices, for the numbers of the case.
        unlike: in what the source is unlike the training set, kinds of `utils.inference.drift`.
    """

    source: Source
    labels: list[np.ndarray] = field(default_factory=list)
    objects: list[np.ndarray] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    truths: list[np.ndarray | None] = field(default_factory=list)
    image: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    unsure: list[np.ndarray] = field(default_factory=list)
    sums: CaseSums | None = None
    unlike: list[str] = field(default_factory=list)

    def add_members(
        self, members: Members, probability: np.ndarray, labels: np.ndarray, unsure: np.ndarray, meaning: MaskMeaning
    ) -> None:
        """Take how sure the next slice is; `labels` is the mask of the mean probabilities."""
        self.unsure.append(unsure)
        self.sums = self.sums or CaseSums(meaning, members.settings.count)
        self.sums.add(members.labels, probability, labels, unsure)

    def names(self) -> Iterator[str]:
        """The name of each slice in tables and pictures."""
        return (image_name(self.source, index) for index in range(len(self.labels)))


@dataclass
class LabelPrediction:
    """The probabilities `(classes,)` that a classifier gives an image."""

    source: Source
    probability: np.ndarray


def image_name(source: Source, index: int) -> str:
    """What an image of a source is called in tables and pictures."""
    return f"{source.name}_{index}" if source.is_series else source.name


@dataclass(frozen=True)
class WriterSettings:
    """What writers need to know of the config.

    Attributes:
        meaning: of the values of masks, with the names of the classes, the background first; of a classifier these are
            in the order of the model's output.
        center_channel: pictures show the middle channel.
        show: how many pictures to open on the screen.
        mask_values: the value of each class, or combination of overlapping ones, in the masks written, 0 to 65535;
            None: its index, or bits.
        palette: whether masks that are PNG of 8 bit have a table of colours.
        binary: whether each class has a mask of its own.
        measure: PREDICT.UNCERTAINTY.
        learnt: what an evaluation found out about the numbers of cases, if there is any.
        fingerprint: of the training set, with which images are compared, if there is one.
        instances: how masks are divided into objects, or None.
    """

    meaning: MaskMeaning
    center_channel: bool = True
    show: int = 0
    mask_values: Sequence[int] | None = None
    palette: bool = False
    binary: bool = False
    measure: str | None = None
    learnt: Learnt | None = None
    fingerprint: Mapping[str, Any] | None = None
    instances: Instances | None = None

    @classmethod
    def from_config(cls, cfg: DictConfig, class_names: Sequence[str], members: Sequence[DictConfig] = ()) -> Self:
        """The settings of PREDICT and DATASET; `members` are the configs of all networks that predict together."""
        values = stored_values(cfg) if cfg.PREDICT.MASK_VALUES == "labels" else None
        meaning = MaskMeaning.from_config(cfg, class_names)
        predict = cfg.PREDICT
        kinds = (values, predict.MASK_PALETTE, predict.MASK_VALUES == "binary")
        known = (load_learnt(members), load_fingerprint(cfg), Instances.from_config(cfg))
        return cls(meaning, cfg.SHOW_CENTER_CHANNEL_IMAGE, predict.SHOW, *kinds, predict.UNCERTAINTY, *known)

    @property
    def class_names(self) -> Sequence[str]:
        """A name per class."""
        return self.meaning.class_names

    @property
    def multi_label(self) -> bool:
        """Whether classes overlap."""
        return self.meaning.multi_label

    def colors(self, values: Sequence[int] | None = None) -> list[int]:
        """The table of colours of masks with these values of the classes, see `color_table`."""
        return color_table(
            self.multi_label, None if values is None else tuple(values), has_background=self.meaning.first_class == 1
        )


AnyPrediction = TypeVar("AnyPrediction", MaskPrediction, LabelPrediction)


class Writer(ABC, Generic[AnyPrediction]):
    """Writes one format: a context manager, entered before the first prediction and left after the last.

    Args:
        folder: exists.
        settings: what it needs to know.
    """

    def __init__(self, folder: Path, settings: WriterSettings) -> None:
        self.folder, self.settings = folder, settings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is open."""

    @abstractmethod
    def write(self, prediction: AnyPrediction) -> None:
        """Write one source, with all its slices."""

    def flush(self) -> None:
        """Wait until the files of all sources so far are written."""

    def findings(self) -> list[str]:
        """When all is written: what is worth saying of it, a line each."""
        return []

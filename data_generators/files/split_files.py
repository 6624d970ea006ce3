"""The files of a split. A command lists them once and hands them on: of 100,000 pairs that takes seconds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig

from data_generators.files.class_labels import match_labels
from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import match_pairs


class SplitFiles(NamedTuple):
    """What was found of a split.

    Attributes:
        samples: a `Pair` each, or a `LabelledImage`; the complete ones.
        problems: a message for each file without a partner, and for each label that does not fit.
    """

    samples: Sequence[Any]
    problems: Sequence[str]

    @property
    def images(self) -> list[ImageFile]:
        """The image of each sample."""
        return [sample.image for sample in self.samples]


def find_files(cfg: DictConfig, split: str, targets: bool = True) -> SplitFiles:
    """Find the files of a split, without reading them.

    Args:
        cfg: checked config.
        split: "train", "val" or "test".
        targets: False for the images of a classifier alone, without labels.
    """
    find = match_labels if cfg.MODEL.TYPE == "classifier" and targets else match_pairs
    return SplitFiles(*find(cfg, split))

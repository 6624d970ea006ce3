"""What the counts of labels say before the first step: nothing labelled, classes that never occur, one image."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from omegaconf import DictConfig

from data_generators.files.pairing import Pair
from data_preparation.common.dataset_report import sum_counts
from data_preparation.common.pair_check import PairCheck
from utils.base.class_bits import count_classes
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.wording import counted
from utils.config.class_names import has_background, mask_class_names

SHOWN = 10  # names in a line


def count_labels(cfg: DictConfig, checks: Sequence[PairCheck]) -> np.ndarray:
    """Pixels of each class in each mask, ignored ones left out: int64 `(masks, classes)`.

    Of overlapping classes the first column is all pixels that are not ignored.
    """
    classes, overlap = number_of_classes(cfg), is_multi_label(cfg)
    ignored = cfg.DATASET.IGNORE_LABEL  # looked up once: a config is slow
    values = [labelled_pixels([check.labels], ignored) for check in checks if len(check.labels)]
    counts = np.array([count_classes(found, classes, overlap) for found in values], np.int64).reshape(-1, classes)
    if overlap:
        counts[:, 0] = [found.sum() for found in values]
    return counts


def label_problems(cfg: DictConfig, checks: Sequence[PairCheck], split: str) -> list[str]:
    """A problem if the masks of a split have no pixel that counts.

    Args:
        cfg: the config.
        checks: of the pairs of the split.
        split: "train", "val" or "test".
    """
    masks = [check.labels for check in checks if len(check.labels)]
    if not masks or labelled_pixels(masks, cfg.DATASET.IGNORE_LABEL).any():
        return []
    ignored = cfg.DATASET.IGNORE_LABEL
    return [
        f"{split}: every pixel of its {counted(len(masks), 'mask')} is {ignored}, which DATASET.IGNORE_LABEL={ignored} "
        "excludes: nothing is left to learn or to measure. Set IGNORE_LABEL to the value of pixels without a label, or "
        "null."
    ]


def warn_about_labels(
    cfg: DictConfig, pairs: Sequence[Pair], checks: Sequence[PairCheck], split: str, complete: bool = True
) -> None:
    """Print a line for each thing in the masks of a split that training or scores rarely survive.

    Args:
        complete: whether the masks are to hold all classes; false for a command that needs no masks.
    """
    ignored = cfg.DATASET.IGNORE_LABEL
    with_masks = [(pair, check.labels) for pair, check in zip(pairs, checks, strict=True) if len(check.labels)]
    if not with_masks:
        return
    counts = [labels for _, labels in with_masks]
    pixels = labelled_pixels(counts, ignored)
    if not pixels.any():
        return  # a problem, not a warning
    empty = [pair for pair, labels in with_masks if not labelled_pixels([labels], ignored).any()]
    if empty:
        print_warning(
            f"{len(empty)} of {counted(len(counts), 'mask')} of {split} ignored as a whole, such as {empty[0].mask}."
        )
    if split == "train" and len(pairs) == 1:
        print_warning("train has one image: a network learns it by heart. More images, or crops of it, are needed.")
    if not pixels[1:].any():
        group = cfg.PREPROCESS_DATA.NORMALIZE_MASK
        cause = f" after dividing by {group.NORMALIZE_VALUE} (PREPROCESS_DATA.NORMALIZE_MASK)" if group.VALUE else ""
        what = "a network learns to find nothing" if split == "train" else "Dice is undefined or 0"
        what = what if has_background(cfg) else "there is nothing to tell apart"
        only = "no foreground, only 0" if has_background(cfg) else f"only class 0 ({mask_class_names(cfg)[0]})"
        print_warning(f"the masks of {split} have {only}{cause}: {what}.")
        return
    if complete:
        names = mask_class_names(cfg)
        warn_about_classes(names, count_classes(pixels, len(names), is_multi_label(cfg)), split, has_background(cfg))


def warn_about_classes(names: Sequence[str], pixels: np.ndarray, split: str, background: bool = True) -> None:
    """Print a line about classes that do not occur.

    Args:
        names: of all classes.
        pixels: int `(classes,)`.
        background: whether class 0 is the background, whose lack is a sign of masks that are misread.
    """
    if not pixels[0] and background:
        print_warning(
            f"the masks of {split} have no pixel of class 0 ({names[0]}), nothing but foreground. Are all of them "
            "meant, or do masks and LABEL_VALUES not fit?"
        )
    absent = [f"{index} ({names[index]})" for index in range(int(background), len(names)) if not pixels[index]]
    if absent:
        print_warning(absent_classes(absent, split))


def warn_about_classifier_labels(names: Iterable[str], labels: Iterable[Sequence[str]], split: str) -> None:
    """Print a line if a class has no image, or all images have one class.

    Args:
        names: of all classes.
        labels: of each image.
    """
    names = list(names)
    counts = Counter(name for found in labels for name in found)
    absent = [name for name in names if not counts[name]]
    if absent and counts:
        print_warning(absent_classes(absent, split))


def absent_classes(names: Sequence[str], split: str) -> str:
    """A sentence about the classes that a split does not have."""
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    classes, verb = ("class", "occurs") if len(names) == 1 else ("classes", "occur")
    what = (
        "cannot be learned" if split == "train" else "has no score there" if len(names) == 1 else "have no score there"
    )
    return f"{classes} {shown} never {verb} in {split} and {what}."


def labelled_pixels(counts: Sequence[np.ndarray], ignored: int | None) -> np.ndarray:
    """Pixels of each value but the ignored one: int64 `(256,)`."""
    labels = sum_counts(counts)
    if ignored is not None:
        labels[ignored] = 0
    return labels


def print_warning(text: str) -> None:
    """Print a warning."""
    print(f"Warning: {text}", file=sys.stderr)

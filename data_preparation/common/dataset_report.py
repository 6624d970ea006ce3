"""Describe a dataset: sizes, intensities, how often each label occurs, and the class weights that follow.

Everything is counted in the files as they are read, before any resizing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from omegaconf import DictConfig

from utils.base.class_bits import count_classes
from utils.base.files import atomic_write, resolve_path
from utils.base.wording import counted

if TYPE_CHECKING:
    from data_preparation.common.pair_check import PairCheck


def intensity_of(image: np.ndarray) -> np.ndarray:
    """`[min, max, mean, mean square]` of all values, in [0, 1].

    Args:
        image: uint8 or uint16 `(height, width, channels)`.
    """
    flat, scale = image.reshape(len(image), -1), np.iinfo(image.dtype).max
    low, high, _, _ = cv2.minMaxLoc(flat)
    mean, deviation = (value.item() / scale for value in cv2.meanStdDev(flat))
    return np.array([low / scale, high / scale, mean, mean**2 + deviation**2])


def sum_counts(counts: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of label counts of different lengths: int64 `(256,)`."""
    total = np.zeros(256, np.int64)
    for one in counts:
        total[: len(one)] += one
    return total


def describe_split(
    checks: Sequence[PairCheck], classes: int, ignore_label: int | None, multi_label: bool = False
) -> dict[str, Any]:
    """Describe a split.

    Args:
        checks: of its pairs, measured.
        classes: how many, the background included.
        ignore_label: DATASET.IGNORE_LABEL.
        multi_label: whether they overlap; the first is then of the pixels without any class.

    Returns:
        A dict for JSON: `sizes` {"height x width x channels": images}; `intensity`: min, max, mean and standard
        deviation of all values in [0, 1], with equal weight for each image; `masks`; `empty_masks`, those without
        foreground; `ignored_pixels`; `labels` {class: {`pixels`, `share` of the labelled pixels, `images` with the
        class, `share_where_present` of the labelled pixels of these images}}.
    """
    sizes = Counter("x".join(map(str, check.size)) for check in checks if check.size)
    masks = [check.labels for check in checks if len(check.labels)]
    pixels, images, pixels_of_images = (np.zeros(classes, np.int64) for _ in range(3))
    labelled = ignored = empty = 0
    for counts in masks:
        if ignore_label is not None and ignore_label < len(counts):
            ignored += int(counts[ignore_label])
            counts = np.where(np.arange(len(counts)) == ignore_label, 0, counts)
        of_classes = count_classes(counts, classes, multi_label)
        pixels += of_classes
        images += of_classes > 0
        pixels_of_images += (of_classes > 0) * counts.sum()
        labelled += int(counts.sum())
        empty += not counts[1:].any()
    return {
        "sizes": dict(sizes.most_common()),
        "intensity": describe_intensity([check.intensity for check in checks if check.intensity is not None]),
        "masks": len(masks),
        "empty_masks": int(empty),
        "ignored_pixels": ignored,
        "labels": {
            index: {
                "pixels": int(pixels[index]),
                "share": int(pixels[index]) / max(labelled, 1),
                "images": int(images[index]),
                "share_where_present": int(pixels[index]) / max(int(pixels_of_images[index]), 1),
            }
            for index in range(classes if masks else 0)
        },
    }


def describe_intensity(measured: Sequence[np.ndarray]) -> dict[str, float] | None:
    """Min, max, mean and standard deviation over images, each given as `intensity_of` does."""
    if not measured:
        return None
    low, high, mean, square = np.array(measured).T
    deviation = np.sqrt(max(square.mean() - mean.mean() ** 2, 0))
    values = {"min": low.min(), "max": high.max(), "mean": mean.mean(), "std": deviation}
    return {name: round(float(value), 6) for name, value in values.items()}


def suggest_weights(cfg: DictConfig, split: Mapping[str, Any]) -> dict[str, Any] | None:
    """Suggest class weights by median-frequency balancing; None without masks.

    Eigen and Fergus 2015, https://arxiv.org/abs/1411.4734, section 6.3.2: the median of the shares of all classes,
    divided by the share of the class, where a share is taken over the images with the class. Classes that never occur
    get 1.

    Args:
        cfg: the config; the first term of LOSS that has class weights gets them, otherwise `cce`.
        split: the result of `describe_split` for the training data.

    Returns:
        {"class_weights": list, "override": to paste into a command, "absent": the classes that never occur}
    """
    shares = np.array([label["share_where_present"] for label in split["labels"].values()])
    if not shares.any():
        return None
    weights = [float(f"{weight:.4g}") for weight in median_frequency(shares)]
    terms = [name for name, weight in cfg.LOSS.items() if weight > 0]
    weighted = [name for name in terms if "class_weights" in cfg.LOSS_OPTIONS.get(name, {})]
    term, loss = (weighted[0], "") if weighted else ("cce", "loss=cce ")
    override = f"{loss}LOSS_OPTIONS.{term}.class_weights=[{','.join(f'{weight:g}' for weight in weights)}]"
    return {"class_weights": weights, "override": override, "absent": np.flatnonzero(shares == 0).tolist()}


def median_frequency(shares: np.ndarray) -> np.ndarray:
    """Weights `(classes,)` from the shares of the classes `(classes,)`, not all 0; see `suggest_weights`.

    >>> median_frequency(np.array([0.8, 0.2, 0.1, 0])).tolist()
    [0.25, 1.0, 2.0, 1.0]
    """
    present = shares > 0
    return np.where(present, np.median(shares[present]) / np.where(present, shares, 1), 1)


def print_labels(split: Mapping[str, Any], names: Sequence[str] = (), background: bool = True) -> None:
    """Print the labels of a split as a table.

    Args:
        split: of `describe_split`.
        names: of the classes from 0 on.
        background: whether class 0 is the background, so that a mask may be without foreground.
    """
    if not split["labels"]:
        return
    shown = {index: f"{index} {names[index]}" if index < len(names) else str(index) for index in split["labels"]}
    width = max(8, *map(len, shown.values()))
    print(f"  {'label':<{width}}{'pixels':>15}{'share':>10}{'images':>9}")
    for index, label in split["labels"].items():
        print(f"  {shown[index]:<{width}}{label['pixels']:>15,}{label['share']:>10.3%}{label['images']:>9,}")
    if split["ignored_pixels"]:
        print(f"  {'ignored':<{width}}{split['ignored_pixels']:>15,}")
    if background:
        print(f"  {split['empty_masks']} of {counted(split['masks'], 'mask')} without foreground")


def write_report(cfg: DictConfig, report: Mapping[str, Any]) -> Path:
    """Write the report to DATASET.REPORT_PATH and return the path."""
    path = resolve_path(cfg, cfg.DATASET.REPORT_PATH)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2))
    return path

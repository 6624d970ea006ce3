"""What a dataset holds: sizes, intensities, how often each label occurs, and class weights that follow from it.

All of it is counted in the files as they are read, before any resizing.
"""

import json
from collections import Counter

import cv2
import numpy as np

from utils.base.files import atomic_write, resolve_path


def intensity(image):
    """`(height, width, channels)` uint8 or uint16 -> `[min, max, mean, mean square]` of all its values, in [0, 1]."""
    flat, scale = image.reshape(len(image), -1), np.iinfo(image.dtype).max
    low, high, _, _ = cv2.minMaxLoc(flat)
    mean, deviation = (value.item() / scale for value in cv2.meanStdDev(flat))
    return np.array([low / scale, high / scale, mean, mean**2 + deviation**2])


def add_up(labels):
    """Sum of label counts of different lengths: int64 `(256,)`."""
    total = np.zeros(256, np.int64)
    for counts in labels:
        total[: len(counts)] += counts
    return total


def describe_split(findings, classes, ignore_label):
    """Describe one split.

    Args:
        findings: list of `data_preparation.verify_data.Finding` with details.
        classes: int, OUTPUT.CLASSES.
        ignore_label: int or None.

    Returns:
        A dict that JSON can hold: `sizes` {"height x width x channels": images}; `intensity` min, max, mean and
        standard deviation of all values in [0, 1], each image counting as much; `masks`; `empty_masks`, those without
        foreground;
        `ignored_pixels`; `labels` {class: {`pixels`, `share` of the labelled pixels, `images` that hold it,
        `share_where_present`, of the labelled pixels of those images}}.
    """
    sizes = Counter("x".join(map(str, finding.size)) for finding in findings if finding.size)
    masks = [finding.labels for finding in findings if len(finding.labels)]
    pixels, images, pixels_of_images = (np.zeros(256, np.int64) for _ in range(3))
    ignored = empty = 0
    for counts in masks:
        if ignore_label is not None and ignore_label < len(counts):
            ignored += int(counts[ignore_label])
            counts = np.where(np.arange(len(counts)) == ignore_label, 0, counts)
        held = counts > 0
        pixels[: len(counts)] += counts
        images[: len(counts)] += held
        pixels_of_images[: len(counts)] += held * counts.sum()
        empty += not held[1:].any()
    labelled = max(int(pixels.sum()), 1)
    return {
        "sizes": dict(sizes.most_common()),
        "intensity": describe_intensity([finding.intensity for finding in findings if finding.intensity is not None]),
        "masks": len(masks),
        "empty_masks": int(empty),
        "ignored_pixels": ignored,
        "labels": {
            index: {
                "pixels": int(pixels[index]),
                "share": int(pixels[index]) / labelled,
                "images": int(images[index]),
                "share_where_present": int(pixels[index]) / max(int(pixels_of_images[index]), 1),
            }
            for index in range(max(classes, 2) if masks else 0)
        },
    }


def describe_intensity(measured):
    if not measured:
        return None
    low, high, mean, square = np.array(measured).T
    deviation = np.sqrt(max(square.mean() - mean.mean() ** 2, 0))
    values = {"min": low.min(), "max": high.max(), "mean": mean.mean(), "std": deviation}
    return {name: round(float(value), 6) for name, value in values.items()}


def suggest_weights(cfg, split):
    """Weights of the classes by median-frequency balancing, as an override to paste; None without masks.

    Eigen and Fergus 2015, https://arxiv.org/abs/1411.4734, section 6.3.2: the median of the classes' shares, divided by
    the share of the class, shares taken over the images that hold the class. A class that never occurs has 1.

    Args:
        cfg: the config; the first term of LOSS that takes class weights gets them, else `cce`.
        split: what `describe_split` found in the training data.

    Returns:
        {"class_weights": list, "override": str, "absent": list of the classes that never occur}
    """
    shares = np.array([label["share_where_present"] for label in split["labels"].values()])
    if not shares.any():
        return None
    weights = median_frequency(shares)
    weights = [float(f"{weight:.4g}") for weight in weights]
    terms = [name for name, weight in cfg.LOSS.items() if weight > 0]
    takers = [name for name in terms if "class_weights" in cfg.LOSS_OPTIONS.get(name, {})]
    term, loss = (takers[0], "") if takers else ("cce", "loss=cce ")
    override = f"{loss}LOSS_OPTIONS.{term}.class_weights=[{','.join(f'{weight:g}' for weight in weights)}]"
    return {"class_weights": weights, "override": override, "absent": np.flatnonzero(shares == 0).tolist()}


def median_frequency(shares):
    """Shares of the classes, not all 0, `(classes,)` -> weights `(classes,)`, see `suggest_weights`."""
    present = shares > 0
    return np.where(present, np.median(shares[present]) / np.where(present, shares, 1), 1)


def print_labels(split):
    """Print the labels of a split as a table."""
    if not split["labels"]:
        return
    print(f"  {'label':<8}{'pixels':>15}{'share':>10}{'images':>9}")
    for index, label in split["labels"].items():
        print(f"  {index:<8}{label['pixels']:>15,}{label['share']:>10.3%}{label['images']:>9,}")
    if split["ignored_pixels"]:
        print(f"  {'ignored':<8}{split['ignored_pixels']:>15,}")
    print(f"  {split['empty_masks']} of {split['masks']} masks hold no foreground")


def write_report(cfg, report):
    """Write the report to DATASET.REPORT_PATH and return the path."""
    path = resolve_path(cfg, cfg.DATASET.REPORT_PATH)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2))
    return path

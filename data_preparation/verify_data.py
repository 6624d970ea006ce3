"""Check a dataset before training and report everything that is wrong with it at once.

python data_preparation/verify_data.py OUTPUT.CLASSES=2 DATASET.TRAIN.IMAGES_PATH=/data/train/images

The command also says how often each label occurs, suggests class weights, and writes all of it to DATASET.REPORT_PATH.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np
from tqdm import tqdm

from data_generators.files.class_folders import match_labels
from data_generators.files.pairing import Pair, list_problems, match_pairs
from data_generators.reading.decoding import decode, to_channels
from data_generators.reading.headers import is_turned, read_whole_and_header
from data_generators.reading.masks import read_mask_as
from data_generators.reading.samples import ReadSettings, check_sizes
from data_preparation.common.dataset_report import (
    add_up,
    describe_split,
    intensity,
    print_labels,
    suggest_weights,
    write_report,
)
from utils.base.errors import UserError
from utils.base.files import check_writable
from utils.config.command import command


class Finding(NamedTuple):
    """What one pair turned out to be."""

    problems: list
    hints: list  # str, or None
    labels: np.ndarray  # pixels of each value of the mask, up to its largest; empty without a mask
    size: tuple | None = None  # (height, width, channels) of the image file
    intensity: np.ndarray | None = None  # see common.dataset_report
    traits: tuple = ()  # of TRAITS


# What an image file may be that is read well but seldom expected: trait -> what to know about it.
TRAITS = {
    "16 bit": "have 16 bits a channel: 65535 becomes 1",
    "palette": "have a palette: the colours are taken, not the indices",
    "alpha": "have an alpha channel, which is dropped",
    "rotation": "ask to be turned for display (EXIF): pixels are taken as they are stored, masks must not be turned",
}
TURNED = (
    "A mask of another size than its image, which asks to be turned for display (EXIF): the mask was likely drawn on "
    "the picture as it is shown, but pixels are taken as they are stored. Save the picture upright, without EXIF, and "
    "use it with the mask drawn on it."
)


def verify_data(cfg, splits=("train", "val"), need_masks=True, details=False, whole_images=False):
    """Read every pair of the splits and check files, sizes and labels.

    Args:
        cfg: the config.
        splits: which of "train", "val", "test".
        need_masks: whether a split without masks (for a classifier, without labels) is an error.
        whole_images: check images as they are evaluated: whole, where training cuts crops out of them.
        details: also measure the images, and return what `data_preparation.common.dataset_report.describe_split` adds.

    Returns:
        `{split: {"pairs": int, "foreground_share": float | None, "traits": {trait: int}}}`; the share of pixels with a
        label above 0 among those that are not ignored, None without masks; how many images have each of TRAITS.

    Raises:
        UserError: lists the first 20 problems of all splits, counts the rest, and says what may help.
    """
    summary, problems, hints = {}, [], []
    for split in splits:
        pairs, unpaired = find_samples(cfg, split, need_masks)
        findings = examine_all(cfg, pairs, split, details, whole_images)
        problems += unpaired + [problem for finding in findings for problem in finding.problems]
        hints += [hint for finding in findings for hint in finding.hints if hint]
        summary[split] = summarise(findings, cfg.DATASET.IGNORE_LABEL)
        if details:
            summary[split] |= describe_split(findings, cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)
        warn(cfg, pairs, findings, summary[split], split)
    if problems:
        advice = "".join(f"\n{hint}" for hint in dict.fromkeys(hints))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError(f"the data has {count}:\n{list_problems(problems)}{advice}")
    return summary


def find_samples(cfg, split, need_masks):
    """Return `(pairs, problems)` of a split; the labelled images of a classifier count as pairs without a mask."""
    if cfg.MODEL.TYPE == "classifier" and need_masks:
        samples, problems = match_labels(cfg, split)
        return [Pair(sample.image, None) for sample in samples], problems
    pairs, problems = match_pairs(cfg, split)
    if need_masks and cfg.DATASET[split.upper()].MASK_PATH is None:
        problems = [f"{split} needs masks: set DATASET.{split.upper()}.MASK_PATH.", *problems]
    return pairs, problems


def examine_all(cfg, pairs, split, details, whole_images=False):
    """The findings of all pairs, in their order."""
    # Threads do: reading and decoding release the interpreter's lock.
    whole_images = whole_images and cfg.DATASET.CROP.MODE is not None
    settings = ReadSettings.from_config(cfg, split, whole_images=whole_images)
    work = partial(examine, settings=settings, classes=cfg.OUTPUT.CLASSES, details=details)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        findings = threads.map(work, pairs)
        silent = cfg.VERBOSE == 0 or not pairs
        return list(tqdm(findings, f"verify {split}", len(pairs), disable=silent, leave=False))


def examine(pair, settings, classes, details):
    """Read one pair and list what is wrong with it."""
    problems, hints, labels = [], [], np.zeros(0, np.int64)
    image, traits = attempt(problems, read_with_traits, pair.image, settings.channels) or (None, ())
    mask = None
    if pair.mask is not None:
        mask = attempt(problems, read_mask_as, pair.mask, settings)
    if image is not None:
        attempt(problems, check_sizes, pair, image, mask, settings)
    if mask is not None:
        labels = np.bincount(mask.ravel())
        values = np.flatnonzero(labels).tolist()
        hints = [check_labels(problems, pair.mask, values, classes, settings.ignore_label)]
        if "rotation" in traits and mask.shape != image.shape[:2]:
            hints.append(TURNED)
    measured = details and image is not None
    details = (image.shape, intensity(image)) if measured else (None, None)
    return Finding(problems, hints, labels, *details, traits)


def read_with_traits(path, channels):
    """`data_generators.reading.decoding.read_image`, and which of TRAITS the file has."""
    data, header = read_whole_and_header(path)
    pixels = decode(path, data)
    image = to_channels(path, pixels, channels)
    has = {
        "16 bit": image.dtype == np.uint16,
        "palette": header.has_palette,
        "alpha": channels != 4 and pixels.shape[2] == 4 and pixels[:, :, 3].min() < np.iinfo(pixels.dtype).max,
        "rotation": is_turned(data),
    }
    return image, tuple(trait for trait in TRAITS if has[trait])


def attempt(problems, function, *arguments):
    """The function's result; or None, and the UserError's message among the problems."""
    try:
        return function(*arguments)
    except UserError as error:
        problems.append(str(error))
        return None


def check_labels(problems, path, values, classes, ignore_label):
    """Note label values that the number of classes does not allow; return what may help, or None."""
    allowed = max(classes - 1, 1)  # one class is foreground against background
    if all(value <= allowed or value == ignore_label for value in values):
        return None
    shown = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
    ignored = "" if ignore_label is None else f", and DATASET.IGNORE_LABEL={ignore_label}"
    problems.append(f"{path}: holds the values {shown}; OUTPUT.CLASSES={classes} allows 0 to {allowed}{ignored}.")
    if values in ([0, 255], [255]):
        return "Masks of 0 and 255: PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True turns 255 into class 1."
    return (
        "Set OUTPUT.CLASSES above the largest label value, or name the pixel value of each class, such as "
        "DATASET.LABEL_VALUES=[0,128,255]; a value that means 'not labelled' is DATASET.IGNORE_LABEL."
    )


def summarise(findings, ignore_label):
    """Number of pairs, and share of foreground among the pixels that are labelled."""
    labels = add_up([finding.labels for finding in findings])
    if ignore_label is not None:
        labels[ignore_label] = 0
    pixels = int(labels.sum())
    share = int(labels[1:].sum()) / pixels if pixels else None
    traits = {trait: sum(trait in finding.traits for finding in findings) for trait in TRAITS}
    return {"pairs": len(findings), "foreground_share": share, "traits": traits}


def warn(cfg, pairs, findings, summary, split):
    """Say what is allowed but seldom meant."""
    for trait, count in summary["traits"].items():
        if count:
            first = next(pair.image for pair, finding in zip(pairs, findings, strict=True) if trait in finding.traits)
            print(f"Note: {count} of the images of {split}, such as {first}, {TRAITS[trait]}.", file=sys.stderr)
    lossy = [pair.mask for pair in pairs if pair.mask is not None and pair.mask.suffix.lower() in (".jpg", ".jpeg")]
    if lossy:
        print(
            f"Warning: {len(lossy)} masks of {split} are JPEG files, such as {lossy[0]}; JPEG changes label values "
            "at edges. Save masks as PNG.",
            file=sys.stderr,
        )
    if summary["foreground_share"] == 0:
        divide = cfg.PREPROCESS_DATA.NORMALIZE_MASK
        cause = f" after dividing by {divide.NORMALIZE_VALUE} (PREPROCESS_DATA.NORMALIZE_MASK)" if divide.VALUE else ""
        print(f"Warning: the masks of {split} hold no foreground, only 0{cause}.", file=sys.stderr)


@command
def main(cfg):
    check_writable(cfg, Path(cfg.DATASET.REPORT_PATH).parent, "DATASET.REPORT_PATH")
    report = verify_data(cfg, details=True)
    for split, found in report.items():
        share = found["foreground_share"]
        masks = "" if share is None else f", foreground {share:.2%} of the pixels"
        print(f"{split}: {found['pairs']} pairs{masks}, no problems")
        print_labels(found)
    suggestion = suggest_weights(cfg, report["train"])
    if suggestion:
        report["suggestion"] = suggestion
        print(f"Rare classes weigh more in the loss (median-frequency balancing) with\n  {suggestion['override']}")
        if suggestion["absent"]:
            print(f"  (classes {suggestion['absent']} do not occur in train; their weight is 1)")
    print(f"saved {write_report(cfg, report)}")


if __name__ == "__main__":
    main()

"""Check a dataset before training and report everything that is wrong with it at once.

python data_preparation/verify_data.py OUTPUT.CLASSES=2 DATASET.TRAIN.IMAGES_PATH=/data/train/images
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

from data_generators.images import ReadSettings, check_sizes, read_image, read_mask
from data_generators.labels import match_labels
from data_generators.pairing import Pair, list_problems, match_pairs
from utils.config import entry
from utils.errors import UserError


class Finding(NamedTuple):
    """What one pair turned out to be."""

    problems: list
    hint: str | None
    foreground: int  # pixels
    pixels: int


def verify_data(cfg, splits=("train", "val"), need_masks=True):
    """Read every pair of the splits and check files, sizes and labels.

    Args:
        cfg: the config.
        splits: which of "train", "val", "test".
        need_masks: whether a split without masks (for a classifier, without labels) is an error.

    Returns:
        `{split: {"pairs": int, "foreground_share": float | None}}`; the share of pixels with a label above 0,
        None without masks.

    Raises:
        UserError: lists the first 20 problems of all splits, counts the rest, and says what may help.
    """
    summary, problems, hints = {}, [], []
    for split in splits:
        pairs, unpaired = find_samples(cfg, split, need_masks)
        findings = examine_all(cfg, pairs, split)
        problems += unpaired + [problem for finding in findings for problem in finding.problems]
        hints += [finding.hint for finding in findings if finding.hint]
        summary[split] = summarise(findings)
        warn(cfg, pairs, summary[split], split)
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


def examine_all(cfg, pairs, split):
    """The findings of all pairs, in their order."""
    # Threads do: reading and decoding release the interpreter's lock.
    work = partial(examine, settings=ReadSettings.from_config(cfg), classes=cfg.OUTPUT.CLASSES)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        findings = threads.map(work, pairs)
        silent = cfg.VERBOSE == 0 or not pairs
        return list(tqdm(findings, f"verify {split}", len(pairs), disable=silent, leave=False))


def examine(pair, settings, classes):
    """Read one pair and list what is wrong with it."""
    problems, hint, foreground = [], None, 0
    image = attempt(problems, read_image, pair.image, settings.channels)
    mask = None if pair.mask is None else attempt(problems, read_mask, pair.mask, settings.divide_mask_by)
    if image is not None:
        attempt(problems, check_sizes, pair, image, mask, settings)
    if mask is not None:
        counts = np.bincount(mask.ravel(), minlength=256)
        foreground = int(counts[1:].sum())
        hint = check_labels(problems, pair.mask, np.flatnonzero(counts).tolist(), classes)
    return Finding(problems, hint, foreground, 0 if mask is None else mask.size)


def attempt(problems, function, *arguments):
    """The function's result; or None, and the UserError's message among the problems."""
    try:
        return function(*arguments)
    except UserError as error:
        problems.append(str(error))
        return None


def check_labels(problems, path, values, classes):
    """Note label values that the number of classes does not allow; return what may help, or None."""
    allowed = max(classes - 1, 1)  # one class is foreground against background
    if values[-1] <= allowed:
        return None
    shown = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
    problems.append(f"{path}: holds the values {shown}; OUTPUT.CLASSES={classes} allows 0 to {allowed}.")
    if values in ([0, 255], [255]):
        return "Masks of 0 and 255: PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True turns 255 into class 1."
    return "Set OUTPUT.CLASSES above the largest label value, or relabel the masks."


def summarise(findings):
    pixels = sum(finding.pixels for finding in findings)
    share = sum(finding.foreground for finding in findings) / pixels if pixels else None
    return {"pairs": len(findings), "foreground_share": share}


def warn(cfg, pairs, summary, split):
    """Say what is allowed but seldom meant."""
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


@entry
def main(cfg):
    for split, found in verify_data(cfg).items():
        print(f"{split}: {found['pairs']} pairs, foreground {found['foreground_share']:.2%} of the pixels, no problems")


if __name__ == "__main__":
    main()

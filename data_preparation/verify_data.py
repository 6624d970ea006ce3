"""Check a dataset before training and report all its problems at once.

    python data_preparation/verify_data.py OUTPUT.CLASSES=2 DATASET.TRAIN.IMAGES_PATH=/data/train/images

It also prints how often each label occurs, suggests class weights, and writes all of it to DATASET.REPORT_PATH.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np
from omegaconf import DictConfig

from data_generators.files.class_labels import classifier_class_names
from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import Pair, list_problems
from data_generators.files.preparation_check import preparation_problems, with_preparation
from data_generators.files.split_files import SplitFiles, find_files
from data_generators.reading.samples import ReadSettings
from data_preparation.common.dataset_report import (
    describe_split,
    print_labels,
    suggest_weights,
    sum_counts,
    write_report,
)
from data_preparation.common.fingerprint import find_spacings, fingerprint
from data_preparation.common.intensity_statistics import IntensityHistogram, histogram_for, intensity_statistics
from data_preparation.common.known_checks import KnownChecks
from data_preparation.common.label_counts import (
    count_labels,
    label_problems,
    warn_about_classifier_labels,
    warn_about_labels,
)
from data_preparation.common.left_out import left_out
from data_preparation.common.pair_check import IMAGE_PROPERTIES, MASK_FORMS, PairCheck, check_pair
from data_preparation.common.raw_data import refuse_raw_split
from data_preparation.common.shared_images import warn_of_shared_images
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError
from utils.base.files import check_writable
from utils.base.progress import track
from utils.base.threads import map_in_threads
from utils.base.wording import counted
from utils.config.class_names import has_background, mask_class_names
from utils.config.command import command


def verify_data(
    cfg: DictConfig,
    splits: Sequence[str] = ("train", "val"),
    need_masks: bool = True,
    details: bool = False,
    whole_images: bool = False,
    files: Mapping[str, SplitFiles] | None = None,
) -> dict[str, dict[str, Any]]:
    """Read every pair of the splits and check files, sizes and labels.

    Args:
        cfg: the config.
        splits: which of "train", "val", "test".
        need_masks: whether a split without masks (for a classifier, without labels) is an error.
        details: also measure the images, and add what `data_preparation.common.dataset_report.describe_split` returns.
        whole_images: check sizes for evaluation and prediction, which use whole images where training uses crops.
        files: {split: its files}, if they were found before.

    Returns:
        `{split: {"pairs": int, "foreground_share": float | None, "image_properties": {name: int}, "label_counts": of
        `data_preparation.common.label_counts.count_labels`}}`, and `known_counts`, `PairCheck.known` of all masks, if
        classes are ignored by themselves.
        `foreground_share` is the share of labels above 0 among the pixels that are not ignored, None without masks;
        `image_properties` counts the images with each of IMAGE_PROPERTIES. With details, or where training needs it,
        "train" has `intensity_statistics`: PREPROCESS_DATA.STATISTICS of the pixels of
        `utils.config.intensities.measured_pixels`, if there are any. "train" has
        `fingerprint`, of `data_preparation.common.fingerprint.fingerprint`.

    Raises:
        UserError: lists the first 20 kinds of problems of all splits, counts the rest, and says what may help; or names
            the command that prepares data of another form.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> cfg = load_config(["WORK_DIR=demo", "PREPROCESS_DATA.RESIZE.VALUE=True"])  # doctest: +SKIP
        >>> verify_data(cfg)["val"]["pairs"] > 0  # doctest: +SKIP
        True
    """
    summary: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    hints: list[str] = []
    contents: dict[str, dict[ImageFile, int]] = {}
    for split in splits:
        found = find_files(cfg, split, targets=need_masks) if files is None else files[split]
        pairs, unmatched = pairs_to_check(cfg, split, found, need_masks)
        if unmatched and cfg.MODEL.TYPE != "classifier":
            refuse_raw_split(cfg, split)
        histogram = histogram_for(cfg, split, details)
        checks = check_pairs(cfg, pairs, split, details, whole_images, histogram)
        problems += preparation_problems(cfg, [pair.image for pair in pairs])
        problems += unmatched + [problem for check in checks for problem in check.problems]
        hints += [hint for check in checks for hint in check.hints]
        summary[split] = summarize(checks, cfg.DATASET.IGNORE_LABEL) | intensity_statistics(cfg, histogram)
        summary[split]["label_counts"] = count_labels(cfg, checks)
        known = [check.known for check in checks if check.known is not None]
        summary[split] |= {"known_counts": np.array(known)} if known else {}
        if split == "train" and not problems:
            facts = [check.facts for check in checks if check.facts is not None]
            measured = fingerprint(facts, find_spacings(pair.image for pair in pairs))
            summary[split] |= {"fingerprint": measured} if measured else {}
        if details:
            summary[split] |= describe_split(
                checks, number_of_classes(cfg), cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg)
            )
        warn(pairs, checks, summary[split], split)
        if not problems:  # else the counts may be those of misread labels
            problems += label_problems(cfg, checks, split) if need_masks else []
            warn_about_labels(cfg, pairs, checks, split, complete=need_masks)
            for sentence in left_out(cfg, split, pairs):
                print(f"Note: {sentence}", file=sys.stderr)
        contents[split] = {
            pair.image: check.contents for pair, check in zip(pairs, checks, strict=True) if check.contents is not None
        }
    if problems:
        advice = "".join(f"\n{hint}" for hint in dict.fromkeys(hints))
        raise UserError(f"the data has {counted(len(problems), 'problem')}:\n{list_problems(problems)}{advice}")
    warn_of_shared_images(contents, ReadSettings.from_config(cfg, whole_images=True))
    return summary


def pairs_to_check(
    cfg: DictConfig, split: str, files: SplitFiles, need_masks: bool
) -> tuple[Sequence[Pair], list[str]]:
    """Return `(pairs, problems)` of a split; the labelled images of a classifier are pairs without a mask."""
    samples, problems = files
    if cfg.MODEL.TYPE == "classifier" and need_masks:
        if not problems:
            warn_about_classifier_labels(classifier_class_names(cfg), [sample.labels for sample in samples], split)
        return [Pair(sample.image, None) for sample in samples], [*problems]
    missing = need_masks and cfg.DATASET[split.upper()].MASK_PATH is None
    needed = [f"{split} needs masks: set DATASET.{split.upper()}.MASK_PATH."] if missing else []
    return samples, [*needed, *problems]


def find_training_files(cfg: DictConfig) -> tuple[DictConfig, dict[str, SplitFiles]]:
    """Return `(config, files)` of training and validation: the config with the values with which the training data was
    prepared, see `with_preparation`; problems of the files are for `verify_data`, with those of their contents.
    """
    files = {split: find_files(cfg, split) for split in ("train", "val")}
    return with_preparation(cfg, files["train"].images), files


def check_pairs(
    cfg: DictConfig,
    pairs: Sequence[Pair],
    split: str,
    measure: bool,
    whole_images: bool,
    histogram: IntensityHistogram | None = None,
) -> list[PairCheck]:
    """Check all pairs, in their order; `histogram` counts them, too.

    Without `measure` and `histogram`, only those are read that changed since an earlier run: DATASET.VERIFIED_PATH.
    """
    # Without crops, INPUT is the size of the whole images.
    whole_images = whole_images and cfg.DATASET.CROP.MODE is not None
    settings = ReadSettings.from_config(cfg, split, whole_images=whole_images)
    form = {"classes": cfg.OUTPUT.CLASSES, "multi_label": is_multi_label(cfg)}
    with_facts = split == "train" and cfg.MODEL.TYPE != "classifier"
    work = partial(check_pair, settings=settings, measure=measure, histogram=histogram, with_facts=with_facts, **form)
    crop = settings.crop and (settings.crop.height, settings.crop.width)  # its seed matters to no check
    known = KnownChecks(cfg, pairs, str((split, with_facts, form, crop, replace(settings, crop=None))))
    found = {} if measure or histogram is not None else known.read()
    unknown = [place for place in range(len(pairs)) if place not in found]
    checks = map_in_threads(work, [pairs[place] for place in unknown])  # reading and decoding release the lock
    quiet = cfg.VERBOSE == 0 or not unknown
    read = track(checks, f"verify {split}", len(unknown), quiet=quiet, leave=False)
    found |= dict(zip(unknown, read, strict=True))
    all_checks = [found[place] for place in range(len(pairs))]
    if unknown:
        known.write(all_checks)
    return all_checks


def summarize(checks: Sequence[PairCheck], ignore_label: int | None) -> dict[str, Any]:
    """The summary of a split that `verify_data` returns."""
    labels = sum_counts([check.labels for check in checks])
    if ignore_label is not None:
        labels[ignore_label] = 0
    pixels = int(labels.sum())
    share = int(labels[1:].sum()) / pixels if pixels else None
    properties = {name: sum(name in check.properties for check in checks) for name in IMAGE_PROPERTIES}
    return {"pairs": len(checks), "foreground_share": share, "image_properties": properties}


def warn(pairs: Sequence[Pair], checks: Sequence[PairCheck], summary: dict[str, Any], split: str) -> None:
    """Print what is allowed but seldom intended."""
    for name, count in summary["image_properties"].items():
        if count:
            first = next(pair.image for pair, check in zip(pairs, checks, strict=True) if name in check.properties)
            print(
                f"Note: {count} of the images of {split}, such as {first}, {IMAGE_PROPERTIES[name]}.", file=sys.stderr
            )
    for name, text in MASK_FORMS.items():
        masks = [pair.mask for pair, check in zip(pairs, checks, strict=True) if name in check.properties]
        if masks:
            print(f"Note: {len(masks)} of the masks of {split}, such as {masks[0]}, {text}.", file=sys.stderr)


def print_facts(cfg: DictConfig, report: dict[str, dict[str, Any]]) -> None:
    """Print what `verify_data` found in each split, with details."""
    is_classifier = cfg.MODEL.TYPE == "classifier"
    names, background = ([], True) if is_classifier else (mask_class_names(cfg), has_background(cfg))
    for split, found in report.items():
        share = found["foreground_share"] if background else None
        masks = "" if share is None else f", foreground {share:.2%} of the pixels"
        print(f"{split}: {counted(found['pairs'], 'pair')}{masks}, no problems")
        print_labels(found, names, background)


@command
def main(cfg: DictConfig) -> None:
    """Check the data, print what it contains and write the report."""
    check_writable(cfg, Path(cfg.DATASET.REPORT_PATH).parent, "DATASET.REPORT_PATH")
    cfg, files = find_training_files(cfg)
    report: dict[str, Any] = verify_data(cfg, details=True, files=files)
    print_facts(cfg, report)
    for found in report.values():
        del found["label_counts"]  # of every mask
        found.pop("known_counts", None)
    suggestion = suggest_weights(cfg, report["train"])
    if suggestion:
        report["suggestion"] = suggestion
        print(f"To weight rare classes more in the loss (median-frequency balancing):\n  {suggestion['override']}")
        if suggestion["absent"]:
            print(f"  (classes {suggestion['absent']} do not occur in train; their weight is 1)")
    print(f"saved {write_report(cfg, report)}")


if __name__ == "__main__":
    main()

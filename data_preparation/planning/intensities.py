"""PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE and VALUE_RANGE: images of 16 bit or floating point have no fixed scale."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_generators.files.preparation import DEPTH, PREPARED_BY
from data_preparation.common.mr_sequences import are_sequences
from data_preparation.planning.experiment_file import Choice
from data_preparation.planning.pair_properties import PairProperties
from utils.base.errors import UserError

TYPE, FOREGROUND = "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE", "PREPROCESS_DATA.FOREGROUND"
SCOPE = "PREPROCESS_DATA.SCOPE"
FAR_BELOW_0 = -500  # air is -1000 in CT; standardised images stay above
BLACK_BORDER = 0.1  # share of pixels of 0 from which they are no part of the picture

EIGHT_BIT, WEIGHTS, STANDARDISED, CROPS, UNITS = "8 bit", "weights", "standardised", "crops", "units"
MR = "channels named like MR sequences"
SCANS, WHOLE, ONE_UNIT = "slices of scans", "prepared with 16 bit", "all volumes prepared alike"


class Row(NamedTuple):
    """Where all of `facts` hold: IMAGE_PREPROCESSING_TYPE, why, and SCOPE (None: the default)."""

    facts: set[str]
    kind: str
    reason: str
    scope: str | None = None


WHY_SCOPE = {
    None: "",
    "volume": "all slices of a volume are scaled alike",
    "dataset": "all images are scaled alike, by the statistics of the training set",
}

MR_OF_8_BIT = "8 bit without a unit, as MR; prepared with --depth 16, zscore of the volume would be chosen"

# The first row that fits is taken; docs/how-to/intensities.md says what each does.
TABLE = (
    Row({STANDARDISED, EIGHT_BIT}, "zscore", "the network of --init was trained with values of mean 0"),
    Row(
        {SCANS, EIGHT_BIT, ONE_UNIT},
        "normalize",
        "8 bit within the window of the preparation; prepared with --depth 16, dataset or another window (CT) could be "
        "chosen",
    ),
    Row({SCANS, EIGHT_BIT}, "normalize", MR_OF_8_BIT),
    Row(
        {SCANS, WHOLE, ONE_UNIT, WEIGHTS},
        "percentile",
        "16 bit of one unit, as CT, and pretrained weights expect [0, 1]; a window that you know: window with "
        "PREPROCESS_DATA.WINDOW",
        "dataset",
    ),
    Row(
        {SCANS, WHOLE, WEIGHTS},
        "percentile",
        "pretrained weights expect [0, 1]",
        "volume",
    ),
    Row(
        {SCANS, WHOLE, ONE_UNIT},
        "dataset",
        "16 bit of one unit, as CT: all volumes are scaled alike, as nnU-Net does; "
        "a window that you know: window with PREPROCESS_DATA.WINDOW",
    ),
    Row({SCANS, WHOLE, MR}, "zscore", "16 bit of MR sequences, which have no unit: each volume by itself", "volume"),
    Row({SCANS, WHOLE}, "zscore", "16 bit without a unit, as MR: each volume by itself", "volume"),
    Row({EIGHT_BIT, WEIGHTS}, "normalize", "8 bit: 0 to 255 become 0 to 1, as pretrained weights expect"),
    Row(
        {EIGHT_BIT},
        "normalize",
        "8 bit: 0 to 255 become 0 to 1; if brightness differs from scanner to scanner, as in MR: zscore",
    ),
    Row(
        {WEIGHTS, CROPS},
        "percentile",
        "no fixed scale, pretrained weights expect [0, 1], and crops of an image must be scaled alike",
        "dataset",
    ),
    Row(
        {WEIGHTS, UNITS},
        "percentile",
        "values far below 0 have a unit, and pretrained weights expect [0, 1]",
        "dataset",
    ),
    Row({WEIGHTS}, "percentile", "no fixed scale, and pretrained weights expect [0, 1]"),
    Row({MR, CROPS}, "zscore", "MR sequences have no unit, and crops of an image must be scaled alike", "dataset"),
    Row({MR}, "zscore", "MR sequences have no unit: each image by itself"),
    Row({UNITS}, "dataset", "values far below 0 have a unit, as in CT: all images are scaled alike"),
    Row({CROPS}, "dataset", "no fixed scale, and crops of an image must be scaled alike"),
    Row(set(), "zscore", "no fixed scale, as MR: each image by itself; if values have a unit: dataset"),
)


def choose_intensities(
    measured: Sequence[PairProperties],
    has_weights: bool,
    has_crops: bool,
    prepared: Mapping[str, Any],
    is_standardised: bool = False,
    channels: Sequence[str] | None = None,
) -> list[Choice]:
    """Choose what happens to the values of images.

    Args:
        measured: properties of all pairs.
        has_weights: whether the network starts with weights that expect [0, 1].
        has_crops: whether the network trains on parts of images.
        prepared: `{key: value}` that the preparation noted; of pictures without those of scans.
        is_standardised: whether the network starts with weights that expect values of mean 0.
        channels: names of the channels, if they are known.

    Raises:
        UserError: all pixels of all images have one value.
    """
    kinds = frozenset().union(*(pair.kinds for pair in measured))
    low, high = min(pair.low for pair in measured), max(pair.high for pair in measured)
    is_mr = are_sequences(channels)
    facts = {
        MR: is_mr,
        EIGHT_BIT: kinds == {"uint8"},
        WEIGHTS: has_weights,
        STANDARDISED: is_standardised,
        CROPS: has_crops,
        UNITS: low <= FAR_BELOW_0 and not is_mr,
        SCANS: prepared.get(PREPARED_BY) is not None,
        WHOLE: prepared.get(DEPTH) == 16,
        ONE_UNIT: not is_mr
        and prepared.get("DATA_PREPARATION.SCAN_MIN_VALUE") is not None
        and prepared.get("DATA_PREPARATION.INTENSITY_SCALING") == "window",
    }
    row = next(row for row in TABLE if all(facts[fact] for fact in row.facts))
    needs_range = not kinds <= {"uint8", "uint16"}
    if needs_range and low == high:
        raise UserError(f"All pixels of all images have the value {low:g}: there is nothing to learn from them.")
    black = float(np.mean([pair.black for pair in measured]))
    measures_foreground = row.kind in ("zscore", "percentile") and low == 0 and black > BLACK_BORDER
    return [
        Choice(TYPE, row.kind, row.reason),
        Choice(SCOPE, row.scope, WHY_SCOPE[row.scope]),
        Choice(FOREGROUND, True if measures_foreground else None, f"{black:.0%} of the pixels are 0: a black border"),
        Choice("PREPROCESS_DATA.VALUE_RANGE", [rounded(low), rounded(high)] if needs_range else None,
               f"{' and '.join(sorted(kinds))} values, the lowest and the highest of all images"),
    ]  # fmt: skip


def depth_notes(choices: Sequence[Choice]) -> list[str]:
    """A line on scans of MR that were prepared with 8 bit, of which no z-score of the volume can be taken."""
    if not any(choice.key == TYPE and choice.reason == MR_OF_8_BIT for choice in choices):
        return []
    return [
        "The scans look like MR, prepared with 8 bit: prepare them again, into another folder, with volumes.py --depth "
        "16, and the z-score of whole volumes is chosen here."
    ]


def rounded(value: float) -> float:
    """A value in six digits.

    >>> rounded(1234567.8), rounded(-1024.0)
    (1234570.0, -1024.0)
    """
    return float(f"{value:.6g}")

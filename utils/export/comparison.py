"""Compare an exported file with the model, image by image."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from utils.base.class_bits import pack
from utils.base.errors import UserError
from utils.export.formats import output_name

MAX_DIFFERENCE = 1e-4  # of probabilities; more, and the file is refused, unless it is quantised
MIN_SAME_CLASS = 0.999  # share of pixels, where the file gives classes
MIN_DICE, GOOD_DICE = 0.5, 0.95  # of a quantised file and the model: refused below, a warning below


class Agreement(NamedTuple):
    """How far file and model agree on one image.

    difference: largest difference of any output value; same_class: share of pixels (or images) with the same class;
    dice: of the foreground that the two find, None if neither finds any.
    """

    difference: float
    same_class: float
    dice: float | None


def compare(
    model: Callable[[np.ndarray], np.ndarray],
    exported: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    settings: DictConfig,
    multi_label: bool = False,
) -> list[Agreement]:
    """Run model and file on the images.

    Args:
        model, exported: functions of a batch of images.
        images: `(count, height, width, channels)`, as both take them.
        settings: EXPORT of the config.
        multi_label: whether classes overlap; pixels agree if all their classes do.

    Raises:
        UserError: the file's output differs from the model's.
    """
    rows, common, total = [], 0, 0
    gives_classes = output_name(settings) == "classes"
    for image in images:
        expected, found = np.asarray(model(image[None])), np.asarray(exported(image[None]))
        if expected.shape != found.shape:
            raise UserError(f"The exported file gives the shape {found.shape}, the model {expected.shape}.")
        difference = float(np.abs(expected.astype(np.float64) - found).max())
        one, other = (value if gives_classes else to_classes(value, multi_label) for value in (expected, found))
        in_both = 2 * int(((one == other) & (one > 0)).sum())
        in_either = int((one > 0).sum() + (other > 0).sum())
        common, total = common + in_both, total + in_either
        dice = in_both / in_either if in_either else None
        rows.append(Agreement(difference, float((one == other).mean()), dice))
    check_agreement(rows, common / total if total else 1.0, settings)
    return rows


def to_classes(probabilities: np.ndarray, multi_label: bool = False) -> np.ndarray:
    """`(..., classes)` -> class indices `(...)`, or with `multi_label` the bits of `utils.base.class_bits`."""
    if multi_label:
        return pack(probabilities > 0.5)
    return probabilities[..., 0] > 0.5 if probabilities.shape[-1] == 1 else probabilities.argmax(-1)


def check_agreement(rows: Sequence[Agreement], dice: float, settings: DictConfig) -> None:
    """Refuse a file that differs from the model; of quantised files, those whose masks differ.

    Args:
        rows: one per image.
        dice: of all images together.
        settings: EXPORT of the config.

    Raises:
        UserError: it is refused.
    """
    if settings.QUANTIZE is None:
        worst = max(row.difference for row in rows)
        gives_classes = output_name(settings) == "classes"
        same = all(row.same_class > MIN_SAME_CLASS for row in rows) if gives_classes else worst <= MAX_DIFFERENCE
        if not same:
            raise UserError(f"The exported file differs from the model by up to {worst:.2g}; it was not kept.")
        return
    advice = "Use EXPORT.QUANTIZE=float16, or other images to calibrate with (PREDICT.INPUT, EXPORT.CALIBRATION)."
    if dice < MIN_DICE:
        raise UserError(
            f"The {settings.QUANTIZE} file's masks differ too much from the model's (Dice between them {dice:.3f}); "
            f"it was deleted. {advice}"
        )
    if dice < GOOD_DICE:
        print(f"Warning: the {settings.QUANTIZE} file agrees with the model only up to a Dice of {dice:.3f}. {advice}")


def print_comparison(rows: Sequence[Agreement], compared_on: str) -> None:
    """Print a row per image."""
    print(f"compared on {compared_on}\nimage  largest difference  same class  Dice of the two")
    for index, row in enumerate(rows):
        dice = "-" if row.dice is None else f"{row.dice:.4f}"
        print(f"{index:>5}  {row.difference:>18.2e}  {row.same_class:>10.4%}  {dice:>15}")

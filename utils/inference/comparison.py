"""An image with its truth and its prediction, side by side or as a tile: pictures of predict.py and of training."""

import cv2
import numpy as np

from utils.base.class_bits import unpack
from utils.base.ignored_classes import known_only
from utils.base.palette import ERROR_COLORS, VOID, class_color
from utils.base.pictures import MIN_PANEL, STRIP, draw_contours, enlarge, legend, overlay, titled
from utils.inference.mask_meaning import MaskMeaning

LARGEST_PANEL = 512  # pixels; larger images are shown smaller
GAP = 4  # pixels between panels
AREA_TINT = 0.45  # opacity of classes
TINT = 0.65  # opacity of errors and of pixels that are not scored
TRUTH_AND_PREDICTION = "contours: truth dashed, prediction solid"

LegendEntries = list[tuple[str, tuple[int, int, int] | None]]


def mean_dice(truth: np.ndarray, predicted: np.ndarray, meaning: MaskMeaning) -> float | None:
    """Dice of one image, 0 to 1: the mean over the classes in the truth or the prediction, the background aside.

    Returns:
        None where there is no such class.

    >>> mean_dice(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 0]), MaskMeaning(["background", "liver", "tumour"]))
    0.3333333333333333
    """
    return dice_of_counts(*count_dice(truth, predicted, meaning))


def count_dice(truth: np.ndarray, predicted: np.ndarray, meaning: MaskMeaning) -> tuple[np.ndarray, np.ndarray]:
    """Of each foreground class, and others that do not occur: pixels of both masks together, and of one plus the other.

    Those of several images add up.
    """
    truth, predicted = known_only(truth, predicted)
    scored = ~meaning.is_void(truth)
    truth, predicted = truth[scored].astype(np.uint8), predicted[scored].astype(np.uint8)
    if meaning.multi_label:
        maps = [unpack(labels, len(meaning.class_names) - 1).astype(bool) for labels in (truth, predicted)]
        both, either = (maps[0] & maps[1]).sum(axis=0), maps[0].sum(axis=0) + maps[1].sum(axis=0)
    else:
        both = np.bincount(truth[truth == predicted], minlength=256)
        either = np.bincount(truth, minlength=256) + np.bincount(predicted, minlength=256)
        first = 1 if meaning.has_background else 0
        both, either = both[first:], either[first:]
    return both, either


def dice_of_counts(both: np.ndarray, either: np.ndarray) -> float | None:
    """The mean Dice of the classes that occur; None if there is none."""
    found = either > 0
    return float(np.mean(2 * both[found] / either[found])) if found.any() else None


def find_errors(truth: np.ndarray, predicted: np.ndarray, meaning: MaskMeaning) -> dict[str, np.ndarray]:
    """Where a prediction is wrong: `{key of ERROR_COLORS: bool, of the shape of the masks}`.

    Foreground that is not predicted is missed, what is predicted in its place of background is excess, and one class in
    place of another is an error of its own; without a background there are only these.
    """
    wrong = (truth != predicted) & ~meaning.is_void(truth)
    if meaning.multi_label:
        missed, excess = wrong & (truth & ~predicted != 0), wrong & (predicted & ~truth != 0)
        return {"missed": missed & ~excess, "excess": excess & ~missed, "other class": missed & excess}
    if not meaning.has_background:
        return {"other class": wrong}
    missed, excess = wrong & (predicted == 0), wrong & (truth == 0)
    return {"missed": missed, "excess": excess, "other class": wrong & ~missed & ~excess}


def compare(image: np.ndarray, truth: np.ndarray | None, predicted: np.ndarray, meaning: MaskMeaning) -> np.ndarray:
    """The image, truth and prediction, and the errors side by side, with Dice and a legend; without truth two panels.

    Args:
        image: `(height, width, 3)` uint8 RGB.
        truth: `(height, width)` class indices, or None.
        predicted: `(height, width)` class indices.

    Returns:
        `(height', width', 3)` uint8 RGB; a panel has LARGEST_PANEL pixels at most.
    """
    entries = class_legend(meaning)
    if truth is not None:
        truth, predicted = known_only(truth, predicted)
    if truth is None:
        image, predicted = (fit(picture) for picture in (image, predicted))
        how = meaning.multi_label, meaning.first_class
        panels = {"image": image, "prediction": overlay(image, predicted, 0.35, *how)}
    else:
        title = describe_dice(mean_dice(truth, predicted, meaning))
        errors = find_errors(truth, predicted, meaning)
        share = sum(int(area.sum()) for area in errors.values()) / max(1, int((~meaning.is_void(truth)).sum()))
        image, truth, predicted = (fit(picture) for picture in (image, truth, predicted))
        panels = {"image": image, **draw_masks(image, truth, predicted, meaning, title)}
        panels[f"errors {share:.1%}"] = draw_errors(image, truth, predicted, meaning)
        entries += [(TRUTH_AND_PREDICTION, None)] if meaning.draws_contours else []
        found = [(name, ERROR_COLORS[name]) for name, area in errors.items() if area.any()]
        entries += [("errors:", None), *found] if found else []
        entries += [("not scored", VOID)] if meaning.is_void(truth).any() else []
    strips = [np.zeros((STRIP + image.shape[0], GAP, 3), np.uint8)] * len(panels)
    drawn = [part for pair in zip(map(titled, panels.values(), panels), strips, strict=True) for part in pair]
    picture = np.hstack(drawn[:-1])
    return np.vstack([picture, legend(entries, picture.shape[1])])


def class_legend(meaning: MaskMeaning) -> LegendEntries:
    """The classes with their colours; the background has none."""
    first = meaning.first_class
    return [(name, class_color(index)) for index, name in enumerate(meaning.class_names) if index >= first]


def describe_dice(dice: float | None) -> str:
    """Dice as a title has it.

    >>> describe_dice(0.5), describe_dice(None)
    ('Dice 0.500', 'no foreground')
    """
    return "no foreground" if dice is None else f"Dice {dice:.3f}"


def draw_masks(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, meaning: MaskMeaning, title: str
) -> dict[str, np.ndarray]:
    """Panels with truth and prediction: contours in one, or tinted areas in two if there are too many classes."""
    if meaning.draws_contours:
        return {title: draw_both(image, truth, predicted, meaning)}
    known, how = meaning.without_void(truth), (meaning.multi_label, meaning.first_class)
    return {
        "truth": shade_void(overlay(image, known, AREA_TINT, *how), truth, meaning),
        f"prediction: {title}": overlay(image, predicted, AREA_TINT, *how),
    }


def draw_both(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, meaning: MaskMeaning) -> np.ndarray:
    """The image with the contours of the truth, dashed, and above them those of the prediction."""
    picture = shade_void(image, truth, meaning)
    multi_label, first = meaning.multi_label, meaning.first_class
    draw_contours(picture, meaning.without_void(truth), multi_label, dashed=True, first=first)
    draw_contours(picture, predicted, multi_label, first=first)
    return picture


def draw_errors(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, meaning: MaskMeaning) -> np.ndarray:
    """The image in pale grey with what is wrong in the ERROR_COLORS."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 2 + 64
    picture = shade_void(np.repeat(grey[..., None], 3, axis=-1), truth, meaning)
    for name, area in find_errors(truth, predicted, meaning).items():
        picture[area] = (1 - TINT) * picture[area] + TINT * np.array(ERROR_COLORS[name])
    return picture


def shade_void(image: np.ndarray, truth: np.ndarray, meaning: MaskMeaning) -> np.ndarray:
    """A copy of the image, grey where pixels are not scored."""
    picture, void = image.copy(), meaning.is_void(truth)
    picture[void] = (1 - TINT) * picture[void] + TINT * np.array(VOID)
    return picture


def fit(picture: np.ndarray, largest: int = LARGEST_PANEL, least: int = MIN_PANEL) -> np.ndarray:
    """A picture `(height, width, 3)` or a mask `(height, width)` at the size of a panel: masks mix no values.

    Those narrower than `least` are enlarged by a whole factor, so that contours are thin beside them.
    """
    height, width = picture.shape[:2]
    if max(height, width) <= largest:
        return enlarge(picture, max(1, min(-(-least // width), largest // max(height, width))))
    ratio = largest / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST_EXACT if picture.ndim == 2 else cv2.INTER_AREA)

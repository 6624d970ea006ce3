"""Classes, channels and class weights that follow from images and masks."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_preparation.common.dataset_report import median_frequency
from data_preparation.planning.class_names import Names
from data_preparation.planning.pair_properties import PairProperties
from utils.base.class_bits import MOST_CLASSES as MOST_CLASSES_OF_BITS
from utils.base.errors import UserError

MOST_CLASSES = 64  # masks with more values do not contain classes
NO_VALUE = "none"  # of --ignore: all values are classes
COLOUR = "colour images"
NEIGHBOURS = "slices with the one below and the one above"
WEIGHTS_FROM = 10  # ratio between the pixels of the commonest and the rarest class from which classes are weighted


class Classes(NamedTuple):
    """What the pixel values of masks mean.

    values: of each class, background first; of overlapping classes every value there is. ignored: value that is not
    labelled, or None. overlapping: how many classes the bits of a value hold, 0 where a value is a class. names: of the
    classes, the first one included, if the user gave them; names_reason, ignored_reason: why.
    """

    values: list[int]
    ignored: int | None
    reason: str
    overlapping: int = 0
    names: list[str] | None = None
    names_reason: str = ""
    ignored_reason: str = ""

    @property
    def in_order(self) -> list[int]:
        """The value of each class that has a name: of overlapping classes 0, 1, 2, ..."""
        return list(range(self.overlapping + 1)) if self.overlapping else self.values


def choose_classes(
    found: Sequence[int], values: list[int] | None, ignore: int | str | None, names: Names | None = None
) -> Classes:
    """Choose the classes.

    Args:
        found: sorted pixel values of all masks.
        values: of --values: pixel value of each class, or None.
        ignore: of --ignore: a pixel value, "none", or None for the usual one.
        names: of --names; a table of them also says which values there are.

    Raises:
        UserError: too many values, too few, or some that --values or the table does not list.
    """
    ignored = ignore if isinstance(ignore, int) else None
    if ignore is None and names and (void := names.of_void(found)) is not None:
        ignored = void
    if names and names.by_value and not values:
        values = [value for value in sorted(names.by_value) if value != ignored]
        missing = sorted(set(found) - set(values) - {ignored})
        if missing:
            raise UserError(
                f"The masks contain {missing[:10]}, which the table of --names lacks. Add them, or --ignore one."
            )
        return Classes(values, ignored, "the values of the table of --names")
    if values:
        missing = sorted(set(found) - set(values) - {ignored})
        if missing:
            raise UserError(f"--values {values}: the masks also contain {missing[:10]}. Add them, or --ignore one.")
        return Classes(values, ignored, "--values")
    if len(found) > MOST_CLASSES:
        raise UserError(
            f"The masks contain {len(found)} different values, too many for classes. Name the value of each class with "
            "--values (JPEG masks: save them again as PNG)."
        )
    if (
        ignored is None
        and ignore is None
        and found[-1] == 255
        and len(found) > 2
        and list(found[:-1]) == list(range(len(found) - 1))
    ):
        ignored = 255
    values = [value for value in found if value != ignored]
    if len(values) < 2:
        raise UserError(f"The masks contain only {values}: there are no two classes. Name the classes with --values.")
    shown = ", ".join(map(str, values[:12])) + (" ..." if len(values) > 12 else "")
    return Classes(values, ignored, f"the masks contain {shown}")


def choose_overlapping_classes(
    found: Sequence[int], names: Sequence[str] | None, values: list[int] | None, ignore: int | str | None, reason: str
) -> Classes:
    """Choose the classes of masks whose bits are classes, see `utils/base/class_bits.py`.

    Args:
        found: sorted pixel values of all masks.
        names: of the background and the classes, as the preparation noted them; None if it knows none.
        values, ignore: see `choose_classes`.
        reason: what says that bits are classes.

    Raises:
        UserError: --values, no class, or values that the classes do not have.
    """
    if values:
        raise UserError(f"--values {values}: the classes of these masks overlap ({reason}). Leave --values out.")
    ignored = ignore if isinstance(ignore, int) else None
    if ignore is None and found[-1] == 255 and all(value < 128 for value in found[:-1]):
        ignored = 255
    present = [value for value in found if value not in (0, ignored)]
    if not present:
        raise UserError("The masks contain no class.")
    number = len(names) - 1 if names else present[-1].bit_length()
    if present[-1] >= 2**number or number > MOST_CLASSES_OF_BITS:
        raise UserError(
            f"The masks contain {present[-1]}, but the bits of {min(number, MOST_CLASSES_OF_BITS)} classes are 0 to "
            f"{2 ** min(number, MOST_CLASSES_OF_BITS) - 1}. Prepare them again."
        )
    return Classes([0, *present], ignored, reason, number)


def choose_channels(
    measured: Sequence[PairProperties],
    has_neighbours: bool,
    files: Sequence[str] | None = None,
    sequences: Sequence[str] | None = None,
) -> tuple[int, str]:
    """Return `(channels, reason)`.

    Args:
        measured: properties of all pairs.
        has_neighbours: whether three bands are a slice with its neighbours, see `slices.holds_neighbours`.
        files: of --channels: an image is several files.
        sequences: names of the bands, if the preparation noted them.

    Raises:
        UserError: channels that are no colours, and not the same number in all images.
    """
    if files:
        return len(files), "--channels: a file for each"
    counts = Counter(pair.channels for pair in measured)
    is_picture = all(pair.is_picture for pair in measured) and not sequences
    if not is_picture:
        if len(counts) > 1:
            raise UserError(f"The images have {' or '.join(map(str, sorted(counts)))} channels; they must agree.")
        return max(counts), f"sequences, as prepared: {', '.join(sequences)}" if sequences else "bands as stored"
    if set(counts) == {3} and has_neighbours:
        return 3, NEIGHBOURS
    if all(pair.is_gray for pair in measured):
        return 1, "all images are gray"
    return 3, COLOUR


def choose_class_weights(shares: np.ndarray) -> tuple[list[float] | None, str]:
    """Return `(class weights or None, reason)` from the share of each class in the images where it occurs."""
    present = shares[shares > 0]
    ratio = present.max() / present.min()
    if len(shares) < 3 or ratio < WEIGHTS_FROM:
        return None, ""
    weights = [float(f"{weight:.3g}") for weight in np.clip(median_frequency(shares), 0.1, 10)]
    reason = f"where they occur, the commonest class has {ratio:.0f} times the pixels of the rarest"
    return weights, f"{reason}: median-frequency balancing, 0.1 to 10"

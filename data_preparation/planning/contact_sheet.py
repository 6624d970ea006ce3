"""A picture of some pairs, image with the contours of its mask, to see whether they belong together."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from data_generators.files.pairing import Pair
from data_preparation.planning.classes import Classes
from data_preparation.planning.pair_properties import PairProperties
from data_preparation.planning.stored_form import StoredForm, read_stored_image, read_stored_mask
from utils.base.class_bits import NO_CLASS
from utils.base.palette import VOID, class_color
from utils.base.pictures import displayable, legend, overlay, titled

COLUMNS, ROWS, SIDE, GAP = 4, 3, 300, 6  # pairs; pixels of the longer side of an image and between two
TINT = 0.2
WIDEST = COLUMNS * (SIDE + GAP)
LONGEST_TITLE = 34  # characters


def draw_sheet(
    splits: Mapping[str, Sequence[Pair]],
    measured: Mapping[str, Sequence[PairProperties]],
    form: StoredForm,
    classes: Classes,
    has_background: bool = True,
) -> np.ndarray:
    """Draw pairs in which every class occurs, with a legend below; the background is left plain.

    Args:
        splits: `{split: pairs}`.
        measured: their properties.
        form: how they are stored.
        classes: what the values of masks mean.
        has_background: whether the first class is the background.

    Returns:
        RGB `(height, width, 3)`, WIDEST pixels wide.
    """
    pairs = [(split, pair) for split, found in splits.items() for pair in found]
    chosen = choose_pairs([properties for split in splits for properties in measured[split]], classes)
    cells = []
    for number in chosen:
        split, pair = pairs[number]
        title = f"{split}: {pair.image.name}".encode("ascii", "replace").decode()
        cells.append(titled(draw_pair(pair, form, classes, has_background), title[:LONGEST_TITLE]))
    rows = [np.hstack(cells[first : first + COLUMNS]) for first in range(0, len(cells), COLUMNS)]
    canvas = [np.pad(row, ((0, GAP), (0, WIDEST - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    values, names = classes.in_order, classes.names
    labels = [f"{value}: {name}" for value, name in zip(values, names, strict=True)] if names else map(str, values)
    entries: list[tuple[str, tuple[int, int, int] | None]] = [
        (label.encode("ascii", "replace").decode(), class_color(index)) for index, label in enumerate(labels)
    ]
    if has_background:
        entries[0] = (f"{entries[0][0]} (plain)", None)
    if classes.ignored is not None:
        entries.append((f"{classes.ignored}: not labelled", VOID))
    return np.vstack([*canvas, legend(entries, WIDEST)])


def choose_pairs(measured: Sequence[PairProperties], classes: Classes) -> list[int]:
    """Positions of at most COLUMNS * ROWS pairs: for each class the one with most of it, rare classes first, then
    others at equal distances, those with more than the first class before those without.
    """
    values = [*classes.values[1:], *([] if classes.ignored is None else [classes.ignored])]
    pixels = np.array(
        [[pair.values[value] if value < len(pair.values) else 0 for value in values] for pair in measured]
    )
    wanted = COLUMNS * ROWS
    chosen: list[int] = []
    for value in np.argsort(np.count_nonzero(pixels, axis=0)).tolist():
        best = int(pixels[:, value].argmax())
        if pixels[best, value] and not pixels[chosen, value].any():
            chosen.append(best)
    filled = [number for number in range(len(measured)) if pixels[number].any() and number not in chosen]
    empty = [number for number in range(len(measured)) if not pixels[number].any()]
    for group in (filled, empty):
        missing = min(wanted - len(chosen), len(group))
        if missing > 0:
            chosen += [group[place] for place in np.linspace(0, len(group) - 1, missing).round().astype(int)]
    return sorted(chosen[:wanted])


def draw_pair(pair: Pair, form: StoredForm, classes: Classes, has_background: bool) -> np.ndarray:
    """The image with its mask `(SIDE, SIDE + GAP, 3)`, in the middle of a white cell."""
    assert pair.mask is not None, "a plan is made from pairs"
    image, kinds, is_picture = read_stored_image(pair.image)
    mask = read_stored_mask(pair.mask, form)
    is_slice = image.shape[2] == 3 and pair.image.name.startswith("image_")  # with its neighbours as channels
    if is_picture and image.shape[2] in (3, 4):
        image = image[:, :, [2, 1, 0]]  # OpenCV's order
    low, high = (0, 255) if kinds == {"uint8"} else (min(image.min(), 0), image.max())  # 12 of 16 bits are common
    scaled = (image - np.float32(low)) / max(np.float32(high) - np.float32(low), np.float32(1e-6))
    picture = displayable(scaled.astype(np.float32), is_slice or not is_picture)
    scale = SIDE / max(mask.shape)
    size = (max(round(mask.shape[1] * scale), 1), max(round(mask.shape[0] * scale), 1))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    void = mask == classes.ignored if classes.ignored is not None else np.zeros(mask.shape, bool)
    if not classes.overlapping:
        indices = np.zeros(65536, np.uint8)
        indices[classes.values] = np.arange(len(classes.values))
        mask = indices[mask]
    first = 1 if has_background or classes.overlapping else 0
    mask = np.where(void, 0 if first else NO_CLASS, mask)
    drawn = overlay(picture, mask, TINT, bool(classes.overlapping), first)
    drawn[void] = (drawn[void] * (1 - 2 * TINT) + 2 * TINT * np.array(VOID)).astype(np.uint8)
    cell = np.full((SIDE, SIDE + GAP, 3), 255, np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = drawn
    return cell

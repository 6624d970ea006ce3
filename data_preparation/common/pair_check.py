"""Check one pair of image and mask: both can be read, their sizes agree, the labels are allowed."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from data_generators.files.image_file import ImageFile, ImageParts, parts_of
from data_generators.files.pairing import Pair
from data_generators.reading.channels import read_parts
from data_generators.reading.compression import has_frames, is_lossy
from data_generators.reading.decoding import decode, to_channels
from data_generators.reading.headers import read_whole_and_header
from data_generators.reading.mask_values import FORMS, read_values_and_form
from data_generators.reading.masks import read_mask_as, to_classes
from data_generators.reading.orientation import is_turned, turn_as_shown
from data_generators.reading.samples import ReadSettings, check_sizes, scaled_by_volume
from data_preparation.common.dataset_report import intensity_of
from data_preparation.common.fingerprint import ImageFacts, facts_of
from data_preparation.common.intensity_statistics import IntensityHistogram
from utils.base.errors import UserError
from utils.base.ignored_classes import is_known, plain

# Properties of image files that can be read but are seldom expected: name -> what to know about them.
IMAGE_PROPERTIES = {
    "16 bit": "have 16 bits per channel, stored or by PREPROCESS_DATA.VALUE_RANGE: 65535 becomes 1",
    "nearly black": "use at most 12 of their 16 bits, so that they become nearly black: "
    "PREPROCESS_DATA.VALUE_RANGE=[0,4095], for 8 bits [0,255], spreads them",
    "one colour": "have one colour everywhere",
    "frames": "are animations, of which the first frame is read",
    "palette": "have a palette: the colours are used, not the indices",
    "alpha": "have an alpha channel, which is dropped",
    "rotation": "have an EXIF rotation for display: pixels are used as stored, and masks must not be rotated "
    "(PREPROCESS_DATA.EXIF=apply turns both)",
}
# Masks that can be meant in two ways, or have lost something.
MASK_FORMS = {f"mask: {name}": text for name, text in FORMS.items()} | {
    "mask: lossy": "are compressed as JPEG does, which changes label values at edges. Save masks as PNG"
}
ROTATION_HINT = (
    "A mask differs in size from its image, which has an EXIF rotation: the mask was probably drawn on the image as it "
    "is displayed, but pixels are used as stored. Save the image upright, without EXIF rotation, and use that one, or "
    "set PREPROCESS_DATA.EXIF=apply."
)


@dataclass(slots=True)
class PairCheck:
    """The result of checking a pair.

    Attributes:
        problems: what is wrong, one message each.
        hints: what may help.
        labels: pixels of each value of the mask, up to its largest; empty without a mask.
        known: pixels of which each of overlapping classes is known, `(classes,)`; None where none is ignored by itself.
        size: (height, width, channels) of the image; None unless measured.
        intensity: see `data_preparation.common.dataset_report.intensity_of`; None unless measured.
        properties: names in IMAGE_PROPERTIES that hold for the image, and in MASK_FORMS for the mask.
        contents: hash of the bytes of the image file; None if it cannot be read.
        facts: for the fingerprint of the training set; None unless asked for.
    """

    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    known: np.ndarray | None = None
    size: tuple[int, ...] | None = None
    intensity: np.ndarray | None = None
    properties: tuple[str, ...] = ()
    contents: int | None = None
    facts: ImageFacts | None = None


def check_pair(
    pair: Pair,
    settings: ReadSettings,
    classes: int,
    measure: bool,
    multi_label: bool = False,
    histogram: IntensityHistogram | None = None,
    with_facts: bool = False,
) -> PairCheck:
    """Read a pair and collect everything that is wrong with it.

    Args:
        pair: image, and mask or None.
        settings: how it is read.
        classes: OUTPUT.CLASSES.
        measure: also measure size and intensity of the image.
        multi_label: whether the bits of a mask's values are classes.
        histogram: counts the pair, too, if it has no problem.
        with_facts: also find `PairCheck.facts`.
    """
    check = PairCheck()
    image = mask = None
    try:
        image, check.properties, check.contents = read_image_and_properties(pair.image, settings)
        image = scaled_by_volume(pair.image, image, settings)
    except UserError as error:
        check.problems.append(str(error))
    if pair.mask is not None:
        try:
            mask, form = read_mask_and_form(pair.mask, settings)
            check.properties += (f"mask: {form}",) if form else ()
            check.properties += ("mask: lossy",) if any(map(is_lossy, parts_of(pair.mask))) else ()
        except UserError as error:
            check.problems.append(str(error))
    if image is not None:
        try:
            check_sizes(pair, image.shape[:2], mask, settings)
        except UserError as error:
            check.problems.append(str(error))
        if with_facts:
            check.facts = facts_of(image)
        if measure:
            check.size, check.intensity = image.shape, intensity_of(image)
    if mask is not None:
        check.labels = np.bincount(plain(mask).ravel())
        if mask.dtype == np.uint16:
            each = [is_known(mask, [index], settings.ignore_label, multi_label) for index in range(1, classes + 1)]
            check.known = np.array([pixels.sum() for pixels in each])
        check_labels(check, pair.mask, classes, settings.ignore_label, multi_label)
        if image is not None and "rotation" in check.properties and mask.shape != image.shape[:2]:
            check.hints.append(ROTATION_HINT)
    if histogram is not None and image is not None and (mask is None or mask.shape == image.shape[:2]):
        histogram.add(image, mask)
    return check


def read_mask_and_form(file: ImageFile, settings: ReadSettings) -> tuple[np.ndarray, str | None]:
    """`read_mask_as`, and the name in FORMS if a mask in one picture could be meant otherwise."""
    if settings.class_masks is not None:
        return read_mask_as(file, settings), None
    values, form = read_values_and_form(file, settings.mask_form, settings.turned)
    return to_classes(file, values, settings), form


def read_image_and_properties(path: ImageFile, settings: ReadSettings) -> tuple[np.ndarray, tuple[str, ...], int]:
    """The image as `read_image` of `data_generators.reading` reads it, its names in IMAGE_PROPERTIES, hash of bytes."""
    if not isinstance(path, ImageParts):
        return read_file_and_properties(path, settings, settings.channels)
    found: dict[ImageFile, tuple[tuple[str, ...], int]] = {}

    def read(part: ImageFile, share: int) -> np.ndarray:
        image, names, contents = read_file_and_properties(part, settings, share, is_part=True)
        found[part] = names, contents
        return image

    image = read_parts(path, settings.channels, read)
    properties = {name for names, _ in found.values() for name in names}
    if any("one colour" not in names for names, _ in found.values()):
        properties.discard("one colour")
    contents = hash(tuple(found[part][1] for part in path.parts))
    return image, tuple(name for name in IMAGE_PROPERTIES if name in properties), contents


def read_file_and_properties(
    path: ImageFile, settings: ReadSettings, channels: int, is_part: bool = False
) -> tuple[np.ndarray, tuple[str, ...], int]:
    """`read_image_and_properties` of a file, from which so many channels are wanted."""
    data, header = read_whole_and_header(path)
    bands = settings.bands
    pixels = decode(path, data, None if bands else channels, settings.value_range)
    image = to_channels(path, pixels, channels, bands, is_part)
    if settings.turned:
        image = turn_as_shown(image, data)
    is_16_bit = image.dtype == np.uint16
    has = {
        "16 bit": is_16_bit and settings.volume_scale is None,  # which has another scale
        "nearly black": is_16_bit and settings.value_range is None and 0 < int(image.max()) < 4096,
        "one colour": bool((image == image[:1, :1]).all()),
        "frames": has_frames(data),
        "palette": header.has_palette,
        "alpha": bands is None
        and channels != 4
        and pixels.shape[2] == 4
        and pixels[:, :, 3].min() < np.iinfo(pixels.dtype).max,
        "rotation": not settings.turned and is_turned(data),
    }
    return image, tuple(name for name in IMAGE_PROPERTIES if has[name]), hash_of(data)


def hash_of(data: bytes) -> int:
    """A hash of 8 bytes that is the same in every process, as `hash` is not."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def check_labels(
    check: PairCheck, path: ImageFile | None, classes: int, ignore_label: int | None, multi_label: bool = False
) -> None:
    """Add a problem and a hint if the mask has labels that the number of classes does not allow."""
    values = np.flatnonzero(check.labels).tolist()
    # One class is foreground against background; overlapping ones are a bit each.
    allowed = 2**classes - 1 if multi_label else max(classes - 1, 1)
    if all(value <= allowed or value == ignore_label for value in values):
        return
    shown = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
    ignored = "" if ignore_label is None else f", and DATASET.IGNORE_LABEL={ignore_label}"
    check.problems.append(
        f"{path}: contains the values {shown}; OUTPUT.CLASSES={classes} allows 0 to {allowed}{ignored}."
    )
    if multi_label:
        check.hints.append(
            "OUTPUT.MULTI_LABEL=True: bit c - 1 of a mask's value says whether class c is there, so C classes have "
            "the values 0 to 2^C - 1; see docs/reference/file-formats.md."
        )
        return
    if values in ([0, 255], [255]):
        check.hints.append(
            "Masks of 0 and 255: DATASET.LABEL_VALUES=[0,255], or PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True, makes 255 "
            "class 1."
        )
        return
    if values[-1] == 255:
        check.hints.append(
            "Masks with 255: DATASET.IGNORE_LABEL=255 if it means 'not labelled'; otherwise name the pixel value of "
            "each class, such as DATASET.LABEL_VALUES=[0,128,255]."
        )
        return
    check.hints.append(
        "Set OUTPUT.CLASSES above the largest label value, or name the pixel value of each class, such as "
        "DATASET.LABEL_VALUES=[0,128,255]; a value that means 'not labelled' is DATASET.IGNORE_LABEL."
    )

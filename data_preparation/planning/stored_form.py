"""How images and masks are stored: in one file or several, and with which values; finding and reading them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from data_generators.files.found_files import STACK
from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.files.pairing import Pair, find_pairs
from data_generators.reading.channels import join_channels, refuse_colours
from data_generators.reading.class_masks import read_class_masks
from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_whole
from data_generators.reading.mask_values import read_values
from data_generators.reading.masks import map_values
from data_generators.reading.tiff import TIFF_STARTS, decode_tiff, decode_tiff_values
from data_generators.reading.value_range import to_uint16
from data_preparation.common.image_files import class_names, is_stack
from data_preparation.common.raw_data import refuse_raw
from data_preparation.planning.advice import advise
from data_preparation.planning.label_sets import bits_of_sets, names_of_sets
from utils.base.class_bits import bit_of
from utils.base.errors import UserError
from utils.base.files import is_list_file
from utils.base.ignored_classes import plain
from utils.config import load_config
from utils.config.rules.channels import names_find_files

PICTURE = (1, 3, 4)  # bands of grey, colours, and colours with alpha
TYPES = (np.uint8, np.uint16)  # of pixels, that are read without PREPROCESS_DATA.VALUE_RANGE


class StoredForm(NamedTuple):
    """How images and masks are stored, as the command line says.

    channels: DATASET.CHANNELS, or None; class_masks: of --class-masks, see
    `data_preparation.common.image_files.class_names`, or None; ignored: value that is not labelled, or None;
    label_sets: DATASET.LABEL_SETS, or None.
    """

    channels: list[str] | None = None
    class_masks: list[str] | None = None
    ignored: int | None = None
    label_sets: dict[int, list[str]] | None = None

    @property
    def classes(self) -> list[str] | None:
        """The names, or patterns, of classes that have a plane each, or of which a value stands for several."""
        if self.label_sets is not None:
            return names_of_sets(self.label_sets)
        return None if self.class_masks is None else list(class_names(self.class_masks) or ())

    @property
    def class_masks_key(self) -> str | list[str] | None:
        """DATASET.CLASS_MASKS."""
        return STACK if is_stack(self.class_masks) else self.class_masks

    def check(self) -> None:
        """Raise a UserError for names that tell no files apart, or too many classes."""
        if self.channels is not None:
            names_find_files("DATASET.CHANNELS", self.channels)
        if self.label_sets is not None and self.class_masks is not None:
            raise UserError("--class-masks and --label-sets: masks have a plane for each class, or values; choose one.")
        if self.class_masks is not None and self.classes is not None:
            names_find_files("DATASET.CLASS_MASKS", self.classes)
            bit_of(len(self.classes), "--class-masks")

    def config(self) -> DictConfig:
        """A config that finds files of this form."""
        cfg = load_config()
        cfg.DATASET.CHANNELS, cfg.DATASET.CLASS_MASKS = self.channels, self.class_masks_key
        return cfg


def pairs_of(form: StoredForm, images: str, masks: str) -> list[Pair]:
    """The pairs of two folders, or of lists of files."""
    cfg = form.config()
    cfg.DATASET.TRAIN.IMAGES_PATH, cfg.DATASET.TRAIN.MASK_PATH = (str(Path(path).resolve()) for path in (images, masks))
    try:
        for name, path in (("IMAGES", images), ("MASKS", masks)):
            if not is_list_file(path) and not Path(path).is_dir():
                raise UserError(f"{name}={path}: there is no such folder.")
        return find_pairs(cfg, "train")
    except UserError as error:
        if not any(map(is_list_file, (images, masks))):
            refuse_raw(images, masks)
        raise UserError(f"{error}{advise(images, masks, form.channels, form.class_masks)}") from None


class StoredImage(NamedTuple):
    """An image whose form is not known yet.

    values: `(height, width, bands)` as stored, colours in OpenCV's order; kinds: their types, of each file; is_picture:
    whether the bands are grey or colours, perhaps with alpha. All others are channels as stored.
    """

    values: np.ndarray
    kinds: frozenset[str]
    is_picture: bool


def read_stored_image(file: ImageFile) -> StoredImage:
    """Read an image; the files of one give a band each.

    Raises:
        UserError: it cannot be read, holds values that are not finite, or a file of several has different bands.
    """
    if not isinstance(file, ImageParts):
        values, is_picture = read_file(file)
        return StoredImage(values, frozenset([values.dtype.name]), is_picture)
    arrays = [read_file(part)[0] for part in file.parts]
    for part, array in zip(file.parts, arrays, strict=True):
        refuse_colours(part, array, 1)
    kind = np.result_type(*arrays)
    joined = join_channels(file, [array[:, :, :1].astype(kind, copy=False) for array in arrays])
    return StoredImage(joined, frozenset(array.dtype.name for array in arrays), False)


def read_file(file: ImageFile) -> tuple[np.ndarray, bool]:
    """Values and `is_picture` of a file, as in `StoredImage`."""
    data = read_whole(file)
    if data.startswith(TIFF_STARTS):
        values = decode_tiff_values(file, data)[0]
        if values.dtype not in TYPES:
            to_uint16(file, values, (0, 1))  # refuses what is not finite
            return values, values.shape[2] in PICTURE[:2]
    pixels = decode(file, data)
    bands = pixels.shape[2]
    return pixels, bands in PICTURE and not (bands == 4 and data.startswith(TIFF_STARTS) and lacks_colours(file, data))


def lacks_colours(file: ImageFile, data: bytes) -> bool:
    """Whether the four bands of a TIFF file are no colours with alpha, so that it is not read with 3 channels."""
    try:
        decode_tiff(file, data, channels=3)
    except UserError:
        return True
    return False


def read_stored_mask(file: ImageFile, form: StoredForm) -> np.ndarray:
    """The values of a mask, uint8 or uint16 `(height, width)`; of overlapping classes their bits."""
    if form.label_sets is not None:
        return map_values(file, read_values(file), bits_of_sets(form.label_sets), form.ignored, "LABEL_SETS")
    if form.classes is None:
        return read_values(file)
    return plain(read_class_masks(file, form.classes, form.ignored))

"""What NVIDIA DALI is given of a sample: one record of bytes, read and drawn on the CPU.

One record, because the datasets that DALI's TensorFlow plugin takes as inputs are independent of one another.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from data_generators.augmentation.keep_foreground import foreground_box
from data_generators.augmentation.knobs import MATRIX, AugmentationSettings
from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.files.pairing import Pair
from data_generators.loaders.batches import HAS_CHANGED
from data_generators.loaders.dali_augmentation import draw_inputs
from data_generators.reading.decoding import decode_image
from data_generators.reading.headers import PNG_START, read_whole_and_header
from data_generators.reading.jpeg import JPEG_START
from data_generators.reading.masks import read_mask_as, resize_mask
from data_generators.reading.numbered_masks import with_objects
from data_generators.reading.orientation import is_turned
from data_generators.reading.readers import PairReader
from data_generators.reading.samples import ReadSettings, check_sizes, read_image_as
from utils.base.errors import UserError

GREY, COLOUR = 0, 2  # types of PNG without a palette and without alpha


class Field(NamedTuple):
    """A part of a record that has the same size in all of them."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class RecordReader:
    """Make the record of a sample: the fields, one after the other, the mask, the bytes of the image's file.

    The mask is in its final form: class indices, resized and cropped. Reading it here costs what it costs in DALI,
    which decodes PNG on the CPU as well, and does not know all the forms that masks have.

    Attributes:
        reader: what is asked for.
    """

    reader: PairReader

    @property
    def augmentation(self) -> AugmentationSettings | None:
        return self.reader.augmentation.settings if self.reader.augmentation else None

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Their names and forms, in the order in which they stand in a record.

        "size" is (height, width) of the mask, 0 without one, and "corner" (top, left) of the crop; for the others see
        `dali_augmentation.draw_inputs`.
        """
        settings = self.reader.settings
        found = {"size": Field("int32", (2,))}
        if settings.crop:
            found["corner"] = Field("int32", (2,))
        if self.augmentation is None:
            return found
        knobs, number = self.augmentation.knobs, Field("float32", ())
        if knobs.keys() & set(MATRIX):
            found["matrix"] = Field("float32", (2, 3))
        if "COARSE_DROPOUT" in knobs:
            found |= dict.fromkeys(("anchors", "extents"), Field("float32", (2 * knobs["COARSE_DROPOUT"]["HOLES"][1],)))
        if "NOISE" in knobs:
            found["noise"] = Field("float32", self.image_shape)
        if "BLUR" in knobs:
            found |= {"sigma": number, "window": Field("int32", ())}
        names = {"BRIGHTNESS": "shift", "CONTRAST": "factor", "GAMMA": "exponent"}
        return found | {name: number for knob, name in names.items() if knob in knobs}

    @property
    def mask_dtype(self) -> str:
        """Type of the masks in records."""
        return next((spec.dtype for spec in self.reader.moved_specs[1:]), "uint8")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of all images of a batch; augmentation needs images of one size."""
        settings = self.reader.settings
        assert settings.height is not None and settings.width is not None
        return settings.height, settings.width, settings.channels

    def __call__(self, pair: Pair, epoch: int, position: int) -> np.ndarray:
        """The record of a sample: uint8 `(bytes,)`.

        Raises:
            UserError: names a file that cannot be read, or whose size does not fit.
        """
        settings = self.reader.settings
        encoded, size = encoded_image(pair.image, settings, self.reader.image_dtype == "uint8")
        mask = read_mask_as(pair.mask, settings) if self.needs_mask and pair.mask is not None else None
        check_sizes(pair, size, mask, settings)
        if settings.resize and settings.height is not None and settings.width is not None:
            size = settings.height, settings.width
            mask = None if mask is None else resize_mask(mask, *size)
        if mask is not None and pair.image in self.reader.objects:
            mask = with_objects(pair, mask, self.reader.objects[pair.image], settings.resize, settings.turned)
        values: dict[str, np.ndarray | np.generic] = {}
        if settings.crop:
            top, left = settings.crop.corner(size, mask, epoch, position)
            values["corner"] = np.array([top, left], np.int32)
            if mask is not None:
                mask = mask[top : top + settings.crop.height, left : left + settings.crop.width]
        if self.augmentation is not None:
            box = foreground_box(mask, settings.ignore_label) if mask is not None and self.needs_box else None
            values |= draw_inputs(self.augmentation, self.image_shape, epoch, position, box)
        if mask is None or not self.reader.with_mask:
            mask = np.empty((0, 0), np.uint8)
        values["size"] = np.array(mask.shape, np.int32)
        parts = [in_form(values[name], field) for name, field in self.fields.items()]
        return np.concatenate([*parts, mask.ravel().view(np.uint8), encoded])

    @property
    def needs_mask(self) -> bool:
        crop = self.reader.settings.crop
        return self.reader.with_mask or (crop is not None and (crop.mode == "foreground" or crop.fraction is not None))

    @property
    def needs_box(self) -> bool:
        """Whether ZOOM must leave the foreground in the frame."""
        zoom = None if self.augmentation is None else self.augmentation.knobs.get("ZOOM")
        return zoom is not None and zoom.get("KEEP_FOREGROUND") is not False and self.reader.with_mask


def in_form(value: np.ndarray | np.generic, field: Field) -> np.ndarray:
    """The bytes of a field; where fewer values are drawn than it holds, as of holes, the rest is 0."""
    array = np.zeros(field.shape, field.dtype)
    array[tuple(slice(side) for side in np.shape(value))] = value
    return array.reshape(-1).view(np.uint8)


def encoded_image(file: ImageFile, settings: ReadSettings, only_8_bit: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """The bytes of a PNG or JPEG file, uint8 `(bytes,)`, and (height, width).

    An image of another format, or of a kind that DALI reads otherwise than the other loaders, is decoded here and
    becomes a PNG without compression.

    Args:
        file: the image.
        settings: how it is read.
        only_8_bit: whether all images have 8 bit.

    Raises:
        UserError: it cannot be read, or has 16 bit although none has.
    """
    if settings.bands is not None or settings.volume_scale is not None or isinstance(file, ImageParts):
        pixels = read_image_as(file, settings)
    else:
        data, header = read_whole_and_header(file)
        turned = settings.turned and is_turned(data)
        if settings.value_range is None and not turned and is_decoded_alike(data):
            if only_8_bit and data.startswith(PNG_START) and data[24] == 16:
                raise UserError(HAS_CHANGED.format(file, "uint16"))
            return np.frombuffer(data, np.uint8), (header.height, header.width)
        pixels = decode_image(file, data, settings.channels, settings.value_range, settings.turned)
    if only_8_bit and pixels.dtype != np.uint8:
        raise UserError(HAS_CHANGED.format(file, pixels.dtype))
    return as_png(pixels), pixels.shape[:2]


def is_decoded_alike(data: bytes) -> bool:
    """Whether DALI reads a file as the other loaders do: grey or RGB, as PNG of 8 or 16 bit or as JPEG."""
    if data.startswith(PNG_START):
        transparent = b"tRNS" in data[: data.find(b"IDAT")]
        return data[24] in (8, 16) and data[25] in (GREY, COLOUR) and not transparent
    if data.startswith(JPEG_START):
        try:
            return simplejpeg.decode_jpeg_header(data)[2] not in ("CMYK", "YCCK")
        except ValueError:
            return False  # decoding it says what is wrong
    return False


def as_png(pixels: np.ndarray) -> np.ndarray:
    """An image `(height, width, channels)`, RGB or grey, as the bytes of a PNG file without compression."""
    stored = pixels[:, :, ::-1] if pixels.shape[2] == 3 else pixels
    return cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].ravel()

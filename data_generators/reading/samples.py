"""Read one sample, image and mask, as the model takes it."""

from dataclasses import dataclass

import numpy as np

from data_generators.crop import Crop
from data_generators.reading.cache import make_cache
from data_generators.reading.decoding import read_image, resize_image, to_unit_range
from data_generators.reading.masks import read_mask_as, resize_mask
from utils.base.errors import UserError


@dataclass(frozen=True)
class ReadSettings:
    """The values of the config that reading needs; a look-up in the config itself is slow."""

    height: int
    width: int
    channels: int
    resize: bool
    divide_mask_by: int
    ignore_label: int | None = None
    label_values: tuple | None = None
    crop: object = None  # `data_generators.crop.Crop`
    augment: object = None  # `data_generators.augmentation.albumentations_engine.Augmentation`
    cache: object = None  # of `data_generators.reading.cache.make_cache`

    @classmethod
    def from_config(cls, cfg, split=None, *, whole_images=False, cache=False):
        """The settings of a config; with a split those of its crop too.

        Args:
            whole_images: true leaves the crop out and takes images of any size.
            cache: true for DATASET.CACHE.
        """
        values = cfg.DATASET.LABEL_VALUES
        divide = cfg.PREPROCESS_DATA.NORMALIZE_MASK
        return cls(
            height=None if whole_images else cfg.INPUT.HEIGHT,
            width=None if whole_images else cfg.INPUT.WIDTH,
            channels=cfg.INPUT.CHANNELS,
            resize=cfg.PREPROCESS_DATA.RESIZE.VALUE,
            divide_mask_by=divide.NORMALIZE_VALUE if divide.VALUE else 1,
            ignore_label=cfg.DATASET.IGNORE_LABEL,
            label_values=None if values is None else tuple(values),
            crop=None if split is None or whole_images else Crop.from_config(cfg, split),
            cache=make_cache(cfg) if cache else None,
        )

    @property
    def of_decoding(self):
        """Text that changes with everything that `decode_pair` depends on but the files."""
        parts = (self.channels, self.divide_mask_by, self.ignore_label, self.label_values)
        return str((*parts, (self.height, self.width) if self.resize else None))


def read_pair(pair, settings, epoch=0, position=0):
    """`sample_pair` with the image in float32, in [0, 1]."""
    image, mask = sample_pair(pair, settings, epoch, position)
    return to_unit_range(image), mask


def sample_pair(pair, settings, epoch=0, position=0):
    """Return `(image, mask)` as the model takes them, but for the type of the image.

    Args:
        pair: `Pair` of files.
        settings: `ReadSettings`.
        epoch, position: int, epoch and place in it, from which a random crop and the augmentation are drawn.

    Returns:
        image: uint8 or uint16 `(height, width, channels)` as stored, or float32 in [0, 1].
        mask: uint8 `(height, width, 1)` class indices, or None where the pair has no mask.

    Raises:
        UserError: names the file that cannot be read, or whose size does not fit.
    """
    if settings.cache:
        image, mask = settings.cache(pair, settings.of_decoding, lambda: decode_pair(pair, settings))
    else:
        image, mask = decode_pair(pair, settings)
    check_sizes(pair, image, mask, settings)
    if settings.crop:
        top, left = settings.crop.corner(image.shape[:2], mask, epoch, position)
        window = (slice(top, top + settings.crop.height), slice(left, left + settings.crop.width))
        image, mask = image[window], None if mask is None else mask[window]
    if settings.augment:
        image, mask = settings.augment(image, mask, epoch, position)
    return image, None if mask is None else mask[:, :, np.newaxis]


def decode_pair(pair, settings):
    """Image `(height, width, channels)` and mask `(height, width)` or None, of one size: what DATASET.CACHE keeps."""
    image = read_image(pair.image, settings.channels)
    mask = None if pair.mask is None else read_mask_as(pair.mask, settings)
    if settings.resize:
        check_sizes(pair, image, mask, settings)
        image = resize_image(image, settings.height, settings.width)
        mask = None if mask is None else resize_mask(mask, settings.height, settings.width)
    return image, mask


def check_sizes(pair, image, mask, settings):
    """Raise a UserError where the mask has another size than its image, or the image another than INPUT."""
    height, width = image.shape[:2]
    if mask is not None and mask.shape[:2] != (height, width):
        raise UserError(f"{pair.mask}: is {mask.shape[0]}x{mask.shape[1]}, its image {pair.image} {height}x{width}.")
    crop = settings.crop
    if crop:
        if height < crop.height or width < crop.width:
            raise UserError(
                f"{pair.image}: is {height}x{width} (height x width), smaller than DATASET.CROP "
                f"{crop.height}x{crop.width}. Set a smaller INPUT.HEIGHT and INPUT.WIDTH, or leave the image out."
            )
        return
    any_size = settings.height is None
    if not settings.resize and not any_size and (height, width) != (settings.height, settings.width):
        raise UserError(
            f"{pair.image}: is {height}x{width} (height x width), INPUT is {settings.height}x{settings.width}; "
            "PREPROCESS_DATA.RESIZE.VALUE=True resizes it, DATASET.CROP.MODE=random cuts parts out of larger ones."
        )

"""Read image and mask of one sample: decode, resize or crop, and check their sizes."""

from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig

from data_generators.crop import Crop
from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import Pair
from data_generators.reading.cache import SampleCache, make_cache
from data_generators.reading.channels import Bands
from data_generators.reading.decoding import read_image, resize_image
from data_generators.reading.mask_values import STORED
from data_generators.reading.masks import read_mask_as, resize_mask
from data_generators.reading.numbered_masks import with_objects
from data_generators.reading.value_range import ValueRange, value_range_of
from data_generators.reading.volume_scale import VolumeScale
from utils.base.errors import UserError
from utils.config.class_names import mask_class_names
from utils.config.label_sets import LabelSets, label_sets_of


@dataclass(frozen=True)
class ReadSettings:
    """The values of the config that reading needs; looking them up in the config for each sample is slow.

    Attributes:
        height, width: INPUT.HEIGHT and INPUT.WIDTH, None for images of any size.
        channels: INPUT.CHANNELS.
        resize: whether to resize to height and width.
        divide_mask_by, ignore_label, label_values: see `data_generators.reading.masks.read_mask`.
        label_sets: DATASET.LABEL_SETS.
        class_masks: with DATASET.CLASS_MASKS the names of the classes.
        value_range: PREPROCESS_DATA.VALUE_RANGE.
        volume_scale: of PREPROCESS_DATA.SCOPE=volume.
        bands: DATASET.BANDS.
        around: DATASET.SLICES_AROUND.
        mask_form: PREPROCESS_DATA.MASK_FORM.
        turned: whether PREPROCESS_DATA.EXIF turns images and masks as viewers do.
        crop: the part of an image that a sample shows, or None for all of it.
        cache: keeps decoded samples, or None.
    """

    height: int | None
    width: int | None
    channels: int
    resize: bool
    divide_mask_by: int
    ignore_label: int | None = None
    label_values: tuple[int, ...] | None = None
    label_sets: LabelSets | None = None
    class_masks: tuple[str, ...] | None = None
    value_range: ValueRange | None = None
    volume_scale: VolumeScale | None = None
    bands: Bands | None = None
    around: int = 0
    mask_form: str = STORED
    turned: bool = False
    crop: Crop | None = None
    cache: SampleCache | None = None

    @classmethod
    def from_config(
        cls, cfg: DictConfig, split: str | None = None, *, whole_images: bool = False, cache: bool = False
    ) -> "ReadSettings":
        """The settings of a checked config.

        Args:
            cfg: checked config; DATASET, INPUT and PREPROCESS_DATA are read.
            split: whose crop is taken, or None for no crop.
            whole_images: take images of any size, without a crop.
            cache: whether to use DATASET.CACHE.
        """
        values, bands = cfg.DATASET.LABEL_VALUES, cfg.DATASET.BANDS
        divide = cfg.PREPROCESS_DATA.NORMALIZE_MASK
        return cls(
            height=None if whole_images else cfg.INPUT.HEIGHT,
            width=None if whole_images else cfg.INPUT.WIDTH,
            channels=cfg.INPUT.CHANNELS,
            resize=cfg.PREPROCESS_DATA.RESIZE.VALUE,
            divide_mask_by=divide.NORMALIZE_VALUE if divide.VALUE else 1,
            ignore_label=cfg.DATASET.IGNORE_LABEL,
            label_values=None if values is None else tuple(values),
            label_sets=label_sets_of(cfg),
            class_masks=None if cfg.DATASET.CLASS_MASKS is None else tuple(mask_class_names(cfg)[1:]),
            value_range=value_range_of(cfg),
            volume_scale=VolumeScale.from_config(cfg),
            bands=None if bands is None else tuple(bands),
            around=cfg.DATASET.SLICES_AROUND,
            mask_form=cfg.PREPROCESS_DATA.MASK_FORM,
            turned=cfg.PREPROCESS_DATA.EXIF == "apply",
            crop=None if split is None or whole_images else Crop.from_config(cfg, split),
            cache=make_cache(cfg) if cache else None,
        )

    @property
    def mask_dtype(self) -> str:
        """Type of masks: uint16 where a class may be ignored by itself, see `utils.base.ignored_classes`."""
        by_class = self.class_masks is not None and len(self.class_masks) > 1 and self.ignore_label is not None
        return "uint16" if by_class else "uint8"

    @property
    def decoding_key(self) -> str:
        """Text that changes with all settings that `decode_pair` depends on."""
        parts: tuple = (self.channels, self.divide_mask_by, self.ignore_label, self.label_values)
        if (self.value_range, self.mask_form, self.turned) != (None, STORED, False):
            parts += (self.value_range, self.mask_form, self.turned)
        if self.volume_scale is not None:
            parts += ("volume", self.volume_scale)
        if self.bands is not None:
            parts += ("bands", self.bands)
        if self.label_sets is not None:
            parts += ("sets", self.label_sets)
        if self.class_masks is not None:
            parts += ("class masks", self.class_masks)
        return str((*parts, (self.height, self.width) if self.resize else None))


def read_pair(
    pair: Pair, settings: ReadSettings, epoch: int = 0, position: int = 0, objects: ImageFile | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read image and mask of a pair, resized or cropped as the config asks, without augmentation.

    Args:
        pair: files of image and mask.
        settings: see `ReadSettings`.
        epoch, position: of the sample, see `data_generators.sampler.EpochSampler`; they decide a random crop.
        objects: label image whose objects are added to the mask, or None.

    Returns:
        image: uint8 or uint16 `(height, width, channels)`, as stored.
        mask: `(height, width)` class indices, of type `settings.mask_dtype`, or with `objects` what
            `numbered_masks.join` returns; None if the pair has no mask.

    Raises:
        UserError: names a file that cannot be read, or whose size does not fit.
    """
    image, mask = decode_cached(pair, settings)
    check_sizes(pair, image.shape[:2], mask, settings)
    if objects is not None and mask is not None:
        mask = with_objects(pair, mask, objects, settings.resize, settings.turned)
    if settings.crop:
        top, left = settings.crop.corner(image.shape[:2], mask, epoch, position)
        window = (slice(top, top + settings.crop.height), slice(left, left + settings.crop.width))
        image, mask = image[window], None if mask is None else mask[window]
    return image, mask


def decode_cached(pair: Pair, settings: ReadSettings) -> tuple[np.ndarray, np.ndarray | None]:
    """`decode_pair`, through DATASET.CACHE if there is one."""
    if settings.cache is None:
        return decode_pair(pair, settings)
    image, mask = settings.cache(pair, settings.decoding_key, lambda: decode_pair(pair, settings))
    assert image is not None
    return image, mask


def decode_pair(pair: Pair, settings: ReadSettings) -> tuple[np.ndarray, np.ndarray | None]:
    """Image `(height, width, channels)` and mask `(height, width)` or None, resized but not cropped."""
    image = read_image_as(pair.image, settings)
    mask = None if pair.mask is None else read_mask_as(pair.mask, settings)
    if settings.resize and settings.height is not None and settings.width is not None:
        check_sizes(pair, image.shape[:2], mask, settings)
        image = resize_image(image, settings.height, settings.width)
        mask = None if mask is None else resize_mask(mask, settings.height, settings.width)
    return image, mask


def read_image_as(file: ImageFile, settings: ReadSettings) -> np.ndarray:
    """`data_generators.reading.decoding.read_image` with the settings of the config."""
    image = read_image(file, settings.channels, settings.value_range, settings.turned, settings.bands)
    return scaled_by_volume(file, image, settings)


def scaled_by_volume(file: ImageFile, image: np.ndarray, settings: ReadSettings) -> np.ndarray:
    """A decoded image `(height, width, channels)`, by the statistics of its volume if PREPROCESS_DATA.SCOPE asks."""
    return image if settings.volume_scale is None else settings.volume_scale(file, image)


def check_sizes(pair: Pair, size: tuple[int, ...], mask: np.ndarray | None, settings: ReadSettings) -> None:
    """Raise a UserError if the (height, width) of an image is not that of its mask, or does not fit INPUT or CROP."""
    height, width = size
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
            f"{pair.image}: is {height}x{width} (height x width), INPUT is {settings.height}x{settings.width}. Set "
            f"INPUT.HEIGHT={height} INPUT.WIDTH={width}; or PREPROCESS_DATA.RESIZE.VALUE=True resizes it, "
            "DATASET.CROP.MODE=random cuts parts out of larger ones."
        )

"""What predict.py reads: pictures, TIFF stacks, NIfTI volumes and DICOM series, each as a series of images.

A source is opened, gives its images one by one, and writes what was predicted in the form it has itself: a picture as
PNG, a stack as TIFF, a volume as NIfTI on the grid of the scan.
"""

import functools
import glob
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from omegaconf import ListConfig

from data_generators.files.pairing import IMAGE_SUFFIXES, Pair, find_pairs
from data_generators.reading.decoding import read_image, resize_image, to_channels
from data_generators.reading.headers import tiff_pages
from data_generators.reading.masks import read_mask_as
from data_generators.reading.samples import ReadSettings, check_sizes
from data_preparation.preprocess_data import Settings, fit
from data_preparation.scans.nifti import VIEW, read_scan
from data_preparation.scans.slices import crop_or_pad, window_slice
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path, write_whole

NIFTI = (".nii", ".nii.gz")
STACKS = (".tif", ".tiff")


class Reading(NamedTuple):
    """How pictures (`ReadSettings`) and slices (`Settings` of the preparation) are read."""

    pictures: ReadSettings
    slices: Settings

    @classmethod
    def from_config(cls, cfg):
        return cls(ReadSettings.from_config(cfg), Settings.from_config(cfg))


class Picture:
    """One picture file, with its mask file or None.

    Attributes:
        name: str, what is written is called so.
        frames: int, how many images it holds; known once it is open.
        ending: of the file that `save` writes.
    """

    ending = ".png"
    spacing = None
    is_series = False

    def __init__(self, path, mask=None):
        self.path, self.mask, self.name, self.frames = path, mask, path.stem, 1

    def open(self, reading):
        self.reading = reading.pictures

    def close(self):
        """Nothing is held."""

    def read(self, index):
        """Return `(image, truth)`: uint8 or uint16 `(height, width, channels)`; uint8 `(height, width)` or None."""
        image = read_image(self.path, self.reading.channels)
        truth = None if self.mask is None else read_mask_as(self.mask, self.reading)
        if truth is not None and truth.shape != image.shape[:2]:
            check_sizes(Pair(self.path, self.mask), image, truth, self.reading)
        return image, truth

    def look(self, index):
        """The image to show, as `read` gives it, of the size of the mask that is written."""
        return self.read(index)[0]

    def restore(self, probability, size):
        """Probabilities `(height, width, classes)` of an image that was read with that size, at that size."""
        return resize_probability(probability, size)


class Stack(Picture):
    """A TIFF file of several pages, each an image."""

    ending = ".tif"
    is_series = True

    def open(self, reading):
        self.reading = reading.pictures
        self.frames = tiff_pages(self.path)

    def read(self, index):
        done, pages = cv2.imreadmulti(str(self.path), index, 1, flags=cv2.IMREAD_UNCHANGED)
        if not done or pages[0].dtype not in (np.uint8, np.uint16):
            raise UserError(f"{self.path}: page {index} cannot be read as a picture of 8 or 16 bit.")
        page = pages[0] if pages[0].ndim == 3 else pages[0][:, :, np.newaxis]
        return to_channels(self.path, page, self.reading.channels), None

    def save(self, path, labels):
        """Write labels: list of uint8 `(height, width)`, one a page."""
        with write_whole(path) as temporary:
            if not cv2.imwritemulti(str(temporary), labels):
                raise UserError(f"Cannot write {path}.")


class Volume(Picture):
    """A NIfTI file or a folder with a DICOM series: the slices as the preparation cuts, windows and stacks them."""

    ending = ".nii.gz"
    is_series = True

    def __init__(self, path):
        super().__init__(path)
        self.name = path.name if path.is_dir() else path.name.removesuffix(".gz").removesuffix(".nii")

    def open(self, reading):
        self.reading, self.settings = reading.pictures, reading.slices
        if self.reading.channels not in (1, 3):
            raise UserError(
                f"{self.path}: a slice becomes 1 or 3 channels, not INPUT.CHANNELS={self.reading.channels}."
            )
        self.scan = read_scan(self.path)
        rows, columns, self.frames = self.scan.voxels.shape
        self.size, self.spacing = (rows, columns), self.scan.spacing
        # Three images share each slice.
        self.windowed = functools.lru_cache(maxsize=32)(self.window)

    def close(self):
        del self.scan, self.windowed

    def window(self, index):
        return window_slice(self.scan.slice(index), self.settings.low, self.settings.high, self.settings.scaling)

    def stacked(self, index, change):
        """Slice below, slice, slice above as red, green and blue, as `read_image` would read the prepared file."""
        near = [min(max(index + step, 0), self.frames - 1) for step in (1, 0, -1)]
        pixels = cv2.merge([change(self.windowed(at)) for at in near])
        return to_channels(self.path, pixels, self.reading.channels)

    def read(self, index):
        return self.stacked(index, lambda pixels: fit(pixels, self.settings, resize_image)), None

    def look(self, index):
        return self.stacked(index, lambda pixels: pixels)

    def restore(self, probability, size):
        """Probabilities of a prepared slice of that size, on the grid of the scan; outside a crop is background."""
        probability = resize_probability(probability, size)
        if self.settings.resize_method != "crop_or_pad" or self.settings.height is None:
            return resize_probability(probability, self.size)
        # Cutting and filling up around the centre undo each other.
        channels = [crop_or_pad(probability[..., index], *self.size) for index in range(probability.shape[-1])]
        restored = np.stack(channels, axis=-1)
        if len(channels) > 1:
            restored[..., 0][restored.sum(axis=-1) == 0] = 1
        return restored

    def to_stored(self, array):
        """`(rows, columns, slices)` as seen -> the axes of the file."""
        return apply_orientation(array, ornt_transform(axcodes2ornt(VIEW), io_orientation(self.scan.affine)))

    def save(self, path, labels):
        """Write labels, list of uint8 `(rows, columns)`, with the affine, the header and the shape of the scan."""
        self.save_array(path, np.stack(labels, axis=-1))

    def save_array(self, path, array):
        """Write `(rows, columns, slices[, classes])`."""
        array = self.to_stored(array)
        if self.path.is_dir():
            image = nib.Nifti1Image(array, self.scan.affine)
            image.header.set_xyzt_units("mm")
        else:
            scan = nib.load(self.path)
            kind = type(scan) if isinstance(scan, nib.Nifti1Image) else nib.Nifti1Image
            image = kind(array, scan.affine, scan.header)
            image.header["cal_min"] = image.header["cal_max"] = 0  # the range of grey values, not of labels
        image.header.set_data_dtype(array.dtype)
        image.header.set_slope_inter(1, 0)
        with write_whole(path) as temporary:
            nib.save(image, temporary)


def resize_probability(probability, size):
    """Probabilities, not labels, are resized: smooth borders, and no class between two others."""
    if probability.shape[:2] == tuple(size):
        return probability
    return cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, -1)


def find_sources(cfg, images=None):
    """The sources that PREDICT.INPUT names, or the images of DATASET.VAL, in the order of names or of the list.

    Args:
        cfg: the config.
        images: a value in place of DATASET.VAL.IMAGES_PATH, of images without masks.

    Raises:
        UserError: nothing there, or two sources that would be written under one name.
    """
    value, key = cfg.PREDICT.INPUT, "PREDICT.INPUT"
    paths = cfg.DATASET.VAL
    if value is None and images is None and paths.MASK_PATH is not None:
        sources = [source_of(pair.image, pair.mask) for pair in find_pairs(cfg, "val")]
    else:
        if value is None:
            value, key = paths.IMAGES_PATH if images is None else images, "DATASET.VAL.IMAGES_PATH"
        if isinstance(value, (list, ListConfig)):
            entries = [path for entry in value for path in expand(cfg, entry, key)]
        elif value is not None and is_list_file(value):
            entries = read_list(resolve_path(cfg, value))
        else:
            entries = expand(cfg, value, key)
        sources = [source_of(path) for path in dict.fromkeys(entries)]
        if not sources:
            raise UserError(f"{key}={value} is an empty list.")
    seen = {}
    for source in sources:
        other = seen.setdefault(source.name, source)
        if other is not source:
            raise UserError(
                f"{other.path} and {source.path} would both be written as {source.name}. Predict them separately."
            )
    return sources


def expand(cfg, value, key):
    """The files and DICOM folders that one entry stands for: a pattern, a folder or a file."""
    path = resolve_path(cfg, value)
    if any(mark in str(value) for mark in "*?[") and not path.exists():
        found = glob.glob(str(path), recursive=True) or glob.glob(str(value), recursive=True)
        if not found:
            raise UserError(f"{key}={value}: nothing matches the pattern {path}.")
        return without_labels([Path(name) for name in sorted(found)], key)
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"{key}={value}: there is no file or folder {path}. Set {key}, or WORK_DIR.")
        return [path]
    try:
        entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{key}: cannot read the folder {path}: {error.strerror}.") from None
    files = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith((*IMAGE_SUFFIXES, *NIFTI))]
    if files:
        return without_labels(files, key)
    if any(is_dicom(entry) for entry in entries):
        return [path]
    series = [entry for entry in entries if entry.is_dir() and any(is_dicom(file) for file in entry.iterdir())]
    if not series:
        raise UserError(
            f"{key}: the folder {path} holds no pictures ({' '.join(IMAGE_SUFFIXES)}), NIfTI or DICOM files. "
            "Folders in it are not searched: a pattern is, such as '" + str(path / "*/*.nii.gz") + "'."
        )
    return series


def without_labels(paths, key):
    """The paths without each `segmentation-N.nii` whose `volume-N.nii` is among them: labels are no scans."""
    volumes = {path.with_name(path.name.removesuffix(".gz")) for path in paths if path.name.startswith("volume-")}
    labels = []
    for path in paths:
        kind, _, rest = path.name.removesuffix(".gz").partition("-")
        if kind == "segmentation" and rest.endswith(".nii") and path.with_name(f"volume-{rest}") in volumes:
            labels.append(path)
    if labels:
        print(
            f"Note: {key}: left out as the labels of volumes beside them: {labels[0]}, {len(labels)} in all. To "
            "predict them all the same, list the files.",
            file=sys.stderr,
        )
    return [path for path in paths if path not in labels]


def source_of(path, mask=None):
    """The source that a path stands for, by its name alone: what is wrong with the file shows when it is read."""
    if path.is_dir() or path.name.lower().endswith(NIFTI):
        return Volume(path)
    if mask is None and path.suffix.lower() in STACKS and path.is_file() and is_stack(path):
        return Stack(path)
    return Picture(path, mask)


def is_stack(path):
    try:
        return tiff_pages(path) > 1
    except UserError:
        return True  # which says so when it is opened; it may have been cut off after the first page


def is_dicom(path):
    """Whether a file is DICOM: its letters stand after 128 bytes of anything."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False

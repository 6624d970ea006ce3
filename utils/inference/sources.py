"""What prediction reads: images, TIFF stacks, NIfTI volumes and DICOM series, each a sequence of images.

A source is opened, gives its images one by one, and saves a mask in its own format: PNG for an image, TIFF for a stack,
NIfTI on the grid of the scan for a volume. Scans are sliced and windowed exactly as `data_preparation` does it for
training. Images and stacks are in `utils.inference.image_sources`.
"""

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation
from omegaconf import DictConfig

from data_generators.files.image_file import ImageFile
from data_generators.reading.decoding import resize_image, to_channels
from data_generators.reading.masks import to_classes
from data_generators.reading.samples import ReadSettings
from data_generators.reading.value_range import to_uint16
from data_generators.reading.volume_intensities import measured
from data_preparation.scans.file_kinds import is_nifti, scan_name
from data_preparation.scans.geometry import from_radiological, nifti_affine
from data_preparation.scans.labelled_scans import LabelledScan
from data_preparation.scans.sequences import read_labelled, read_scans
from data_preparation.scans.slices import (
    SliceSettings,
    crop_or_pad,
    fit_slice,
    intensity_window,
    label_slice,
    spacing_of_slices,
    window_slice,
)
from utils.base.errors import UserError
from utils.base.files import atomic_write


class SourceSettings(NamedTuple):
    """How images and the slices of scans are read."""

    images: ReadSettings
    slices: SliceSettings

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self:
        """The settings of INPUT, DATASET, PREPROCESS_DATA and DATA_PREPARATION."""
        return cls(ReadSettings.from_config(cfg), SliceSettings.from_config(cfg))


class Source(ABC):
    """A file, or a folder with a DICOM series, that is predicted as one.

    Attributes:
        path: the file or folder.
        name: of the files that are written for it, without ending.
        ending: of its mask file.
        is_series: whether its images belong together, and its mask is written when all are predicted.
        is_turned: whether viewers show its image turned against the mask that is written; known once it is read.
        frames: how many images it has; known once it is open.
        spacing: of a scan, the voxel size in mm (row, column, slice) of the images; known once it is open.
    """

    ending = ".png"
    is_series = False
    is_turned = False
    spacing: tuple[float, float, float] | None = None

    def __init__(self, path: ImageFile) -> None:
        self.path, self.name, self.frames = path, path.stem, 1

    @abstractmethod
    def open(self, settings: SourceSettings) -> None:
        """Prepare to read.

        Raises:
            UserError: the file cannot be read.
        """

    def close(self) -> None:  # noqa: B027 (images and stacks hold nothing open)
        """Release what `open` loaded."""

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return `(image, truth)`: uint8 or uint16 `(height, width, channels)`; uint8 `(height, width)` or None."""

    def display_image(self, index: int) -> np.ndarray:
        """The image to show beside the mask: as `read` gives it, but of the size of the mask that is written."""
        return self.read(index)[0]

    def restore(self, probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Bring probabilities to the size of the mask that is written.

        Args:
            probability: `(height, width, classes)`, of an image that was read.
            size: (height, width) of that image.
        """
        return resize_probability(probability, size)

    @abstractmethod
    def save_mask(self, path: Path, labels: list[np.ndarray]) -> None:
        """Write class indices, uint8 `(height, width)` for each image."""


class VolumeSource(Source):
    """A NIfTI or DICOM file or a folder with a DICOM series; its images are the slices, made as for training.

    Its labels, if there are any, are NIfTI or DICOM; the truth that `read` returns is on the grid of the scan. With
    DATA_PREPARATION.CHANNELS the other sequences are in `others`, or on the fourth axis of the file.
    """

    ending = ".nii.gz"
    is_series = True
    path: Path

    def __init__(
        self, path: Path, mask: Path | None = None, others: tuple[Path, ...] = (), name: str | None = None
    ) -> None:
        super().__init__(path)
        self.mask, self.others = mask, others
        self.name = name or (path.name if path.is_dir() else scan_name(path))

    def open(self, settings: SourceSettings) -> None:
        self.settings, self.slices = settings.images, settings.slices
        self.check_channels()
        paths = LabelledScan(self.name, self.path, self.mask or self.path, self.others)
        self.truth = None
        if self.mask is None:
            self.scans = read_scans(paths, self.slices)
        else:
            self.scans, self.truth, _ = read_labelled(paths, self.slices)
        for note in dict.fromkeys(note for scan in self.scans for note in scan.notes):
            print(f"Note: {note}", file=sys.stderr)
        self.scan = self.scans[0]
        rows, columns, self.frames = self.scan.voxels.shape
        self.size = (rows, columns)
        self.spacing = spacing_of_slices(self.scan, self.slices)
        self.intensities = [intensity_window(scan, self.slices) for scan in self.scans]
        # Three images share each slice.
        self.windowed_slice = functools.lru_cache(maxsize=32)(self.window)
        if self.settings.volume_scale is not None:
            self.settings.volume_scale.refuse_value_range(self.path)
            self.ends = [self.settings.volume_scale.ends(self.measured(band)) for band in range(len(self.scans))]

    def close(self) -> None:
        del self.scans, self.scan, self.truth, self.windowed_slice

    def window(self, index: int, channel: int = 0) -> np.ndarray:
        """A slice of a sequence as uint8 or uint16 `(rows, columns)`."""
        pixels = self.scans[channel].slice(index)
        return window_slice(pixels, *self.intensities[channel], self.slices.scaling, self.slices.depth)

    def measured(self, band: int) -> dict[str, Any]:
        """The statistics of a sequence, as the preparation leaves them in the manifest of a volume."""
        windowed = (self.window(index, band) for index in range(self.frames))
        return measured((fit_slice(pixels, self.slices, resize_image) for pixels in windowed), self.slices.depth)

    def stack(self, index: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Slice below, slice, slice above as red, green and blue, as `read_image` would read the prepared file.

        With DATA_PREPARATION.CHANNELS the bands of the slice, with DATASET.SLICES_AROUND those of the slice and its
        neighbours, from below to above.

        Args:
            index: of the slice in the middle.
            change: applied to each slice.
        """
        around, plain = self.settings.around, self.slices.channels is None and not self.settings.around
        steps = (1, 0, -1) if plain else range(-around, around + 1)
        neighbours = [min(max(index + step, 0), self.frames - 1) for step in steps]
        pixels = [change(self.windowed_slice(number, band)) for number in neighbours for band in self.bands]
        if self.settings.value_range is not None:
            pixels = [to_uint16(self.path, values, self.settings.value_range) for values in pixels]
        if plain:
            image = to_channels(self.path, cv2.merge(pixels), self.settings.channels, self.settings.bands)
        else:
            image = np.stack(pixels, axis=-1)
        if self.settings.volume_scale is None:
            return image
        ends = self.ends if plain else [self.ends[band] for _ in neighbours for band in self.bands]
        return self.settings.volume_scale.apply(self.path, image, ends)

    @property
    def bands(self) -> list[int]:
        """The sequences that are channels, from 0."""
        channels, bands = self.slices.channels, self.settings.bands
        if channels is None:
            return [0]
        return list(range(len(channels))) if bands is None else [band - 1 for band in bands]

    def check_channels(self) -> None:
        """Raise a UserError if slices do not make the channels of the network."""
        settings, channels = self.settings, self.slices.channels
        made = (2 * settings.around + 1) * len(self.bands)
        if channels is not None:
            fits = made == settings.channels and max(self.bands) < len(channels)
        elif settings.around:  # the second band of a prepared slice is the slice itself
            fits = made == settings.channels and settings.bands in (None, (2,))
        else:
            fits, made = settings.bands is not None or settings.channels in (1, 3), 3
        if not fits:
            of = f" of {', '.join(channels)}" if channels else ""
            raise UserError(
                f"{self.path}: a slice{of} becomes {made} channels, not INPUT.CHANNELS={settings.channels}. Prepare "
                "the scans as the training data was, and predict the images."
            )

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        image = self.stack(index, lambda pixels: fit_slice(pixels, self.slices, resize_image))
        if self.truth is None or self.mask is None:
            return image, None
        return image, to_classes(self.mask, label_slice(self.truth, index, self.slices.labels), self.settings)

    def display_image(self, index: int) -> np.ndarray:
        return self.stack(index, lambda pixels: pixels)

    def restore(self, probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Bring probabilities of a prepared slice to the grid of the scan; what a crop left out is background."""
        probability = resize_probability(probability, size)
        if self.slices.resize_method != "crop_or_pad" or self.slices.height is None:
            return resize_probability(probability, self.size)
        # Cropping and padding around the centre undo each other.
        channels = [crop_or_pad(probability[..., index], *self.size) for index in range(probability.shape[-1])]
        restored = np.stack(channels, axis=-1)
        if len(channels) > 1:
            restored[..., 0][restored.sum(axis=-1) == 0] = 1
        return restored

    def save_mask(self, path: Path, labels: list[np.ndarray]) -> None:
        self.save_array(path, np.stack(labels, axis=-1))

    def save_array(self, path: Path, array: np.ndarray, slope: float = 1) -> None:
        """Write `(rows, columns, slices[, classes])` with the affine, the header and the order of axes of the scan.

        Values are stored as they are; readers multiply them by `slope`.
        """
        array = self.to_stored(array)
        if not is_nifti(self.path):
            image = nib.Nifti1Image(array, self.scan.affine)
            image.header.set_xyzt_units("mm")
        else:
            scan: Any = nib.load(self.path)
            kind = type(scan) if isinstance(scan, nib.Nifti1Image) else nib.Nifti1Image
            affine = nifti_affine(scan)  # in the units of the file, which its header states
            image = kind(array, affine, scan.header)
            if scan.header["qform_code"] == 0:  # some headers hold other voxel sizes beside a right sform
                image.header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
            image.header["cal_min"] = image.header["cal_max"] = 0  # the display range of the scan, not of labels
        image.header.set_data_dtype(array.dtype)
        image.header.set_slope_inter(slope, 0)
        with atomic_write(path) as temporary:
            nib.save(image, temporary)

    def to_stored(self, array: np.ndarray) -> np.ndarray:
        """`(rows, columns, slices)` in the radiological view -> the order of axes of the file."""
        return apply_orientation(array, from_radiological(self.scan.affine))


def resize_probability(probability: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize `(height, width, classes)`. Probabilities rather than labels: borders stay smooth, and no third class
    appears between two others."""
    height, width = size
    if probability.shape[:2] == (height, width):
        return probability
    return cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)

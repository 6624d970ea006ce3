"""Turn the slices of a scan into images of 8 or 16 bit and label masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from omegaconf import DictConfig

from data_generators.files.preparation import CLASS_NAMES
from utils.base.errors import UserError

if TYPE_CHECKING:
    from data_preparation.scans.nifti import Scan

NEARLY_WHOLE = 0.005  # labels 0 to 255 that a program stored as scaled 16-bit integers are off by up to 0.002
WHOLE_CT = (-1024.0, 3071.9375)  # HU of 12-bit scanners; stored with 16 bit, a unit is 16 steps: 16 (HU + 1024)
LITS_LABELS = (0, 1, 2)  # background, liver, tumour
LITS_CLASSES = {  # DATA_PREPARATION.LABELS -> the names of the classes
    "merge_tumour": ("background", "liver"),
    "liver_and_tumour": ("background", "liver", "tumour"),
}


@dataclass(frozen=True)
class SliceSettings:
    """Everything that decides what a slice looks like. A change of any value prepares every volume again.

    Attributes:
        height, width: size of the slices in pixels; None keeps their size.
        resize_method: "resize", or "crop_or_pad" around the centre.
        low, high: intensities that become 0 and the highest value; None: the 0.5th and 99.5th percentile of a volume,
            with 16 bit its lowest and highest.
        scaling: "window" or "slice_min_max", see `window_slice`.
        labels, values: see `label_slice`.
        modality: which image of a 4-D file; None requires 3-D files.
        label_grid: what to do with a segmentation on another grid than its scan, see
            `data_preparation.scans.labelled_scans.LABEL_GRIDS`.
        channels: names of the sequences that become the channels of an image, without neighbouring slices; None for the
            slice and its neighbours.
        resample_channels: whether sequences on another grid than the first are resampled.
        depth: bits of a value: 8, or 16, which leave the choice of intensities to PREPROCESS_DATA.
    """

    height: int | None
    width: int | None
    resize_method: str
    low: float | None
    high: float | None
    scaling: str
    labels: str
    modality: int | None = None
    label_grid: str = "own"
    channels: tuple[str, ...] | None = None
    resample_channels: bool = False
    values: tuple[int, ...] | None = None
    depth: int = 8

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self:
        """The settings of the config group DATA_PREPARATION."""
        group = cfg.DATA_PREPARATION
        return cls(
            height=group.RESIZED_HEIGHT,
            width=group.RESIZED_WIDTH,
            resize_method=group.RESIZE_METHOD,
            low=group.SCAN_MIN_VALUE,
            high=group.SCAN_MAX_VALUE,
            scaling=group.INTENSITY_SCALING,
            labels=group.LABELS,
            label_grid=group.LABEL_GRID,
            modality=group.MODALITY,
            channels=None if group.CHANNELS is None else tuple(group.CHANNELS),
            resample_channels=group.RESAMPLE_CHANNELS,
            depth=group.DEPTH,
        )

    def described(self) -> dict[str, Any]:
        """The settings for the manifest of a volume; what came with a later version only where it is used."""
        described = asdict(self)
        if self.channels is None:
            del described["channels"], described["resample_channels"]
        else:
            described["channels"] = list(self.channels)
        if self.values is None:
            del described["values"]
        else:
            described["values"] = list(self.values)
        if self.depth == 8:
            del described["depth"]
        return described

    def record(self, prepared_by: str, class_names: Sequence[str] | None) -> dict[str, Any]:
        """These settings as keys of the config, for `data_generators.files.preparation.write_preparation`.

        Args:
            prepared_by: the command.
            class_names: background first; None if they are not known.
        """
        group: dict[str, Any] = {
            "RESIZED_HEIGHT": self.height,
            "RESIZED_WIDTH": self.width,
            "RESIZE_METHOD": self.resize_method,
            "SCAN_MIN_VALUE": self.low,
            "SCAN_MAX_VALUE": self.high,
            "INTENSITY_SCALING": self.scaling,
            "LABELS": self.labels,
            "MODALITY": self.modality,
            "PREPARED_BY": prepared_by,
        }
        if self.channels is not None:
            group["CHANNELS"] = list(self.channels)
        if self.depth != 8:
            group["DEPTH"] = self.depth
        names = None if class_names is None else list(class_names)
        return {**{f"DATA_PREPARATION.{key}": value for key, value in group.items()}, CLASS_NAMES: names}


def window_slice(pixels: np.ndarray, low: float, high: float, scaling: str, depth: int = 8) -> np.ndarray:
    """Map intensities to uint8, with a depth of 16 to uint16.

    Args:
        pixels: `(rows, columns)` intensities, such as Hounsfield units.
        low, high: the window.
        scaling: "window" maps low..high to 0..255 or 65535; "slice_min_max" maps the range that the slice covers within
            them.
        depth: 8 or 16.

    >>> window_slice(np.float32([[-300, 25, 250]]), -200, 250, "window").tolist()
    [[0, 128, 255]]
    >>> window_slice(np.float32([[-1000, 40]]), *WHOLE_CT, "window", depth=16).tolist()
    [[384, 17024]]
    """
    if scaling == "slice_min_max":
        low, high = max(low, float(pixels.min())), min(high, float(pixels.max()))
        if low >= high:
            return np.zeros(pixels.shape, np.uint8 if depth == 8 else np.uint16)
    factor = (2**depth - 1) / (high - low)
    # One pass: scales, shifts, rounds, and saturates to 0..255 or 65535, which is the clipping.
    return cv2.addWeighted(pixels, factor, pixels, 0, -low * factor, dtype=cv2.CV_8U if depth == 8 else cv2.CV_16U)


def intensity_window(scan: Scan, settings: SliceSettings) -> tuple[float, float]:
    """The intensities that become 0 and the highest value: of the settings, else of the volume.

    The 0.5th and 99.5th percentile suit images without an absolute scale, such as MRI. 16 bit have levels enough for
    the whole range, so that nothing is cut off that PREPROCESS_DATA might want.
    """
    if settings.low is not None and settings.high is not None:
        return settings.low, settings.high
    shares = (0.5, 99.5) if settings.depth == 8 else (0, 100)
    low, high = np.percentile(np.stack([scan.slice(index) for index in range(scan.voxels.shape[2])]), shares)
    return float(low), float(max(high, low + 1e-6))


def label_slice(segmentation: Scan, index: int, labels: str, values: Sequence[int] | None = None) -> np.ndarray:
    """The labels of one slice as uint8 classes `(rows, columns)`.

    Args:
        segmentation: the labels of a volume.
        index: of the slice.
        labels: for LiTS "merge_tumour" (liver and tumour are class 1) or "liver_and_tumour"; for other scans
            "foreground" (everything above 0 is class 1) or "as_stored".
        values: the label of each class; None: the label is the class.

    Raises:
        UserError: a label that is not in `values`; a label other than 0, 1 and 2 in LiTS, or one that is not an integer
            from 0 to 255 elsewhere.
    """
    stored = segmentation.slice(index)
    if stored.dtype.kind == "f":  # scaled integers and sums of floats are whole but for the last digits
        whole = np.rint(stored)
        stored = np.where(np.abs(stored - whole) <= NEARLY_WHOLE, whole, stored)
    if values is not None:
        return classes_of_labels(segmentation.path, index, stored, values)
    with np.errstate(invalid="ignore"):  # what does not fit is found by the comparison
        classes = stored.astype(np.uint8)
    is_lits = labels in LITS_CLASSES
    known = LITS_LABELS if is_lits else range(256)
    if not np.array_equal(classes, stored) or classes.max() > known[-1]:
        unknown = sorted(set(np.unique(stored).tolist()) - set(known))
        allowed = "0 (background), 1 (liver) and 2 (tumour)" if is_lits else "integers from 0 to 255"
        raise UserError(
            f"{segmentation.path}: slice {index} contains the labels "
            f"{', '.join(f'{value:.7g}' for value in unknown[:10])}; allowed are {allowed}."
        )
    return np.minimum(classes, 1) if labels in ("merge_tumour", "foreground") else classes


def classes_of_labels(path: Path, index: int, stored: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Labels of a slice become classes, uint8, by their position in `values`.

    >>> classes_of_labels(Path("a.nii"), 0, np.array([[0, 500, 205]]), [0, 205, 500]).tolist()
    [[0, 2, 1]]
    """
    order = np.argsort(values)
    ordered = np.asarray(values)[order]
    places = np.minimum(np.searchsorted(ordered, stored), len(values) - 1)
    unknown = np.unique(stored[ordered[places] != stored])
    if len(unknown):
        shown = ", ".join(f"{value:.7g}" for value in unknown[:10])
        raise UserError(f"{path}: slice {index} contains the labels {shown}, which are not in --values. Add them.")
    return order[places].astype(np.uint8)


def fit_slice(
    pixels: np.ndarray, settings: SliceSettings, resize: Callable[[np.ndarray, int, int], np.ndarray]
) -> np.ndarray:
    """Bring a slice to the size of the settings.

    Args:
        pixels: `(rows, columns)`.
        settings: their size and `resize_method`.
        resize: `resize_image` or `resize_mask`.
    """
    if settings.height is None or settings.width is None:
        return pixels
    change = crop_or_pad if settings.resize_method == "crop_or_pad" else resize
    return change(pixels, settings.height, settings.width)


def crop_or_pad(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Crop or pad `(rows, columns)` around the centre; padding is 0.

    >>> crop_or_pad(np.ones((2, 4), int), 4, 2).tolist()
    [[0, 0], [1, 1], [1, 1], [0, 0]]
    """
    rows, columns = pixels.shape
    top, left = max(rows - height, 0) // 2, max(columns - width, 0) // 2
    crop = pixels[top : top + height, left : left + width]
    above, before = (height - crop.shape[0]) // 2, (width - crop.shape[1]) // 2
    padded = np.zeros((height, width), pixels.dtype)
    padded[above : above + crop.shape[0], before : before + crop.shape[1]] = crop
    return padded


def spacing_of_slices(scan: Scan, settings: SliceSettings) -> tuple[float, float, float]:
    """Spacing in mm (row, column, slice) after resizing."""
    rows, columns, _ = scan.voxels.shape
    row, column, along = scan.spacing
    if settings.resize_method == "resize" and settings.height and settings.width:
        row *= rows / settings.height
        column *= columns / settings.width
    return row, column, along

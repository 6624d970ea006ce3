"""Read DICOM: folders with the slices of one series, and segmentations in DICOM SEG files."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from data_preparation.scans.geometry import check_affine
from utils.base.errors import UserError
from utils.base.listing import list_folder

MAX_GAP = 0.05  # share of the slice distance by which distances may differ
MAX_VOXELS = 400_000_000  # of a file; one whose header declares more is not decoded
MAX_OFFSET = 0.2  # voxels by which a frame of a segmentation may lie off the slices of the scan
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # from the axes of DICOM (left, back, head) to those of NIfTI


Slice = tuple[Path, pydicom.Dataset]


@contextlib.contextmanager
def explain_damage(path: Path, what: str = "is incomplete or damaged") -> Iterator[None]:
    """Turn whatever a damaged file raises, in pydicom or where its values are used, into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: {what}: {cause}") from None


class StoredVoxels(NamedTuple):
    """Voxels in the order of axes of the file; the fields are the arguments of `data_preparation.scans.nifti.orient`.

    voxels: `(columns, rows, slices)`; affine: `(4, 4)`, to mm to the right, the front and the head; intensity =
    voxel * slope + intercept.
    """

    voxels: np.ndarray
    affine: np.ndarray
    slope: float
    intercept: float


def read_series(folder: Path) -> StoredVoxels:
    """Read the DICOM series in a folder; slices are ordered by position.

    Hidden files, and files that are not DICOM or have no pixels, are skipped.

    Returns:
        Voxels as stored, or float32 intensities if the slices have different scales.

    Raises:
        UserError: no slices, several series, slices of different sizes, two slices in one place or a missing one,
            colour images, a compression that no installed package reads, a truncated file.
    """
    with explain_damage(folder):
        return stack_slices(folder, read_slices(folder))


def read_slices(folder: Path) -> list[Slice]:
    """The slices of the one series in a folder; see `read_series`."""
    slices: list[Slice] = []
    for path in list_folder(folder).files:
        with explain_damage(path), contextlib.suppress(InvalidDicomError):
            read = pydicom.dcmread(path)
            if "PixelData" in read:
                slices.append((path, read))
    if not slices:
        raise UserError(f"{folder}: contains no DICOM files with pixels.")
    series = sorted({str(data.get("SeriesInstanceUID")) for _, data in slices})
    if len(series) > 1:
        raise UserError(f"{folder}: contains {len(series)} series, {', '.join(series[:3])}. Give each its own folder.")
    keys = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    for path, data in slices:
        missing = [key for key in keys if data.get(key) is None]
        if missing:
            raise UserError(f"{path}: has no {missing[0]}, so the position of the slice is unknown.")
    first_path, first = slices[0]
    for path, data in slices:
        if any(not np.allclose(data[key].value, first[key].value, atol=1e-3) for key in keys[1:]):
            raise UserError(f"{path}: differs in size or orientation from {first_path.name}.")
    return slices


def stack_slices(folder: Path, slices: list[Slice]) -> StoredVoxels:
    """Order the slices by position and stack their pixels; see `read_series`."""
    first = slices[0][1]
    along_row, along_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    heights = np.array([np.dot(normal, np.array(data.ImagePositionPatient, float)) for _, data in slices])
    order = np.argsort(heights, kind="stable")
    slices = [slices[index] for index in order]
    distance = slice_distance(folder, [path.name for path, _ in slices], heights[order])
    if distance is None:
        distance = float(first.get("SliceThickness") or 1)
    pixels, slope, intercept = pixels_and_scale(slices)
    row_distance, column_distance = map(float, first.PixelSpacing)
    affine = np.eye(4)
    position = np.array(slices[0][1].ImagePositionPatient, float)
    steps = [along_row * column_distance, along_column * row_distance, normal * distance]
    affine[:3] = LPS_TO_RAS @ np.column_stack([*steps, position])
    voxels = np.stack(pixels, axis=2).transpose(1, 0, 2)
    check_affine(folder, affine)
    return StoredVoxels(voxels, affine, slope, intercept)


def slice_distance(folder: Path, names: list[str], heights: np.ndarray) -> float | None:
    """The distance of ordered slices in mm; None for a single slice.

    Raises:
        UserError: two slices in one place, or distances that differ: a slice is missing.
    """
    steps = np.diff(heights)
    if not len(steps):
        return None
    distance = float(np.median(steps))
    if steps.min() < 1e-3:
        at = int(steps.argmin())
        raise UserError(
            f"{folder}: {names[at]} and {names[at + 1]} have the same position. Remove one, or give each series its "
            "own folder."
        )
    if np.abs(steps - distance).max() > MAX_GAP * distance:
        at = int(np.abs(steps - distance).argmax())
        raise UserError(
            f"{folder}: {names[at]} and {names[at + 1]} are {steps[at]:.2f} mm apart, other slices {distance:.2f} mm. "
            "Is a slice missing?"
        )
    return distance


def pixels_and_scale(slices: list[Slice]) -> tuple[list[np.ndarray], float, float]:
    """Return `(pixels, slope, intercept)`: stored values, or float32 intensities if the slices' scales differ."""
    scales = [(float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))) for _, data in slices]
    pixels = [read_pixels(path, data) for path, data in slices]
    if len(set(scales)) == 1:
        return pixels, *scales[0]
    scaled = [
        part * np.float32(slope) + np.float32(intercept)
        for part, (slope, intercept) in zip(pixels, scales, strict=True)
    ]
    return scaled, 1.0, 0.0


def read_pixels(path: Path, data: pydicom.Dataset) -> np.ndarray:
    """The stored values of one slice `(rows, columns)`."""
    check_size(path, data)
    with explain_damage(path, "its pixels cannot be decoded"):
        pixels = data.pixel_array
    if pixels.ndim != 2:
        raise UserError(f"{path}: has pixels of the shape {pixels.shape}; a slice must be one grayscale image.")
    return pixels


def check_size(path: Path, data: pydicom.Dataset) -> None:
    """Raise a UserError, before decoding, if the header declares more than MAX_VOXELS."""
    shape = [int(data.get(key) or 1) for key in ("NumberOfFrames", "Rows", "Columns")]
    if math.prod(shape) > MAX_VOXELS:
        raise UserError(f"{path}: declares {shape} pixels, more than {MAX_VOXELS:,}, and is not read.")


def read_seg(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> StoredVoxels:
    """Read the labels of a DICOM SEG file on the grid of its scan.

    Args:
        path: the file.
        affine: of the scan.
        shape: `(columns, rows, slices)` of its voxels as stored.

    Returns:
        uint8 voxels of that shape: the number of the segment, 0 elsewhere; where segments overlap the highest number.

    Raises:
        UserError: not a binary DICOM SEG, another size or orientation, or frames between or beyond the slices.
    """
    with explain_damage(path):
        return place_frames(path, affine, shape)


def place_frames(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> StoredVoxels:
    """See `read_seg`."""
    try:
        data = pydicom.dcmread(path)
    except InvalidDicomError as error:
        raise UserError(f"{path}: is neither NIfTI nor DICOM: {error}") from None
    if data.get("Modality") != "SEG" or data.get("SegmentationType") != "BINARY":
        raise UserError(f"{path}: is not a DICOM SEG of type BINARY.")
    check_size(path, data)
    frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    shared = data.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in data else None
    places = [frame_place(shared, group) for group in data.PerFrameFunctionalGroupsSequence]
    voxels = np.zeros(shape, np.uint8)
    if frames.shape[1:] != (shape[1], shape[0]) or len(frames) != len(places):
        raise UserError(
            f"{path}: has frames of {frames.shape[1:]} pixels, but the slices of the scan have {(shape[1], shape[0])}."
        )
    to_voxels = np.linalg.inv(affine)
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for frame, (number, position, orientation) in sorted(zip(frames, places, strict=True), key=lambda pair: pair[1][0]):
        along = LPS_TO_RAS @ orientation.reshape(2, 3).T
        index = to_voxels[:3, :3] @ (LPS_TO_RAS @ position) + to_voxels[:3, 3]
        level = round(index[2])
        if np.abs(along - steps[:, :2]).max() > 1e-3 or np.abs(index - [0, 0, level]).max() > MAX_OFFSET:
            raise UserError(f"{path}: a frame of segment {number} is not on a slice of the scan.")
        if not 0 <= level < shape[2] or not 1 <= number <= 255:
            raise UserError(f"{path}: a frame of segment {number} is outside the scan, or its number is above 255.")
        voxels[:, :, level][frame.T > 0] = number
    return StoredVoxels(voxels, affine, 1.0, 0.0)


def frame_place(shared: pydicom.Dataset | None, group: pydicom.Dataset) -> tuple[int, np.ndarray, np.ndarray]:
    """`(segment number, position, orientation)` of a frame. Values that all frames have may be in the shared group."""

    def find(sequence: str, key: str) -> Any:
        holder = group if sequence in group else shared
        return getattr(getattr(holder, sequence)[0], key)

    number = int(find("SegmentIdentificationSequence", "ReferencedSegmentNumber"))
    position = np.array(find("PlanePositionSequence", "ImagePositionPatient"), float)
    return number, position, np.array(find("PlaneOrientationSequence", "ImageOrientationPatient"), float)

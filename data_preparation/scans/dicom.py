"""DICOM: a folder with the slices of one series, and segmentations in the format DICOM SEG."""

import contextlib
import math

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from utils.base.errors import UserError

GAP = 0.05  # share of the slice distance that distances may differ by
MAX_VOXELS = 400_000_000  # of a file; decoding is not begun where its header promises more
OFF = 0.2  # voxels that a frame of a segmentation may lie off the scan's
TO_RIGHT_FRONT_HEAD = np.diag([-1.0, -1.0, 1.0])  # DICOM counts to the left and to the back


@contextlib.contextmanager
def explain_damage(path, what="is not whole, or is damaged"):
    """A damaged file can make pydicom, and what uses its values, fail in any way: one clear line for all of them."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: {what}: {cause}") from None


def read_series(folder):
    """Return `(voxels, affine, spacing, slope, intercept)` of the DICOM files of a folder, as `lits.view` takes them.

    Hidden files, and files that are not DICOM or hold no picture, are passed over. Slices are ordered by position.

    Returns:
        voxels: `(columns, rows, slices)` as stored, or float32 of the values where slices have scales of their own.

    Raises:
        UserError: no slices, several series, slices of different sizes, twice in one place or missing, colour pictures,
            compression that no installed package reads, a file cut short.
    """
    with explain_damage(folder):
        return stack(folder, read_slices(folder))


def read_slices(folder):
    """The slices `(path, data set)` of the one series that lies in a folder; see `read_series`."""
    slices = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        with explain_damage(path), contextlib.suppress(InvalidDicomError):
            data = pydicom.dcmread(path)
            if "PixelData" in data:
                slices.append((path, data))
    if not slices:
        raise UserError(f"{folder}: holds no DICOM files with pictures.")
    series = sorted({str(data.get("SeriesInstanceUID")) for _, data in slices})
    if len(series) > 1:
        raise UserError(
            f"{folder}: holds {len(series)} series, {', '.join(series[:3])}. Give each a folder of its own."
        )
    keys = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    for path, data in slices:
        missing = [key for key in keys if data.get(key) is None]
        if missing:
            raise UserError(f"{path}: has no {missing[0]}; where the slice lies is not known.")
    first_path, first = slices[0]
    for path, data in slices:
        if any(not np.allclose(data[key].value, first[key].value, atol=1e-3) for key in keys[1:]):
            raise UserError(f"{path}: has another size or orientation than {first_path.name}.")
    return slices


def stack(folder, slices):
    """Order the slices `(path, data set)` by position and put their pixels together; see `read_series`."""
    first = slices[0][1]
    along_row, along_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    heights = np.array([np.dot(normal, np.array(data.ImagePositionPatient, float)) for _, data in slices])
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    distance = float(np.median(steps)) if len(steps) else float(first.get("SliceThickness") or 1)
    if len(steps) and steps.min() < 1e-3:
        at = int(steps.argmin())
        names = [slices[order[index]][0].name for index in (at, at + 1)]
        raise UserError(
            f"{folder}: {names[0]} and {names[1]} lie in one place. Remove one, or give each series a folder."
        )
    if len(steps) and np.abs(steps - distance).max() > GAP * distance:
        at = int(np.abs(steps - distance).argmax())
        names = [slices[order[index]][0].name for index in (at, at + 1)]
        raise UserError(
            f"{folder}: between {names[0]} and {names[1]} are {steps[at]:.2f} mm, elsewhere "
            f"{distance:.2f} mm. Is a slice missing?"
        )
    slices = [slices[index] for index in order]
    scales = [(float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))) for _, data in slices]
    pixels = [read_pixels(path, data) for path, data in slices]
    slope, intercept = scales[0]
    if len(set(scales)) > 1:
        pixels = [
            part * np.float32(scale) + np.float32(shift) for part, (scale, shift) in zip(pixels, scales, strict=True)
        ]
        slope, intercept = 1.0, 0.0
    row_distance, column_distance = map(float, first.PixelSpacing)
    affine = np.eye(4)
    position = np.array(slices[0][1].ImagePositionPatient, float)
    steps = [along_row * column_distance, along_column * row_distance, normal * distance]
    affine[:3] = TO_RIGHT_FRONT_HEAD @ np.column_stack([*steps, position])
    voxels = np.stack(pixels, axis=2).transpose(1, 0, 2)
    return voxels, affine, (column_distance, row_distance, distance), slope, intercept


def read_pixels(path, data):
    """The stored values of one slice `(rows, columns)`."""
    check_size(path, data)
    with explain_damage(path, "its pixels cannot be read"):
        pixels = data.pixel_array
    if pixels.ndim != 2:
        raise UserError(f"{path}: holds pixels of the shape {pixels.shape}; a slice is one grey picture.")
    return pixels


def check_size(path, data):
    """Refuse before decoding what promises more than MAX_VOXELS."""
    shape = [int(data.get(key) or 1) for key in ("NumberOfFrames", "Rows", "Columns")]
    if math.prod(shape) > MAX_VOXELS:
        raise UserError(f"{path}: promises {shape} pixels, more than {MAX_VOXELS:,}, and is not read.")


def read_seg(path, affine, shape):
    """Return what `read_series` does for a DICOM SEG file: labels on the grid of the scan it belongs to.

    Args:
        affine: of the scan. shape: `(columns, rows, slices)` of its voxels as stored.

    Returns:
        uint8 voxels of that shape: the number of the segment, 0 elsewhere; of overlapping segments the highest.

    Raises:
        UserError: not a binary DICOM SEG, of another size or orientation, or frames that lie between slices or beyond.
    """
    with explain_damage(path):
        return place_frames(path, affine, shape)


def place_frames(path, affine, shape):
    """See `read_seg`."""
    try:
        data = pydicom.dcmread(path)
    except InvalidDicomError as error:
        raise UserError(f"{path}: is neither NIfTI nor DICOM: {error}") from None
    if data.get("Modality") != "SEG" or data.get("SegmentationType") != "BINARY":
        raise UserError(f"{path}: is no DICOM SEG of the type BINARY.")
    check_size(path, data)
    frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    shared = data.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in data else None
    places = [locate(shared, group) for group in data.PerFrameFunctionalGroupsSequence]
    voxels = np.zeros(shape, np.uint8)
    if frames.shape[1:] != (shape[1], shape[0]) or len(frames) != len(places):
        raise UserError(f"{path}: has frames of {frames.shape[1:]} pixels, the scan slices of {(shape[1], shape[0])}.")
    to_voxels = np.linalg.inv(affine)
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for frame, (number, position, orientation) in sorted(zip(frames, places, strict=True), key=lambda pair: pair[1][0]):
        along = TO_RIGHT_FRONT_HEAD @ orientation.reshape(2, 3).T
        index = to_voxels[:3, :3] @ (TO_RIGHT_FRONT_HEAD @ position) + to_voxels[:3, 3]
        level = round(index[2])
        if np.abs(along - steps[:, :2]).max() > 1e-3 or np.abs(index - [0, 0, level]).max() > OFF:
            raise UserError(f"{path}: a frame of segment {number} does not lie on a slice of the scan.")
        if not 0 <= level < shape[2] or not 1 <= number <= 255:
            raise UserError(f"{path}: a frame of segment {number} lies beyond the scan, or the number is above 255.")
        voxels[:, :, level][frame.T > 0] = number
    return voxels, affine, np.linalg.norm(affine[:3, :3], axis=0), 1.0, 0.0


def locate(shared, group):
    """`(segment number, position, orientation)` of a frame; what all frames have in common may be told once."""

    def find(sequence, key):
        holder = group if sequence in group else shared
        return getattr(getattr(holder, sequence)[0], key)

    number = int(find("SegmentIdentificationSequence", "ReferencedSegmentNumber"))
    position = np.array(find("PlanePositionSequence", "ImagePositionPatient"), float)
    return number, position, np.array(find("PlaneOrientationSequence", "ImageOrientationPatient"), float)

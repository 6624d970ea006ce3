"""Read segmentations in DICOM SEG files."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from data_preparation.scans.dicom import LPS_TO_RAS, StoredVoxels
from data_preparation.scans.dicom_files import check_size, explain_damage, functional_group, open_file, read_pixels
from utils.base.errors import UserError

MAX_OFFSET = 0.2  # voxels by which a frame of a segmentation may lie off the slices of the scan


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
        data = open_file(path)
    except InvalidDicomError as error:
        raise UserError(f"{path}: is neither NIfTI nor DICOM: {error}") from None
    if data.get("Modality") != "SEG" or data.get("SegmentationType") != "BINARY":
        raise UserError(f"{path}: is not a DICOM SEG of type BINARY.")
    check_size(path, data)
    frames = read_pixels(path, data).reshape(-1, data.Rows, data.Columns)
    shared = data.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in data else None
    places = [frame_place(shared, group) for group in data.PerFrameFunctionalGroupsSequence]
    voxels = np.zeros(shape, np.uint8)
    if frames.shape[1:] != (shape[1], shape[0]) or len(frames) != len(places):
        raise UserError(
            f"{path}: has frames of {frames.shape[1:]} pixels, but the slices of the scan have {(shape[1], shape[0])}."
        )
    check_pixel_spacing(path, shared, data.PerFrameFunctionalGroupsSequence[0], affine)
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
    """`(segment number, position, orientation)` of a frame."""

    def find(sequence: str, key: str) -> Any:
        return getattr(functional_group(shared, group, sequence), key)

    number = int(find("SegmentIdentificationSequence", "ReferencedSegmentNumber"))
    position = np.array(find("PlanePositionSequence", "ImagePositionPatient"), float)
    return number, position, np.array(find("PlaneOrientationSequence", "ImageOrientationPatient"), float)


def check_pixel_spacing(path: Path, shared: pydicom.Dataset | None, group: pydicom.Dataset, affine: np.ndarray) -> None:
    """Raise a UserError if a frame states pixels of another size than those of the scan."""
    stated = functional_group(shared, group, "PixelMeasuresSequence").get("PixelSpacing")
    columns_apart, rows_apart = np.linalg.norm(affine[:3, :2], axis=0)
    if stated and not np.allclose([float(mm) for mm in stated], [rows_apart, columns_apart], rtol=1e-2):
        raise UserError(
            f"{path}: has pixels of {stated[0]:g} x {stated[1]:g} mm, the scan {rows_apart:g} x {columns_apart:g} mm."
        )

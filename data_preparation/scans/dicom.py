"""Read a DICOM series: a folder with its slices, or a file with one or several frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_preparation.scans.dicom_files import Frame, explain_damage, frames_of, read_image_file, read_pixels
from data_preparation.scans.geometry import check_affine
from utils.base.errors import UserError
from utils.base.listing import list_folder
from utils.base.wording import counted

MAX_OFFSET = 0.15  # voxels by which a slice may lie off the place that the affine gives it: rounded positions
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # from the axes of DICOM (left, back, head) to those of NIfTI
ONE_IN_A_SCAN = {  # elements that all slices of a scan share
    "SeriesInstanceUID": "series",
    "PatientID": "patients",
    "FrameOfReferenceUID": "frames of reference, whose positions cannot be compared",
    "Modality": "modalities",
    "PhotometricInterpretation": "kinds of pixels",
}
NAMED = 5  # files that a note names


class StoredVoxels(NamedTuple):
    """Voxels in the order of axes of the file; the fields are the arguments of `data_preparation.scans.nifti.orient`.

    voxels: `(columns, rows, slices)`; affine: `(4, 4)`, to mm to the right, the front and the head; intensity =
    voxel * slope + intercept; notes: for the user.
    """

    voxels: np.ndarray
    affine: np.ndarray
    slope: float
    intercept: float
    notes: tuple[str, ...] = ()


def read_series(path: Path) -> StoredVoxels:
    """Read the DICOM series in a folder, or in one file; slices are ordered by position.

    The affine reproduces the position of every slice, also where a tilted gantry shifts them against each other. Files
    that are not DICOM or have no pixels are named in a note; hidden ones are left out.

    Returns:
        Voxels as stored, or float32 intensities if the slices have different scales.

    Raises:
        UserError: no slices, several series, slices of different sizes, two slices in one place, a missing one or one
            that lies off the line of the others, colour images, a compression that no installed package reads, a
            truncated file.
    """
    with explain_damage(path):
        frames, notes = read_frames(path)
        return stack_frames(path, frames, notes)


def read_frames(path: Path) -> tuple[list[Frame], list[str]]:
    """`(frames, notes)` of the one series in a folder or file; see `read_series`."""
    frames: list[Frame] = []
    left_out: list[str] = []
    if path.is_dir():
        listing = list_folder(path)
        files = listing.files
        left_out += [f"{other.name} (not a file)" for other in listing.others]
        left_out += [f"{folder.name} (a folder)" for folder in listing.folders]
    else:
        files = [path]
    for file in files:
        data, why = read_image_file(file)
        if data is None:
            left_out.append(f"{file.name} ({why})")
            continue
        with explain_damage(file):
            frames += frames_of(file, data)
    if not frames:
        raise UserError(f"{path}: contains no DICOM files with pixels.")
    check_one_scan(path, frames)
    first = frames[0]
    for frame in frames:
        one, other = (
            [part.data.Rows, part.data.Columns, *part.distances, *part.along_row, *part.along_column]
            for part in (frame, first)
        )
        if not np.allclose(one, other, atol=1e-3):
            raise UserError(f"{frame.path}: {frame.name} differs in size or orientation from {first.name}.")
    if not left_out:
        return frames, []
    more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    named = ", ".join(left_out[:NAMED]) + more
    return frames, [f"{path}: {counted(len(frames), 'slice')}; left out, as they are none: {named}."]


def check_one_scan(path: Path, frames: Sequence[Frame]) -> None:
    """Raise a UserError if slices are of several series, or say of themselves that they do not belong together."""
    for key, what in ONE_IN_A_SCAN.items():
        values = sorted({str(frame.data.get(key)) for frame in frames})
        if len(values) > 1:
            found = ", ".join(values[:3])
            raise UserError(f"{path}: contains {len(values)} {what}, {found} ({key}). Give each its own folder.")


def header_notes(path: Path, frames: Sequence[Frame], apart: float | None) -> list[str]:
    """What the headers say that the voxels do not follow; apart: mm between slices, None for a single one."""
    notes = []
    first = frames[0].data
    if first.get("PhotometricInterpretation") == "MONOCHROME1":
        notes.append(
            f"{path}: is MONOCHROME1: viewers show low values bright. The values are used as stored, so its pictures "
            "are the negative of what a viewer shows."
        )
    stated = first.get("SpacingBetweenSlices")
    if stated and apart and abs(apart - abs(float(stated))) > MAX_OFFSET * apart:
        notes.append(
            f"{path}: its header states {abs(float(stated)):g} mm between slices, their positions are {apart:g} mm "
            "apart. The positions are used. Are slices missing?"
        )
    return notes


def stack_frames(path: Path, frames: list[Frame], notes: list[str]) -> StoredVoxels:
    """Order the slices by position and stack their pixels; see `read_series`."""
    first = frames[0]
    normal = np.cross(first.along_row, first.along_column)
    heights = np.array([normal @ frame.position for frame in frames])
    order = np.argsort(heights, kind="stable")
    frames, heights = [frames[index] for index in order], heights[order]
    columns_apart, rows_apart = first.distances
    if len(frames) == 1:
        if first.thickness is None:
            notes = [*notes, f"{path}: its one slice has no SliceThickness; 1 mm is taken."]
        origin, step = first.position, normal * (first.thickness or 1.0)
    else:
        origin, step = fit_line(path, frames, heights)
    affine = np.eye(4)
    steps = [first.along_row * columns_apart, first.along_column * rows_apart, step]
    affine[:3] = LPS_TO_RAS @ np.column_stack([*steps, origin])
    check_affine(path, affine)
    if len(frames) > 1:
        check_positions(path, frames, heights, affine)
    notes = [*notes, *header_notes(path, frames, float(normal @ step) if len(frames) > 1 else None)]
    pixels, slope, intercept = pixels_and_scale(frames)
    return StoredVoxels(np.stack(pixels, axis=2).transpose(1, 0, 2), affine, slope, intercept, tuple(notes))


def fit_line(path: Path, frames: Sequence[Frame], heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(origin, step)` in mm, each `(3,)`: the slices lie at origin + number * step, as nearly as possible.

    Raises:
        UserError: two slices in one place.
    """
    apart = np.diff(heights)
    if apart.min() < 1e-3:
        at = int(apart.argmin())
        raise UserError(
            f"{path}: {frames[at].name} and {frames[at + 1].name} have the same position. Remove one, or give each "
            "series its own folder."
        )
    positions = np.array([frame.position for frame in frames])
    numbers = np.arange(len(frames)) - (len(frames) - 1) / 2
    step = numbers @ positions / (numbers @ numbers)
    origin = positions.mean(axis=0) + numbers[0] * step
    return origin.round(9), step.round(9)  # exact positions stay exact


def check_positions(path: Path, frames: Sequence[Frame], heights: np.ndarray, affine: np.ndarray) -> None:
    """Raise a UserError if a slice lies off the place that the affine gives it."""
    positions = np.array([frame.position for frame in frames]) @ LPS_TO_RAS.T
    expected = np.arange(len(frames))[:, np.newaxis] * affine[:3, 2] + affine[:3, 3]
    off = np.abs((positions - expected) @ np.linalg.inv(affine[:3, :3]).T)  # voxels: column, row, slice
    if off.max() <= MAX_OFFSET:
        return
    apart = np.diff(heights)
    usual = float(np.median(apart))
    at = int(np.abs(apart - usual).argmax())
    if off[:, 2].max() > MAX_OFFSET and abs(apart[at] - usual) > MAX_OFFSET * usual:
        raise UserError(
            f"{path}: {frames[at].name} and {frames[at + 1].name} are {apart[at]:.2f} mm apart, other slices "
            f"{usual:.2f} mm. Is a slice missing? A volume needs slices at equal distances."
        )
    worst = int(off.max(axis=1).argmax())
    mm = float(np.linalg.norm(positions[worst] - expected[worst]))
    raise UserError(
        f"{path}: {frames[worst].name} lies {mm:.2f} mm ({off[worst].max():.2f} voxels) off the line on which the "
        "other slices lie, so they form no volume. Do they belong to one scan? If so, resample it to equal distances."
    )


def pixels_and_scale(frames: Sequence[Frame]) -> tuple[list[np.ndarray], float, float]:
    """Return `(pixels, slope, intercept)`: stored values, or float32 intensities if the slices' scales differ."""
    decoded: dict[Path, np.ndarray] = {}
    pixels = []
    for frame in frames:
        if frame.path not in decoded:
            decoded[frame.path] = read_pixels(frame.path, frame.data)
        whole = decoded[frame.path]
        part = whole[frame.number or 0] if whole.ndim == 3 else whole
        if part.ndim != 2:
            raise UserError(
                f"{frame.path}: has pixels of the shape {whole.shape}; a slice must be one grayscale image."
            )
        pixels.append(part)
    scales = [(frame.slope, frame.intercept) for frame in frames]
    if len(set(scales)) == 1:
        return pixels, *scales[0]
    scaled = [
        part * np.float32(slope) + np.float32(intercept)
        for part, (slope, intercept) in zip(pixels, scales, strict=True)
    ]
    return scaled, 1.0, 0.0

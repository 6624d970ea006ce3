"""A scan with its segmentation: find the pairs of a LiTS folder, read both on one grid."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nibabel.orientations import apply_orientation
from omegaconf import DictConfig

from data_preparation.scans.file_kinds import is_nifti
from data_preparation.scans.geometry import (
    SAME_GRID,
    corner_distance,
    from_radiological,
    resample_nearest,
    to_radiological,
)
from data_preparation.scans.nifti import Scan, orient, read_scan, voxel_affine
from utils.base.errors import UserError
from utils.base.files import resolve_path, where_looked
from utils.base.listing import list_folder


class LabelledScan(NamedTuple):
    """A scan and its segmentation, each a file or a DICOM folder.

    name: of its slices; for LiTS the number in the file names. others: of the same scan, a further sequence each.
    """

    name: str
    volume: Path
    segmentation: Path
    others: tuple[Path, ...] = ()


def find_labelled_scans(cfg: DictConfig, key: str) -> list[LabelledScan]:
    """The scans in the folder that `DATA_PREPARATION.<key>` names, ordered by number.

    Raises:
        UserError: no such folder, no volumes in it, or a volume or segmentation without its counterpart.
    """
    value = cfg.DATA_PREPARATION[key]
    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        raise UserError(
            f"DATA_PREPARATION.{key}={value}: there is no such folder ({where_looked(cfg, value)}). It should "
            "contain volume-N.nii and segmentation-N.nii."
        )
    volumes, segmentations = number_files(folder, "volume"), number_files(folder, "segmentation")
    if not volumes and not segmentations:
        raise UserError(f"DATA_PREPARATION.{key}: the folder {folder} contains no volume-N.nii or volume-N.nii.gz.")
    alone = [f"volume-{number} has no segmentation-{number}" for number in sorted(volumes.keys() - segmentations)]
    alone += [f"segmentation-{number} has no volume-{number}" for number in sorted(segmentations.keys() - volumes)]
    if alone:
        raise UserError(f"DATA_PREPARATION.{key}: in {folder} {'; '.join(alone)}. Add or remove files.")
    return [LabelledScan(str(number), volumes[number], segmentations[number]) for number in sorted(volumes)]


def number_files(folder: Path, kind: str) -> dict[int, Path]:
    """`{number: path}` of the files `<kind>-N.nii` and `<kind>-N.nii.gz`."""
    files: dict[int, Path] = {}
    for path in list_folder(folder, (".nii", ".nii.gz")).files:
        match = re.fullmatch(rf"{kind}-(\d+)\.nii(\.gz)?", path.name)
        if not match:
            continue
        number = int(match.group(1))
        if number in files:
            raise UserError(f"{path}: the same {kind} also exists as {files[number].name}. Remove one of them.")
        files[number] = path
    return files


def read_labelled_scan(
    paths: LabelledScan, modality: int | None = None, label_grid: str = "own"
) -> tuple[Scan, Scan, str | None]:
    """Return `(scan, segmentation, note)`: two scans on one grid, and a note for the user or None.

    Each of the two is brought to the radiological view by its own affine; then both must describe one grid.

    Args:
        paths: the two files.
        modality: see `read_scan`.
        label_grid: what to do with a segmentation on a grid of its own, see `LABEL_GRIDS`.

    Raises:
        UserError: as `read_scan`, or the two do not lie on one grid; the message has the distance.
    """
    scan = read_scan(paths.volume, modality)
    return scan, *place_labels(paths, scan, label_grid)


def place_labels(paths: LabelledScan, scan: Scan, label_grid: str) -> tuple[Scan, str | None]:
    """`(segmentation, note)` of `read_labelled_scan` for a scan that is read."""
    segmentation = read_segmentation(paths.segmentation, scan)
    segmentation, note = LABEL_GRIDS[label_grid](paths, scan, segmentation)
    notes = [*scan.notes, *segmentation.notes, *([note] if note else [])]
    return segmentation, "\nNote: ".join(dict.fromkeys(notes)) or None


def keep_grid(paths: LabelledScan, scan: Scan, segmentation: Scan) -> tuple[Scan, None]:
    """`(segmentation, None)` if it lies on the grid of the scan.

    Raises:
        UserError: it has another shape, or lies elsewhere.
    """
    files = f"{paths.segmentation}: is not on the grid of {paths.volume.name}"
    shape, other = scan.voxels.shape, segmentation.voxels.shape
    if shape != other:
        voxels, mm = corner_distance(voxel_affine(scan), voxel_affine(segmentation), shape, other)
        raise UserError(
            f"{files}: it is {other}, the scan is {shape} (rows, columns, slices); the corners are up to {mm:.2f} mm "
            f"({voxels:.2f} voxels) apart. If both cover the same space, resample the labels with --resample-labels "
            "(LiTS: DATA_PREPARATION.LABEL_GRID=resample)."
        )
    voxels, mm = corner_distance(voxel_affine(scan), voxel_affine(segmentation), shape)
    if voxels > SAME_GRID:
        raise UserError(
            f"{files}: by the two headers, voxels are up to {mm:.2f} mm ({voxels:.2f} voxels) apart. If the header of "
            "the segmentation is wrong, and its voxels lie on those of the scan in the order stored: "
            "--labels-in-scan-order (LiTS: DATA_PREPARATION.LABEL_GRID=scan). If both cover the same space: "
            "--resample-labels (LiTS: DATA_PREPARATION.LABEL_GRID=resample)."
        )
    return segmentation, None


def resample_grid(paths: LabelledScan, scan: Scan, segmentation: Scan) -> tuple[Scan, str | None]:
    """`(segmentation, note)`: its nearest voxels on the grid of the scan, if both cover the same space.

    Raises:
        UserError: the corners of the two are more than a voxel apart.
    """
    target, affine, shape = voxel_affine(scan), voxel_affine(segmentation), scan.voxels.shape
    if shape == segmentation.voxels.shape and corner_distance(target, affine, shape)[0] <= SAME_GRID:
        return segmentation, None
    voxels, mm = corner_distance(target, affine, shape, segmentation.voxels.shape)
    if voxels > 1:
        raise UserError(
            f"{paths.segmentation}: does not cover the space of {paths.volume.name}: the corners are up to {mm:.2f} mm "
            f"({voxels:.2f} voxels) apart, so its labels cannot be resampled. Crop or pad it to the scan."
        )
    resampled = resample_nearest(segmentation.voxels, affine, target, shape)
    note = f"{paths.segmentation.name}: {segmentation.voxels.shape}, resampled to {shape}, the grid of the scan."
    return segmentation._replace(voxels=resampled, affine=scan.affine), note


def use_scan_order(paths: LabelledScan, scan: Scan, segmentation: Scan) -> tuple[Scan, str | None]:
    """`(segmentation, note)`: oriented as the scan was, whatever its own header says.

    Some LiTS segmentations carry another orientation in the header; their voxels lie on those of the volume.

    Raises:
        UserError: the two have different shapes as stored.
    """
    if scan.stored_shape != segmentation.stored_shape:
        raise UserError(
            f"{paths.segmentation}: is stored as {segmentation.stored_shape}, {paths.volume.name} as "
            f"{scan.stored_shape}, so its voxels do not lie on those of the scan."
        )
    stored = apply_orientation(segmentation.voxels, from_radiological(segmentation.affine))
    same = corner_distance(voxel_affine(scan), voxel_affine(segmentation), scan.voxels.shape)[0] <= SAME_GRID
    note = (
        None if same else f"{paths.segmentation.name}: its affine is not used, its voxels follow those of the volume."
    )
    voxels = apply_orientation(stored, to_radiological(scan.affine))
    return segmentation._replace(voxels=voxels, affine=scan.affine), note


# DATA_PREPARATION.LABEL_GRID -> function (files, scan, segmentation) -> (segmentation on the grid of the scan, note).
LABEL_GRIDS: dict[str, Callable[[LabelledScan, Scan, Scan], tuple[Scan, str | None]]] = {
    "own": keep_grid,
    "resample": resample_grid,
    "scan": use_scan_order,
}


def read_segmentation(path: Path, scan: Scan) -> Scan:
    """The labels of a scan, read with `read_scan`; the frames of a DICOM SEG file are placed on the scan."""
    if path.is_dir() or is_nifti(path):
        return read_scan(path)
    from data_preparation.scans.dicom_seg import read_seg

    return orient(path, *read_seg(path, scan.affine, scan.stored_shape))

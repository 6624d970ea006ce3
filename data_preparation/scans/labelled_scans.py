"""A scan with its segmentation: find the pairs of a LiTS folder, read both on one grid."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from omegaconf import DictConfig

from data_preparation.scans.nifti import RADIOLOGICAL, Scan, orient, read_scan, to_radiological, voxel_affine
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.listing import list_folder


class LabelledScan(NamedTuple):
    """A scan and its segmentation, each a file or a DICOM folder.

    name: of its slices; for LiTS the number in the file names.
    """

    name: str
    volume: Path
    segmentation: Path


def find_labelled_scans(cfg: DictConfig, key: str) -> list[LabelledScan]:
    """The scans in the folder that `DATA_PREPARATION.<key>` names, ordered by number.

    Raises:
        UserError: no such folder, no volumes in it, or a volume or segmentation without its counterpart.
    """
    value = cfg.DATA_PREPARATION[key]
    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        raise UserError(
            f"DATA_PREPARATION.{key}={value}: there is no folder {folder}. It should contain volume-N.nii and "
            "segmentation-N.nii."
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


def read_labelled_scan(paths: LabelledScan, modality: int | None = None) -> tuple[Scan, Scan, str | None]:
    """Return `(scan, segmentation, note)`: two scans of one shape, and a note for the user or None.

    Args:
        paths: the two files.
        modality: see `read_scan`.

    Raises:
        UserError: as `read_scan`, or the two have different shapes.
    """
    scan, note = read_scan(paths.volume, modality), None
    segmentation = read_segmentation(paths.segmentation, scan)
    if not np.allclose(voxel_affine(scan), voxel_affine(segmentation), rtol=0, atol=1e-2):
        # Some LiTS segmentations carry another orientation in the header; their voxels still lie on the volume's.
        note = f"{paths.segmentation.name}: its affine differs from that of the volume, which is used for both."
        segmentation = orient_like(segmentation, scan)
    if scan.voxels.shape != segmentation.voxels.shape:
        raise UserError(
            f"{paths.segmentation}: is {segmentation.voxels.shape}, {paths.volume.name} is {scan.voxels.shape} "
            "(rows, columns, slices). They must have the same shape."
        )
    return scan, segmentation, note


def read_segmentation(path: Path, scan: Scan) -> Scan:
    """The labels of a scan, read with `read_scan`; the frames of a DICOM SEG file are placed on the scan."""
    if path.is_dir() or path.name.lower().endswith((".nii", ".nii.gz")):
        return read_scan(path)
    from data_preparation.scans.dicom import read_seg

    return orient(path, *read_seg(path, scan.affine, scan.stored_shape))


def orient_like(segmentation: Scan, scan: Scan) -> Scan:
    """The segmentation oriented as the scan was, whatever its own header says."""
    back = ornt_transform(axcodes2ornt(RADIOLOGICAL), io_orientation(segmentation.affine))
    stored = apply_orientation(segmentation.voxels, back)
    return segmentation._replace(voxels=apply_orientation(stored, to_radiological(scan.affine)))

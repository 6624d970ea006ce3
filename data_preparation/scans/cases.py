"""Find the scans and segmentations of LiTS, and read them as one case."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from data_preparation.scans.nifti import VIEW, read_scan, to_view, view, view_affine
from utils.base.errors import UserError
from utils.base.files import resolve_path


class Case(NamedTuple):
    """One patient: what its pictures are called (LiTS: the number in the file names), and the two files or folders."""

    name: str
    volume: Path
    segmentation: Path


def find_cases(cfg, key):
    """Return the cases of the folder that `DATA_PREPARATION.<key>` names, ordered by number.

    Raises:
        UserError: no such folder, no volumes in it, or a volume or segmentation without its partner.
    """
    value = cfg.DATA_PREPARATION[key]
    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        raise UserError(
            f"DATA_PREPARATION.{key}={value}: there is no folder {folder}. It should hold volume-N.nii and "
            "segmentation-N.nii."
        )
    volumes, segmentations = number_files(folder, "volume"), number_files(folder, "segmentation")
    if not volumes and not segmentations:
        raise UserError(f"DATA_PREPARATION.{key}: the folder {folder} holds no volume-N.nii or volume-N.nii.gz.")
    alone = [f"volume-{number} has no segmentation-{number}" for number in sorted(volumes.keys() - segmentations)]
    alone += [f"segmentation-{number} has no volume-{number}" for number in sorted(segmentations.keys() - volumes)]
    if alone:
        raise UserError(f"DATA_PREPARATION.{key}: in {folder} {'; '.join(alone)}. Add or remove files.")
    return [Case(str(number), volumes[number], segmentations[number]) for number in sorted(volumes)]


def number_files(folder, kind):
    """`{number: path}` of the files `<kind>-N.nii` and `<kind>-N.nii.gz`."""
    files = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(rf"{kind}-(\d+)\.nii(\.gz)?", path.name)
        if not match:
            continue
        number = int(match.group(1))
        if number in files:
            raise UserError(f"{path}: the same {kind} is there as {files[number].name}. Remove one of them.")
        files[number] = path
    return files


def read_case(case, modality=None):
    """Return `(scan, segmentation, note)`: two `Scan` of one shape, and a remark or None.

    Raises:
        UserError: as `read_scan`; the two have different shapes.
    """
    scan, note = read_scan(case.volume, modality), None
    segmentation = read_segmentation(case.segmentation, scan)
    if not np.allclose(view_affine(scan), view_affine(segmentation), rtol=0, atol=1e-2):
        # Some LiTS segmentations carry another orientation in the header; their voxels still lie on the volume's.
        note = f"{case.segmentation.name}: its affine differs from the volume's, which is used for both."
        segmentation = view_like(segmentation, scan)
    if scan.voxels.shape != segmentation.voxels.shape:
        raise UserError(
            f"{case.segmentation}: is {segmentation.voxels.shape}, {case.volume.name} {scan.voxels.shape} "
            "(rows, columns, slices). They must have the same shape."
        )
    return scan, segmentation, note


def read_segmentation(path, scan):
    """The labels of a scan: as `read_scan`, or a file in the format DICOM SEG, whose frames are placed on the scan."""
    if path.is_dir() or path.name.lower().endswith((".nii", ".nii.gz")):
        return read_scan(path)
    from data_preparation.scans.dicom import read_seg

    return view(path, *read_seg(path, scan.affine, scan.stored_shape))


def view_like(segmentation, scan):
    """The segmentation turned as the scan was, whatever its own header says."""
    back = ornt_transform(axcodes2ornt(VIEW), io_orientation(segmentation.affine))
    stored = apply_orientation(segmentation.voxels, back)
    return segmentation._replace(voxels=apply_orientation(stored, to_view(scan.affine)))

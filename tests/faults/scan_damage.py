"""Change the headers of scans: affines, units, codes, sizes and scales of NIfTI, the geometry of DICOM slices.

    python tests/faults/scan_damage.py [MUTATIONS] [SEED]

The files are whole, their voxels as written. A changed header may be refused with a `UserError`, or the scan is read
with a finite affine and finite intensities; any other exception is lost.
"""

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import nibabel as nib
import numpy as np
import pydicom
from damage import outcome_of, print_table
from scan_helpers import SHAPE, nifti, write_series
from scan_helpers import scan as scan_voxels

from data_preparation.scans.nifti import read_scan

VOXELS = scan_voxels()
ODD = (0.0, -1.0, 1e-30, 1e30, -3e38, float("nan"), float("inf"), -float("inf"), 0.001, 1000.0)
AFFINE_FIELDS = ("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "pixdim")
CODES = {"xyzt_units": range(256), "sform_code": range(-2, 8), "qform_code": range(-2, 8), "datatype": range(2000)}
SIZES = (-32768, -1, 0, 1, 2, 3, 4, 5, 7, 9, 12, 32767)
GEOMETRY = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "Rows", "Columns", "InstanceNumber", "SpacingBetweenSlices",
)  # fmt: skip


def change_nifti(header, random_):
    """Change one field of a NIfTI header in place, whatever the checks of nibabel say."""
    kind = random_.choice(("affine", "code", "dim", "scale"))
    fields = header.structarr
    if kind == "affine":
        field = random_.choice(AFFINE_FIELDS)
        if fields[field].ndim:
            fields[field][random_.randrange(fields[field].size)] = random_.choice(ODD)
        else:
            fields[field] = random_.choice(ODD)
    elif kind == "code":
        field = random_.choice(list(CODES))
        fields[field] = random_.choice(CODES[field])
    elif kind == "dim":
        fields["dim"][random_.randrange(8)] = random_.choice(SIZES)
    else:
        fields[random_.choice(("scl_slope", "scl_inter", "vox_offset"))] = random_.choice(ODD)


def read_finite(path):
    """Read a scan as a preparation does; what it returns must be a geometry and intensities."""
    scan = read_scan(path)
    assert np.isfinite(scan.affine).all() and min(scan.spacing) > 0, "a geometry that is none"
    for index in range(scan.voxels.shape[2]):
        assert np.isfinite(scan.slice(index)).all(), "intensities that are none"
    return scan


def nifti_outcomes(folder, count, seed):
    random_, path, outcomes = random.Random(f"NIfTI {seed}"), folder / "scan.nii", Counter()
    nifti(path, VOXELS)
    whole = path.read_bytes()
    for _ in range(count):
        header = nib.Nifti1Header(whole[:348], check=False)
        for _ in range(random_.choice((1, 1, 3))):
            change_nifti(header, random_)
        path.write_bytes(header.binaryblock + whole[348:])
        outcomes[outcome_of(lambda header=header: check_nifti(path, header.structarr))] += 1
    return outcomes


def check_nifti(path, fields):
    """Read a NIfTI file; a good sform decides the affine, and fields left as they were keep the voxels."""
    scan = read_finite(path)
    rows_ = np.array([fields["srow_x"], fields["srow_y"], fields["srow_z"]], float)
    volume = np.linalg.det(rows_[:, :3] / np.maximum(np.linalg.norm(rows_[:, :3], axis=0), 1e-30))
    # Where two axes are nearly one (a volume below 0.1) the qform decides, see docs/explanation/input-forms.md.
    if 1 <= fields["sform_code"] <= 4 and np.isfinite(rows_).all() and abs(volume) >= 0.1:
        expected = rows_ * {1: 1000, 3: 0.001}.get(int(fields["xyzt_units"]) & 7, 1)
        assert np.allclose(scan.affine[:3], expected, rtol=1e-5), f"not the sform: {rows_.tolist()}"
    same_voxels = fields["dim"][:4].tolist() == [3, *SHAPE] and fields["datatype"] == 4 and fields["vox_offset"] == 352
    if same_voxels:
        assert np.array_equal(np.sort(scan.voxels, None), np.sort(VOXELS, None)), "other voxels"


def change_slice(data, random_):
    """Change, empty or remove one value of the geometry of a slice in place."""
    key = random_.choice(GEOMETRY)
    kind = random_.choice(("value", "value", "value", "empty", "drop", "short"))
    if kind == "drop" or key not in data:
        data.pop(key, None)
    elif kind == "empty":
        data[key].value = None
    elif key in ("Rows", "Columns"):
        data[key].value = random_.choice((0, 1, 9, 11, 65535))
    elif data[key].VM > 1:
        values = list(data[key].value)
        values[random_.randrange(len(values))] = random_.choice((*ODD[:5], *ODD[8:], 2.0))
        data[key].value = values[:-1] if kind == "short" else values
    else:
        data[key].value = random_.choice((*ODD[:5], *ODD[8:]))


def change_series(folder, paths, random_):
    """Change slices of a series, remove one, or repeat one under another name."""
    kind, path = random_.choice(("one", "one", "all", "drop", "repeat")), random_.choice(paths)
    if kind == "drop":
        path.unlink()
    elif kind == "repeat":
        data = pydicom.dcmread(path)
        data.SOPInstanceUID = f"{data.SOPInstanceUID}"[:-1] + "7"
        data.RescaleIntercept = random_.choice((-1024, 0))
        data.save_as(folder / "repeated.dcm")
    else:
        state = random_.getstate()
        for changed in paths if kind == "all" else [path]:
            random_.setstate(state)  # the same change in each
            data = pydicom.dcmread(changed)
            change_slice(data, random_)
            data.save_as(changed)


def dicom_outcomes(folder, count, seed):
    random_, outcomes, series = random.Random(f"DICOM {seed}"), Counter(), folder / "series"
    write_series(series, VOXELS)
    good = {path: path.read_bytes() for path in sorted(series.glob("[0-9]*.dcm"))}
    for _ in range(count):
        change_series(series, list(good), random_)
        outcomes[outcome_of(lambda: read_finite(series))] += 1
        (series / "repeated.dcm").unlink(missing_ok=True)
        for path, whole in good.items():
            path.write_bytes(whole)
    read_finite(series)
    return outcomes


SCANS = {"NIfTI header": nifti_outcomes, "DICOM geometry": dicom_outcomes}


def rows(count, seed):
    """Yield (fault, Counter) of both kinds of scans."""
    for name, outcomes in SCANS.items():
        with tempfile.TemporaryDirectory() as folder:
            yield f"{name}, values changed", outcomes(Path(folder), count, seed)


if __name__ == "__main__":
    count, seed = (int(text) for text in (*sys.argv[1:], *("300", "0")[len(sys.argv) - 1 :]))
    print_table(rows(count, seed))

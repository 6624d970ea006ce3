"""Where voxels lie: each file by its own affine in mm, labels on the grid of their scan or an error."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from data_preparation.scans.geometry import voxel_spacing
from data_preparation.scans.labelled_scans import LabelledScan, read_labelled_scan
from data_preparation.scans.nifti import read_scan
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.sources import SourceSettings, VolumeSource

AFFINE = nib.affines.from_matvec(np.diag([2.0, 3.0, 5.0]), [-20, 30, 400])
SHAPE = (12, 10, 4)
LABELS = np.random.default_rng(3).integers(0, 4, SHAPE).astype(np.uint8)
ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(["RL", "AP", "SI"]) for codes in itertools.product(*axes)
]


def save(path, voxels, affine=AFFINE, codes="RAS", shift=0.0):
    """Write voxels, given with `affine`, in the order of axes `codes`; shift: mm by which the header is off."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    turned = nib.Nifti1Image(voxels, affine).as_reoriented(turn)
    moved = turned.affine.copy()
    moved[:3, 3] += shift
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), moved), path)


def pair(folder):
    return LabelledScan("0", folder / "scan.nii", folder / "labels.nii")


def read(folder, label_grid="own"):
    scan, segmentation, note = read_labelled_scan(pair(folder), label_grid=label_grid)
    return np.asarray(scan.voxels), np.asarray(segmentation.voxels), note


def refuse(folder, label_grid="own"):
    with pytest.raises(UserError) as error:
        read(folder, label_grid)
    return str(error.value)


@pytest.mark.parametrize("shift", [0.0, 0.02, -0.3])
def test_each_file_is_turned_by_its_own_affine(tmp_path, shift):
    save(tmp_path / "scan.nii", LABELS)
    for codes in ORIENTATIONS:
        save(tmp_path / "labels.nii", LABELS, codes=codes, shift=shift)
        scan, segmentation, note = read(tmp_path)
        assert np.array_equal(scan, segmentation) and note is None, codes


def test_labels_elsewhere_are_refused_with_the_distance(tmp_path):
    save(tmp_path / "scan.nii", LABELS)
    save(tmp_path / "labels.nii", LABELS, shift=1.0)
    assert "up to 1.73 mm (0.50 voxels) apart" in refuse(tmp_path)
    mirrored = AFFINE.copy()
    mirrored[0, 0] *= -1
    save(tmp_path / "labels.nii", LABELS, mirrored, "LAS")
    assert "22.00 mm (11.00 voxels) apart" in refuse(tmp_path) and "--labels-in-scan-order" in refuse(tmp_path)
    scan, segmentation, note = read(tmp_path, "scan")
    assert np.array_equal(scan, segmentation) and "its affine is not used" in note
    save(tmp_path / "labels.nii", LABELS, AFFINE @ np.diag([1.05, 1, 1, 1]))
    assert "1.10 mm (0.52 voxels) apart" in refuse(tmp_path)
    save(tmp_path / "labels.nii", LABELS[:, :, :3], AFFINE)
    assert "it is (10, 12, 3), the scan is (10, 12, 4)" in refuse(tmp_path) and "5.00 mm" in refuse(tmp_path)
    assert "so its voxels do not lie on those of the scan" in refuse(tmp_path, "scan")


def test_labels_are_resampled_where_they_cover_the_scan(tmp_path):
    coarse = LABELS[::2, ::2, ::2].copy()
    affine = AFFINE @ nib.affines.from_matvec(np.diag([2.0, 2, 2]), [0.5, 0.5, 0.5])
    save(tmp_path / "scan.nii", LABELS)
    for codes in ("RAS", "LPI", "SAR"):
        save(tmp_path / "labels.nii", coarse, affine, codes)
        assert "--resample-labels" in refuse(tmp_path)
        scan, segmentation, note = read(tmp_path, "resample")
        fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        assert segmentation.shape == scan.shape and np.array_equal(segmentation, fine.transpose(1, 0, 2)[::-1, ::-1])
        assert "resampled to (10, 12, 4)" in note
    save(tmp_path / "labels.nii", LABELS[:6], AFFINE)
    assert "does not cover the space of scan.nii: the corners are up to 12.00 mm" in refuse(tmp_path, "resample")


def headers(path, **fields):
    """Write a scan, then fields of its header, whatever they are."""
    image = nib.Nifti1Image(LABELS, AFFINE)
    for name, value in fields.items():
        image.header[name] = value
    header = image.header.copy()
    nib.save(nib.Nifti1Image(LABELS, AFFINE), path)
    data = bytearray(path.read_bytes())
    data[: len(header.binaryblock)] = header.binaryblock
    data[108:112] = np.float32(352).tobytes()
    data[344:348] = b"n+1\0"
    path.write_bytes(data)
    return path


def sform(affine):
    return {f"srow_{axis}": row for axis, row in zip("xyz", np.asarray(affine)[:3], strict=True)}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pixdim": [1, 1, 1, 1, 1, 1, 1, 1]},
        {"pixdim": [1, 0, 0, 0, 0, 0, 0, 0]},
        {"xyzt_units": 0},
        {"xyzt_units": 3, **sform(np.diag([1000, 1000, 1000, 1]) @ AFFINE)},
        {"xyzt_units": 1, **sform(np.diag([0.001, 0.001, 0.001, 1]) @ AFFINE)},
    ],
)
def test_spacing_is_that_of_the_affine_in_mm(tmp_path, fields):
    path = headers(tmp_path / "scan.nii", **fields)
    np.testing.assert_allclose(read_scan(path).spacing, (3, 2, 5), rtol=1e-5)
    np.testing.assert_allclose(read_scan(path).affine, AFFINE, rtol=1e-4, atol=1e-4)
    source = VolumeSource(path)
    source.open(SourceSettings.from_config(load_config()))
    source.save_mask(tmp_path / "mask.nii.gz", list(np.moveaxis(source.scan.voxels, 2, 0)))
    mask = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), LABELS)
    np.testing.assert_allclose(mask.affine, nib.load(path).affine, rtol=1e-5)
    np.testing.assert_allclose(mask.header.get_zooms(), nib.affines.voxel_sizes(mask.affine), rtol=1e-5)
    assert mask.header.get_xyzt_units() == nib.load(path).header.get_xyzt_units()


def test_an_sform_of_zeros_leaves_the_word_to_the_qform(tmp_path):
    image = nib.Nifti1Image(LABELS, AFFINE)
    image.set_qform(AFFINE, 1)
    fields = {name: image.header[name] for name in image.header if name.startswith(("q", "pixdim"))}
    path = headers(tmp_path / "scan.nii", **fields, **sform(np.zeros((4, 4))))
    scan = read_scan(path)
    np.testing.assert_allclose(scan.affine, AFFINE, rtol=1e-5)
    assert [note.endswith("is no affine (zeros, or axes in one direction); the qform is used.") for note in scan.notes]


@pytest.mark.parametrize(
    "fields, words",
    [
        (sform(np.full((4, 4), np.inf)), "not finite"),
        (sform(np.full((4, 4), np.nan)), "not finite"),
        (sform(np.zeros((4, 4))), "an axis of 0 mm"),
        (sform(np.ones((4, 4))), "two axes in one direction"),
        (sform(np.diag([1e30, 1, 1, 1])), "voxels are 1e"),
        (sform(np.diag([1, 1, 1e-30, 1])), "Correct the units or the affine"),
        (sform(nib.affines.from_matvec(np.eye(3), [1e30, 0, 0])), "Correct the units or the affine"),
        ({"xyzt_units": 1}, "the header states metres, by which voxels are 2000 x 3000 x 5000 mm"),
        ({"xyzt_units": 5}, "xyzt_units=5 is no unit of NIfTI"),
    ],
)
def test_a_geometry_that_is_none(tmp_path, fields, words):
    path = headers(tmp_path / "scan.nii", **fields)
    with pytest.raises(UserError, match=words):
        read_scan(path)


def test_the_volume_of_a_voxel_of_a_sheared_grid():
    sheared = np.array([[1.5, 0, 0, 0], [0, 2, 1, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(np.prod(voxel_spacing(sheared)), abs(np.linalg.det(sheared)))
    assert voxel_spacing(sheared) == (1.5, 2, 5)


def test_the_command_says_what_to_type(tmp_path):
    (tmp_path / "in/a").mkdir(parents=True)
    save(tmp_path / "in/a/ct.nii", LABELS.astype(np.int16))
    save(
        tmp_path / "in/a/seg.nii", LABELS[::2].copy(), AFFINE @ nib.affines.from_matvec(np.diag([2, 1, 1]), [0.5, 0, 0])
    )
    command = ["data_preparation/volumes.py", tmp_path / "in", tmp_path / "out", "--volumes", "*/ct.nii"]
    command += ["--segmentations", "*/seg.nii", "--val", "0", "--workers", "1"]
    assert_one_clear_error(run_command(*command), "seg.nii: is not on the grid of ct.nii", "--resample-labels")
    assert not (tmp_path / "out").exists()
    done = run_command(*command, "--resample-labels")
    assert done.returncode == 0 and "seg.nii: (10, 6, 4), resampled to (10, 12, 4)" in done.stderr + done.stdout


@pytest.mark.parametrize(("shift", "notes"), [(0.1, 0), (1.0, 1)])
def test_an_sform_and_a_qform_that_disagree_give_one_note(tmp_path, shift, notes):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), AFFINE)
    other = AFFINE.copy()
    other[:3, 3] += shift * np.linalg.norm(AFFINE[:3, 0])
    image.set_sform(AFFINE, 1)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii")
    assert np.allclose(scan.affine, AFFINE) and len(scan.notes) == notes
    assert all("the sform is used" in note for note in scan.notes)


def test_a_header_without_any_affine_gives_a_note(tmp_path):
    path = headers(tmp_path / "scan.nii", sform_code=0, qform_code=0)
    assert ["neither an sform nor a qform" in note for note in read_scan(path).notes] == [True]


def test_a_changed_bit_of_a_compressed_scan_is_found(tmp_path):
    noise = np.random.default_rng(0).integers(0, 1000, (10, 12, 14)).astype(np.int16)
    save(path := tmp_path / "scan.nii.gz", noise)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"scan\.nii\.gz: is not a complete NIfTI file"):
        read_scan(path)


def test_voxels_do_not_begin_within_the_header(tmp_path):
    save(path := tmp_path / "scan.nii", LABELS.astype(np.int16))
    data = bytearray(path.read_bytes())
    data[108:112] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"scan\.nii: vox_offset=0 in its header lies within the header itself"):
        read_scan(path)

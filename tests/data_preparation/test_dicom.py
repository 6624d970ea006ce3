"""DICOM series: every slice lies where its header says, every file is read or named, single and multi-frame files."""

import re

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLosslessSV1
from scan_helpers import AFFINE, SHAPE, labels, position, scan, write_seg, write_series

from data_preparation.common.dataset_record import read_record
from data_preparation.scans.dicom_seg import read_seg
from data_preparation.scans.nifti import read_scan, voxel_affine
from data_preparation.scans.slices import label_slice
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.find_sources import find_sources
from utils.inference.sources import SourceSettings

UPRIGHT = AFFINE @ nib.affines.from_matvec(np.diag([-1, -1, 1]), [SHAPE[0] - 1, SHAPE[1] - 1, 0])
FLIP = np.array([-1, -1, 1])  # from left, back, head to right, front, head


def check_positions(folder, tolerance):
    """The affine gives every slice the position in its header, in voxels."""
    read = read_scan(folder)
    affine = read.affine
    files = [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("[0-9]*.dcm"))]
    normal = np.cross(*np.array(files[0].ImageOrientationPatient, float).reshape(2, 3))
    files.sort(key=lambda data: normal @ np.array(data.ImagePositionPatient, float))
    for index, data in enumerate(files):
        off = (affine @ [0, 0, index, 1])[:3] - FLIP * np.array(data.ImagePositionPatient, float)
        assert np.abs(np.linalg.inv(affine[:3, :3]) @ off).max() <= tolerance
    return read


def move(offset):
    """Change the position of each slice by `offset(index)` mm."""

    def change(index, data):
        data.ImagePositionPatient = [float(mm) for mm in np.add(position(index), offset(index))]

    return change


@pytest.mark.parametrize("tilt", [-20, 5, 30])
def test_gantry_tilt(tmp_path, tilt):
    angle, voxels = np.deg2rad(tilt), scan()

    def tilted(index, data):
        data.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))]
        data.ImagePositionPatient = [-24.0, -30.0, 5.0 * index]

    write_series(tmp_path / "CT", voxels, change=tilted)
    read = check_positions(tmp_path / "CT", 1e-6)
    np.testing.assert_allclose(np.prod(read.spacing), 2 * 3 * 5 * np.cos(angle), rtol=1e-6)
    assert any(f"by {abs(tilt):.1f} degrees (gantry tilt)" in note for note in read.notes)
    assert not any("gantry tilt" in note for note in read_scan_of(tmp_path / "straight").notes)


def read_scan_of(folder, **options):
    write_series(folder, scan(), **options)
    return read_scan(folder)


def test_labels_of_a_tilted_series_are_written_on_its_grid(tmp_path):
    def tilted(index, data):
        data.ImageOrientationPatient = [1, 0, 0, 0, 0.96, -0.28]

    write_series(tmp_path / "CT", scan(), change=tilted)
    (source,) = find_sources(load_config([f"PREDICT.INPUT={tmp_path / 'CT'}"]))
    source.open(SourceSettings.from_config(load_config()))
    source.save_mask(tmp_path / "mask.nii.gz", [np.zeros((SHAPE[1], SHAPE[0]), np.uint8)] * SHAPE[2])
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, source.scan.affine, atol=1e-5)


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_rounded_positions(tmp_path, decimals):
    def rounded(index, data):
        place = np.add(position(index), [0.03, 0.03, 0.63 * index])
        data.ImagePositionPatient = [float(mm) for mm in np.round(place, decimals)]

    write_series(tmp_path / "CT", scan(), change=rounded)
    check_positions(tmp_path / "CT", 0.15)


@pytest.mark.parametrize(
    "offset, words",
    [
        (lambda index: [4.0 * (index == 2), 0, 0], r"2\.\d+ mm .* off the line"),
        (lambda index: [0, 6.0 * (index > 1), 0], "off the line"),
        (lambda index: [0, 0, 5.0 * (index == 3)], "10.00 mm apart, other slices 5.00 mm. Is a slice missing"),
        (lambda index: [0, 0, 2.0 * index**2], "slices at equal distances|off the line"),
    ],
)
def test_slices_off_the_line(tmp_path, offset, words):
    write_series(tmp_path / "CT", scan(), change=move(offset))
    with pytest.raises(UserError, match=words):
        read_scan(tmp_path / "CT")


def strip_preamble(path, meta=True):
    """As some programs write: no preamble; without `meta` no group 2 either."""
    data = pydicom.dcmread(path)
    if meta:
        path.write_bytes(path.read_bytes()[132:])
    else:
        path.write_bytes(b"")
        pydicom.dcmwrite(path, Dataset(data), implicit_vr=True, little_endian=True, enforce_file_format=False)


@pytest.mark.parametrize("meta", [True, False])
def test_slices_without_preamble_are_read(tmp_path, meta):
    voxels = scan()
    write_series(tmp_path / "whole", voxels)
    write_series(tmp_path / "CT", voxels)
    for name in ("000", "002", "001"):
        strip_preamble(tmp_path / f"CT/{name}.dcm", meta)
        assert (tmp_path / f"CT/{name}.dcm").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_scan(tmp_path / "CT").voxels, read_scan(tmp_path / "whole").voxels)


def test_every_file_is_read_or_named(tmp_path, capsys):
    folder = tmp_path / "CT"
    write_series(folder, scan())
    (folder / "thumbnail.png").write_bytes(b"picture")
    (folder / "older").mkdir()
    (source,) = find_sources(load_config([f"PREDICT.INPUT={folder}"]))
    assert source.path == folder
    (note,) = read_scan(folder).notes
    assert all(f"{name} (" in note for name in ("thumbnail.png", "DICOMDIR.txt", "older"))
    source.open(SourceSettings.from_config(load_config()))
    assert "thumbnail.png (not DICOM)" in capsys.readouterr().err
    whole = (folder / "000.dcm").read_bytes()
    for damaged, words in ((b"", "is not DICOM"), (b"hello" * 50, "is not DICOM"), (whole[:400], "000.dcm")):
        (folder / "000.dcm").write_bytes(damaged)
        with pytest.raises(UserError, match=words):
            read_scan(folder)
    data = pydicom.dcmread(folder / "004.dcm")
    del data.PixelData
    data.save_as(folder / "000.dcm")
    with pytest.raises(UserError, match="is an image without pixels"):
        read_scan(folder)


def multi_frame(path, voxels, change=None):
    """An enhanced CT: one file, its frames not in the order of their positions."""
    write_series(path.parent / "parts", voxels)
    data = pydicom.dcmread(path.parent / "parts/000.dcm")
    order = [2, 0, 3, 1]
    stored = [(voxels[::-1, ::-1, index].T + 1024).astype("<u2").tobytes() for index in order]
    shared, orientation, measures, scale = (Dataset() for _ in range(4))
    orientation.ImageOrientationPatient, measures.PixelSpacing = [1, 0, 0, 0, 1, 0], [3, 2]
    scale.RescaleSlope, scale.RescaleIntercept = 1, -1024
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [scale]
    groups = []
    for index in order:
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = position(index)
        group.PlanePositionSequence = [place]
        groups.append(group)
    for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(data, key)
    data.NumberOfFrames, data.PixelData = 4, b"".join(stored)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], groups
    if change:
        change(data)
    data.save_as(path)


def test_multi_frame_and_single_files(tmp_path):
    voxels = scan()
    (tmp_path / "in").mkdir()
    multi_frame(tmp_path / "in/ct.dcm", voxels)
    whole = read_scan(tmp_path / "in/parts")
    one = read_scan(tmp_path / "in/ct.dcm")
    np.testing.assert_array_equal(one.voxels, whole.voxels)
    np.testing.assert_allclose(voxel_affine(one), voxel_affine(whole))
    (source,) = find_sources(load_config([f"PREDICT.INPUT={tmp_path / 'in/ct.dcm'}"]))
    source.open(SourceSettings.from_config(load_config()))
    assert (source.name, source.frames) == ("ct", 4)
    source.save_mask(tmp_path / "mask.nii.gz", [np.zeros((SHAPE[1], SHAPE[0]), np.uint8)] * 4)
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, one.affine)
    single = read_scan(tmp_path / "in/parts/000.dcm")
    assert single.voxels.shape == (SHAPE[1], SHAPE[0], 1) and "1 mm is taken" in single.notes[0]

    def no_groups(data):
        del data.PerFrameFunctionalGroupsSequence

    (tmp_path / "other").mkdir()
    multi_frame(tmp_path / "other/us.dcm", voxels, no_groups)
    with pytest.raises(UserError, match="has 4 frames without positions"):
        read_scan(tmp_path / "other/us.dcm")


def change_value(**values):
    def change(index, data):
        for key, value in values.items():
            setattr(data, key, value)

    return change


@pytest.mark.parametrize(
    "values, words",
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "the negative of what a viewer shows"),
        ({"SpacingBetweenSlices": 2.5}, r"states 2\.5 mm between slices, .* 5 mm apart.* Are slices missing"),
        ({"SpacingBetweenSlices": -5.0}, None),
    ],
)
def test_what_a_header_says_against_its_voxels(tmp_path, values, words):
    write_series(tmp_path / "CT", scan(), change=change_value(**values))
    _, *notes = read_scan(tmp_path / "CT").notes  # the first names the file that is not DICOM
    assert [bool(re.search(words or "", note)) for note in notes] == [True] * bool(words)


@pytest.mark.parametrize("key", ["PatientID", "FrameOfReferenceUID", "Modality", "PhotometricInterpretation"])
def test_slices_that_say_they_are_of_two_scans(tmp_path, key):
    one, other = {"Modality": ("CT", "MR"), "PhotometricInterpretation": ("MONOCHROME1", "MONOCHROME2")}.get(
        key, ("1.1", "1.2")
    )
    write_series(tmp_path / "CT", scan(), change=lambda index, data: setattr(data, key, other if index else one))
    with pytest.raises(UserError, match=rf"contains 2 .*{one}, {other} \({key}\)"):
        read_scan(tmp_path / "CT")


def compressed(index, data):
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])


@pytest.mark.parametrize(
    "change, words",
    [
        (change_value(RescaleSlope=None), "RescaleSlope is empty .* remove the element if it is 1"),
        (change_value(RescaleSlope=0), "RescaleSlope is 0"),
        (change_value(PixelSpacing=[0, 0]), "no geometry of a slice"),
        (change_value(PixelSpacing=[5000, 5000]), "Correct the units or the affine"),
        (change_value(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "no geometry of a slice"),
        (change_value(PhotometricInterpretation="PALETTE COLOR"), "is PALETTE COLOR"),
        (compressed, "no package that reads it is installed.*pip install pylibjpeg"),
    ],
)
def test_what_is_refused(tmp_path, change, words):
    write_series(tmp_path / "CT", scan(), change=change)
    with pytest.raises(UserError, match=words):
        read_scan(tmp_path / "CT")


def test_a_segmentation_with_pixels_of_another_size(tmp_path):
    write_seg(tmp_path / "seg.dcm", labels())
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    measures = Dataset()
    measures.PixelSpacing = [1.5, 1]
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(UserError, match=r"has pixels of 1\.5 x 1 mm, the scan 3 x 2 mm"):
        read_seg(tmp_path / "seg.dcm", UPRIGHT, SHAPE)


# NIfTI


def test_nearly_whole_labels(tmp_path):
    whole = np.arange(480).reshape(12, 10, 4) % 256
    for stored, dtype in ((whole * 0.9999999, np.float64), (whole.astype(float), np.int16)):
        image = nib.Nifti1Image(stored, AFFINE)
        image.set_data_dtype(dtype)
        nib.save(image, tmp_path / "labels.nii")
        read = read_scan(tmp_path / "labels.nii")
        for index in range(4):
            expected = whole[:, :, index].T[::-1, ::-1]
            np.testing.assert_array_equal(label_slice(read, index, "as_stored"), expected)
    nib.save(nib.Nifti1Image(whole + 0.02, AFFINE), tmp_path / "labels.nii")
    with pytest.raises(UserError, match=r"labels 0\.02, "):
        label_slice(read_scan(tmp_path / "labels.nii"), 0, "as_stored")


@pytest.mark.parametrize("reader", ["nibabel.load", "pydicom.dcmread", "pathlib.Path.open"])
def test_what_may_not_be_read_is_not_called_damaged(reader, tmp_path, monkeypatch):
    write_series(tmp_path / "CT", scan())
    nib.save(nib.Nifti1Image(scan(), AFFINE), tmp_path / "a.nii")
    (tmp_path / "prepared.json").touch()
    read = {
        "nibabel.load": lambda: read_scan(tmp_path / "a.nii"),
        "pydicom.dcmread": lambda: read_scan(tmp_path / "CT"),
        "pathlib.Path.open": lambda: read_record(tmp_path, {}),
    }

    def forbid(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reader, forbid)
    with pytest.raises(UserError, match=r": cannot be read: Permission denied\.") as error:
        read[reader]()
    assert "damaged" not in str(error.value) and "complete" not in str(error.value)


def test_names_against_compression_and_a_fourth_axis_of_one(tmp_path):
    image = nib.Nifti1Image(scan()[..., np.newaxis], AFFINE)
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_scan(tmp_path / "a.nii.gz").voxels.shape == (10, 12, 4)
    (tmp_path / "a.nii.gz").rename(tmp_path / "b.nii")
    with pytest.raises(UserError, match=r"is compressed with gzip, against its name\. Rename it to \.nii\.gz"):
        read_scan(tmp_path / "b.nii")
    (tmp_path / "c.nii.gz").write_bytes(image.to_bytes())
    with pytest.raises(UserError, match=r"is not compressed with gzip, against its name\. Rename it to \.nii,"):
        read_scan(tmp_path / "c.nii.gz")

"""Decathlon tasks, NIfTI by pattern and DICOM series give the slices that the same volume gives in the LiTS layout."""

import json

import numpy as np
import pydicom
import pytest
from helpers import run_command
from pydicom.uid import generate_uid
from scan_helpers import SHAPE, labels, make_decathlon, nifti, position, scan, write_seg, write_series

from data_generators.reading.decoding import read_image
from data_generators.reading.masks import read_mask
from data_preparation import volumes
from data_preparation.scans.labelled_scans import LabelledScan, read_labelled_scan
from data_preparation.scans.nifti import read_scan
from utils.base.errors import UserError


def upright(voxels):
    """`(rows, columns, slices)`: front on top, the patient's right on the left."""
    return voxels.transpose(1, 0, 2)[::-1, ::-1]


def windowed(voxels, low=-200, high=250):
    return np.rint((np.clip(upright(voxels).astype(float), low, high) - low) / (high - low) * 255)


def run(capsys, *arguments):
    volumes.main(["--workers", "1", *map(str, arguments)])
    return capsys.readouterr().out


def refuse(capsys, output, *arguments):
    with pytest.raises(SystemExit) as end:
        run(capsys, *arguments)
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith("prepare volumes")]
    assert end.value.code == 2 and len(lines) == 1 and lines[0].startswith("Error: ")
    assert not list(output.rglob("*.png")) and not list(output.rglob(".volume*"))
    return lines[0]


def check(output, name, voxels, classes, low=-200, high=250):
    (split,) = {path.parent.parent.name for path in output.rglob(f"image_{name}_0.png")}
    for index in range(SHAPE[2]):
        image = read_image(output / split / f"images/image_{name}_{index}.png", 3)
        np.testing.assert_allclose(image[:, :, 1], windowed(voxels, low, high)[:, :, index], atol=1)
        mask = read_mask(output / split / f"mask/mask_{name}_{index}.png")
        np.testing.assert_array_equal(mask, upright(classes)[:, :, index])
    return split


def test_decathlon(tmp_path, capsys):
    source, output = tmp_path / "Task03_Liver", tmp_path / "data"
    cases = make_decathlon(source)
    report = run(capsys, source, output, "--val", 0.25)
    splits = [check(output, name, *case) for name, case in cases.items()]
    assert sorted(splits) == ["train"] * 3 + ["val"]
    assert "imagesTs/liver_9.nii.gz: no labels are published" in report and report.count("hidden, or left behind") == 4
    assert "train: 3 volumes written, 0 unchanged, 12 slices" in report
    assert "train: 0 volumes written, 3 unchanged" in run(capsys, source, output, "--val", 0.25)
    run(capsys, source, output, "--val", 0.25, "--foreground", "--size", 6, 7)
    mask = read_mask(next(output.glob("train/mask/*.png")))
    assert mask.shape == (6, 7) and mask.max() == 1


def test_a_new_split_moves_volumes(tmp_path, capsys):
    make_decathlon(tmp_path / "task")
    held = set()
    for seed in range(4):
        run(capsys, tmp_path / "task", tmp_path / "data", "--val", 0.25, "--seed", seed)
        names = {
            split: {path.name for path in (tmp_path / f"data/{split}/images").glob("*")} for split in ("train", "val")
        }
        assert len(names["train"]) == 12 and len(names["val"]) == 4 and not names["train"] & names["val"]
        held |= names["val"]
    assert len(held) > 4
    with pytest.raises(SystemExit):
        run(capsys, tmp_path / "task", tmp_path / "data", "--val", 0)
    assert "val contains volumes of an earlier split" in capsys.readouterr().err


def test_modalities_and_range(tmp_path, capsys):
    cases = make_decathlon(tmp_path / "task", "MRI", four_axes=True)
    run(capsys, tmp_path / "task", tmp_path / "data", "--modality", 1)
    for name, (voxels, classes) in cases.items():
        check(tmp_path / "data", name, voxels, classes, *np.percentile(voxels, (0.5, 99.5)))
    error = refuse(capsys, tmp_path / "other", tmp_path / "task", tmp_path / "other", "--modality", 2)
    assert "has 2 modalities, 0 to 1, not 2" in error


def test_nifti_by_pattern(tmp_path, capsys):
    cases = {name: (scan(), labels()) for name in ("anna b", "bert")}
    for name, (voxels, classes) in cases.items():
        nifti(tmp_path / "in" / name / "ct.nii", voxels)
        nifti(tmp_path / "in" / name / "seg.nii.gz", classes)
    arguments = [tmp_path / "in", tmp_path / "data", "--volumes", "*/ct.nii", "--segmentations", "*/seg.nii.gz"]
    run(capsys, *arguments, "--window", -100, 300, "--val", 0.5)
    for name, case in cases.items():
        check(tmp_path / "data", name.replace(" ", "_"), *case, -100, 300)
    output = tmp_path / "other"
    arguments[1] = output
    (tmp_path / "in/bert/seg.nii.gz").unlink()
    assert "in/bert/ct.nii has no segmentation" in refuse(capsys, output, *arguments)
    arguments[3] = "*/mr.nii"
    assert "nothing matches the pattern */mr.nii" in refuse(capsys, output, *arguments)
    assert "go together" in refuse(capsys, output, *arguments[:4])
    assert "needs a *" in refuse(capsys, output, *arguments[:3], "a.nii", *arguments[4:])


def test_bad_decathlon(tmp_path, capsys):
    source, output = tmp_path / "task", tmp_path / "data"
    source.mkdir()
    assert "has no dataset.json" in refuse(capsys, output, source, output)
    make_decathlon(source)
    text = (source / "dataset.json").read_text()
    (source / "dataset.json").write_text(text[:50])
    assert "is not a complete JSON file" in refuse(capsys, output, source, output)
    (source / "dataset.json").write_text(text.replace("liver_1", "liver_0"))
    assert "lists liver_0 twice" in refuse(capsys, output, source, output)
    (source / "dataset.json").write_text(text)
    label = (source / "labelsTr/liver_2.nii.gz").read_bytes()
    (source / "labelsTr/liver_2.nii.gz").unlink()
    assert "labelsTr/liver_2.nii.gz, which does not exist" in refuse(capsys, output, source, output)
    (source / "labelsTr/liver_2.nii.gz").write_bytes(label)
    for index in range(4):
        whole = (source / f"imagesTr/liver_{index}.nii.gz").read_bytes()
        (source / f"imagesTr/liver_{index}.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert "is not a complete NIfTI file" in refuse(capsys, output, source, output)
    assert "--window 3 1" in refuse(capsys, output, source, output, "--window", 3, 1)


# DICOM


@pytest.mark.parametrize("kind", ["nifti", "seg", "series"])
def test_dicom_equals_nifti(tmp_path, capsys, kind):
    cases = {name: (scan(), labels()) for name in ("p1", "p2")}
    for name, (voxels, classes) in cases.items():
        write_series(tmp_path / "in" / name / "CT", voxels)
        if kind == "nifti":
            nifti(tmp_path / "in" / name / "seg.nii.gz", classes)
        elif kind == "seg":
            classes[:, :, 1] = 0
            write_seg(tmp_path / "in" / name / "seg.dcm", classes)
        else:
            write_series(tmp_path / "in" / name / "seg.dcm", classes, intercept=0)
    pattern = "*/seg.nii.gz" if kind == "nifti" else "*/seg.dcm"
    arguments = ["--volumes", "*/CT", "--segmentations", pattern, "--window", -200, 250, "--val", 0.5]
    run(capsys, tmp_path / "in", tmp_path / "data", *arguments)
    for name, case in cases.items():
        split = check(tmp_path / "data", name, *case)
        manifest = json.loads((tmp_path / f"data/{split}/manifest/volume-{name}.json").read_text())
        assert manifest["spacing_mm"] == [3, 2, 5]


def test_slices_with_scales_of_their_own(tmp_path):
    voxels = scan()

    def rescale(index, data):
        data.RescaleSlope = 0.5 * (index + 1)
        stored = np.rint((voxels[::-1, ::-1, index].T + 1024) / data.RescaleSlope)
        data.PixelData = stored.astype("<u2").tobytes()

    write_series(tmp_path / "CT", voxels, change=rescale)
    read = read_scan(tmp_path / "CT")
    for index in range(SHAPE[2]):
        np.testing.assert_allclose(read.slice(index), upright(voxels)[:, :, index], atol=1)


def series_twice(index, data):
    if index == 2:
        data.SeriesInstanceUID = generate_uid()


def same_place(index, data):
    data.ImagePositionPatient = position(max(index, 1))


def no_place(index, data):
    if index == 1:
        del data.ImagePositionPatient


def other_size(index, data):
    if index == 1:
        data.Rows, data.Columns = SHAPE[0], SHAPE[1]


def cut_short(index, data):
    if index == 3:
        data.PixelData = data.PixelData[:100]


@pytest.mark.parametrize(
    "change, skip, words",
    [
        (series_twice, (), "contains 2 series"),
        (same_place, (), "have the same position"),
        (no_place, (), "has no ImagePositionPatient"),
        (other_size, (), "differs in size or orientation"),
        (cut_short, (), "its pixels cannot be decoded"),
        (None, (2,), "Is a slice missing"),
        (None, range(4), "contains no DICOM files with pixels"),
    ],
)
def test_bad_series(tmp_path, change, skip, words):
    write_series(tmp_path / "CT", scan(), change=change, skip=skip)
    with pytest.raises(UserError, match=words):
        read_scan(tmp_path / "CT")


def test_a_file_cut_short(tmp_path):
    write_series(tmp_path / "CT", scan())
    whole = (tmp_path / "CT/000.dcm").read_bytes()
    (tmp_path / "CT/000.dcm").write_bytes(whole[: len(whole) - 60])
    with pytest.raises(UserError, match=r"000\.dcm"):
        read_scan(tmp_path / "CT")


def test_bad_segmentations(tmp_path):
    write_series(tmp_path / "CT", scan())
    write_seg(tmp_path / "seg.dcm", labels())
    data = pydicom.dcmread(tmp_path / "seg.dcm")

    def refuse_seg(words):
        data.save_as(tmp_path / "bad.dcm", enforce_file_format=True)
        with pytest.raises(UserError, match=words):
            read_labelled_scan(LabelledScan("x", tmp_path / "CT", tmp_path / "bad.dcm"))

    place = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    right = list(place.ImagePositionPatient)
    place.ImagePositionPatient = [right[0], right[1], right[2] + 2.6]
    refuse_seg("is not on a slice")
    place.ImagePositionPatient = [right[0], right[1], right[2] + 50]
    refuse_seg("is outside the scan")
    place.ImagePositionPatient = right
    data.SegmentationType = "FRACTIONAL"
    refuse_seg("not a DICOM SEG of type BINARY")
    (tmp_path / "seg.dcm").write_bytes(b"hello")
    with pytest.raises(UserError, match="neither NIfTI nor DICOM"):
        read_labelled_scan(LabelledScan("x", tmp_path / "CT", tmp_path / "seg.dcm"))


def test_help():
    result = run_command("data_preparation/volumes.py", "--help")
    assert result.returncode == 0 and "Decathlon" in result.stdout and "--window" in result.stdout

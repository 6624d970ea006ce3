"""LiTS scans become upright, windowed slices; whole volumes or nothing; unchanged ones are skipped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from data_generators.reading.decoding import read_image
from data_generators.reading.masks import read_mask
from data_preparation.make_phantom import make_phantom
from data_preparation.preprocess_data import plan_jobs, preprocess_data
from data_preparation.scans import volume_writer
from data_preparation.scans.nifti import read_scan
from data_preparation.scans.slices import crop_or_pad, window_slice
from utils.base.errors import UserError
from utils.config import load_config

PROJECT = Path(__file__).resolve().parents[2]
KEYS = "DATA_PREPARATION."
AFFINE = np.diag([2.0, 3.0, 5.0, 1.0])  # RAS
RNG = np.random.default_rng(1)


def save(folder, number, scan, labels=None, affine=AFFINE, ending=".nii", label_affine=None):
    """Write a case; labels default to a block of liver."""
    folder.mkdir(parents=True, exist_ok=True)
    if labels is None:
        labels = np.zeros(scan.shape, np.uint8)
        labels[2:5, 3:6] = 1
    nib.save(nib.Nifti1Image(scan, affine), folder / f"volume-{number}{ending}")
    label_affine = affine if label_affine is None else label_affine
    nib.save(nib.Nifti1Image(labels, label_affine), folder / f"segmentation-{number}{ending}")


def hounsfield(shape=(12, 10, 4)):
    return RNG.integers(-300, 400, shape).astype(np.int16)


def config(folder, *overrides, height=10, width=12):
    """Defaults that keep a 12 x 10 scan (10 rows, 12 columns) as it is, in this process."""
    return load_config(
        [
            f"WORK_DIR={folder}",
            "VERBOSE=0",
            f"{KEYS}SCANS_TRAIN_DATA_PATH=train",
            f"{KEYS}SCANS_VAL_DATA_PATH=val",
            f"{KEYS}RESIZED_HEIGHT={height}",
            f"{KEYS}RESIZED_WIDTH={width}",
            f"{KEYS}WORKERS=1",
            *overrides,
        ]
    )


@pytest.fixture
def scans(tmp_path):
    """A folder with one training and one validation case."""
    save(tmp_path / "train", 28, hounsfield())
    save(tmp_path / "val", 0, hounsfield())
    return tmp_path


def picture(folder, number, index, split="train"):
    return read_image(folder / f"data/{split}/images/image_{number}_{index}.png", 3)


def mask(folder, number, index, split="train"):
    return read_mask(folder / f"data/{split}/mask/mask_{number}_{index}.png")


def spacing(folder, number):
    return json.loads((folder / f"data/train/manifest/volume-{number}.json").read_text())["spacing_mm"]


def outputs(folder):
    """All visible and hidden files of the output with their times."""
    return {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("*") if path.is_file()}


def message(*arguments):
    with pytest.raises(UserError) as error:
        preprocess_data(*arguments)
    return str(error.value)


def test_slices_are_windowed_turned_and_stacked(scans):
    summary = preprocess_data(config(scans))
    stored = np.asarray(nib.load(scans / "train/volume-28.nii").dataobj).astype(float)
    windowed = np.rint((np.clip(stored, -200, 250) + 200) / 450 * 255)
    upright = windowed.transpose(1, 0, 2)[::-1, ::-1]  # RAS: front on top, patient's right on the left
    for index in range(4):
        expected = np.dstack([upright[:, :, max(index - 1, 0)], upright[:, :, index], upright[:, :, min(index + 1, 3)]])
        np.testing.assert_allclose(picture(scans, 28, index), expected, atol=0)
    labels = np.zeros((12, 10))
    labels[2:5, 3:6] = 1
    np.testing.assert_array_equal(mask(scans, 28, 0), labels.T[::-1, ::-1])
    assert sorted(path.name for path in (scans / "data/train/mask").iterdir()) == [f"mask_28_{i}.png" for i in range(4)]
    assert summary["train"] == {
        "written": 1,
        "skipped": 0,
        "slices": 4,
        "slices_with_liver": 4,
        "images": str(scans / "data/train/images"),
        "masks": str(scans / "data/train/mask"),
    }


@pytest.mark.parametrize("codes", ["LPS", "LAS", "PIR", "SRA", "IPL", "RAI"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_every_orientation_gives_the_same_pictures(tmp_path, codes, ending):
    scan, labels = hounsfield(), (hounsfield() % 3).astype(np.uint8)
    save(tmp_path / "train", 1, scan, labels)
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(codes))
    turned, turned_labels = (nib.Nifti1Image(array, AFFINE).as_reoriented(turn) for array in (scan, labels))
    save(tmp_path / "train", 2, np.asarray(turned.dataobj), np.asarray(turned_labels.dataobj), turned.affine, ending)
    save(tmp_path / "val", 0, scan)
    preprocess_data(config(tmp_path))
    for index in range(4):
        np.testing.assert_array_equal(picture(tmp_path, 1, index), picture(tmp_path, 2, index))
        np.testing.assert_array_equal(mask(tmp_path, 1, index), mask(tmp_path, 2, index))
    assert spacing(tmp_path, 1) == spacing(tmp_path, 2) == [3, 2, 5]


def test_the_phantom_stands_upright(tmp_path):
    make_phantom(tmp_path, 2, 1, size=64, slices=12)  # volume 28 is stored as RAS, 29 as LPS
    paths = [f"{KEYS}SCANS_TRAIN_DATA_PATH='Training Batch 2'", f"{KEYS}SCANS_VAL_DATA_PATH='Training Batch 1'"]
    summary = preprocess_data(config(tmp_path, *paths, f"{KEYS}WORKERS=2", height=48, width=48))
    assert summary["train"]["written"] == 2
    assert 0 < summary["train"]["slices_with_liver"] < summary["train"]["slices"] == 24
    for number in (28, 29):
        _, columns = np.nonzero(mask(tmp_path, number, 6))
        assert columns.mean() < 24  # liver on the left of the picture
        spine_rows, _ = np.nonzero(picture(tmp_path, number, 6)[:, :, 1] == 255)
        assert spine_rows.mean() > 28  # spine at the bottom
    np.testing.assert_allclose(spacing(tmp_path, 28), [410 / 48, 410 / 48, 160 / 12], rtol=1e-5)


def test_slope_and_intercept_are_applied(scans):
    scan = hounsfield()
    image = nib.Nifti1Image(scan, AFFINE)
    image.header.set_slope_inter(0.5, -50)
    nib.save(image, scans / "train/volume-28.nii")
    values = np.asarray(nib.load(scans / "train/volume-28.nii").dataobj)
    np.testing.assert_allclose(values, scan * 0.5 - 50)
    preprocess_data(config(scans))
    first = picture(scans, 28, 0).astype(int)
    for dtype in (np.float32, np.int32):
        save(scans / "train", 28, values.astype(dtype))
        preprocess_data(config(scans))
        np.testing.assert_allclose(picture(scans, 28, 0), first, atol=1)


def test_labels_are_merged_or_kept(scans):
    labels = (np.arange(480).reshape(12, 10, 4) % 3).astype(np.float64)
    save(scans / "train", 28, hounsfield(), labels)
    preprocess_data(config(scans))
    assert np.unique(mask(scans, 28, 1)).tolist() == [0, 1]
    preprocess_data(config(scans, f"{KEYS}LABELS=liver_and_tumour"))
    np.testing.assert_array_equal(mask(scans, 28, 1), labels[:, :, 1].T[::-1, ::-1])


def test_resizing_and_spacing(scans):
    save(scans / "train", 28, np.full((12, 10, 4), 25, np.int16))
    preprocess_data(config(scans, height=5, width=24))
    assert (picture(scans, 28, 2) == 128).all()
    assert picture(scans, 28, 2).shape == (5, 24, 3)
    assert set(np.unique(mask(scans, 28, 2))) == {0, 1}
    assert spacing(scans, 28) == [6, 1, 5]


def test_crop_or_pad_keeps_the_centre_and_the_spacing(scans):
    preprocess_data(config(scans))
    whole = picture(scans, 28, 1)
    preprocess_data(config(scans, f"{KEYS}RESIZE_METHOD=crop_or_pad", height=14, width=8))
    framed = picture(scans, 28, 1)
    np.testing.assert_array_equal(framed[2:12], whole[:, 2:10])
    assert not framed[:2].any()
    assert not framed[12:].any()
    assert spacing(scans, 28) == [3, 2, 5]
    np.testing.assert_array_equal(crop_or_pad(np.ones((3, 3)), 5, 1)[:, 0], [0, 1, 1, 1, 0])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.int8, np.float32])
def test_windowing(dtype):
    pixels = np.array([[0, 10, 20, 100]], dtype)
    assert window_slice(pixels, 10, 20, "window").tolist() == [[0, 0, 255, 255]]
    assert window_slice(pixels, 0, 25, "slice_min_max").tolist() == [[0, 102, 204, 255]]
    assert window_slice(pixels, -50, 200, "slice_min_max").tolist() == [[0, 26, 51, 255]]
    assert window_slice(np.full((2, 2), 7, dtype), 0, 25, "slice_min_max").tolist() == [[0, 0], [0, 0]]
    assert window_slice(np.full((2, 2), 90, dtype), 0, 25, "slice_min_max").tolist() == [[0, 0], [0, 0]]


def test_volumes_are_ordered_by_number_and_read_without_copies(tmp_path):
    for number in (10, 9, 100):
        save(tmp_path / "train", number, hounsfield())
    save(tmp_path / "val", 1, hounsfield())
    assert [job.scan.name for job in plan_jobs(config(tmp_path), "train")] == ["9", "10", "100"]
    voxels = read_scan(tmp_path / "train/volume-9.nii").voxels
    assert voxels.dtype == np.int16
    base = voxels
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_a_second_run_skips_what_is_done(scans):
    preprocess_data(config(scans))
    before = outputs(scans)
    summary = preprocess_data(config(scans))
    assert (summary["train"]["written"], summary["train"]["skipped"], summary["train"]["slices"]) == (0, 1, 4)
    assert outputs(scans) == before


def test_what_has_changed_is_done_again(scans):
    preprocess_data(config(scans))
    (scans / "data/val/images/image_0_2.png").unlink()
    summary = preprocess_data(config(scans))
    assert (summary["train"]["written"], summary["val"]["written"]) == (0, 1)
    assert (scans / "data/val/images/image_0_2.png").exists()
    save(scans / "train", 28, hounsfield())
    summary = preprocess_data(config(scans))
    assert (summary["train"]["written"], summary["val"]["written"]) == (1, 0)
    summary = preprocess_data(config(scans, f"{KEYS}SCAN_MAX_VALUE=200"))
    assert (summary["train"]["written"], summary["val"]["written"]) == (1, 1)


def test_a_volume_moved_to_the_other_split_leaves_the_first(scans):
    save(scans / "train", 29, hounsfield())
    preprocess_data(config(scans))
    for path in (scans / "train").glob("*-29.nii"):
        path.rename(scans / "val" / path.name)
    assert list((scans / "data/train/images").glob("image_29_*"))
    summary = preprocess_data(config(scans))
    assert not list((scans / "data/train").rglob("*_29_*"))
    assert len(list((scans / "data/val").rglob("*_29_*"))) == 8
    assert summary["train"]["slices"] == 4 and summary["val"]["slices"] == 8


def test_stale_slices_go_and_other_files_stay(scans):
    preprocess_data(config(scans))
    foreign = scans / "data/train/images/image_28_77.png"
    foreign.write_bytes(b"mine")
    save(scans / "train", 28, hounsfield((12, 10, 2)))
    preprocess_data(config(scans))
    images = sorted(path.name for path in foreign.parent.iterdir())
    assert images == ["image_28_0.png", "image_28_1.png", "image_28_77.png"]
    assert len(list((scans / "data/train/mask").iterdir())) == 2


def test_a_failure_leaves_nothing_behind(scans, monkeypatch):
    calls = []

    def full_disk(path, pixels):
        calls.append(path)
        if len(calls) == 5:
            raise OSError("No space left on device")
        path.write_bytes(b"png")

    monkeypatch.setattr(volume_writer, "write_png", full_disk)
    text = message(config(scans))
    assert "volume-28.nii: could not be prepared: No space left" in text
    assert not (scans / "data").exists()


def test_the_old_version_stays_when_a_new_one_fails(scans):
    preprocess_data(config(scans))
    before = outputs(scans)
    labels = np.full((12, 10, 4), 0, np.uint8)
    labels[0, 0, 3] = 7
    save(scans / "train", 28, hounsfield(), labels)
    assert "segmentation-28.nii: slice 3 contains the labels 7; allowed are 0 (background)" in message(config(scans))
    assert outputs(scans) == before


def test_a_run_ended_while_moving_files_is_made_good(scans, monkeypatch):
    preprocess_data(config(scans))
    save(scans / "train", 28, hounsfield((12, 10, 3)))
    replace, moved = os.replace, []

    def killed(source, target):
        if str(target).endswith(".png"):
            moved.append(target)
            if len(moved) == 2:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        preprocess_data(config(scans))
    monkeypatch.undo()
    assert preprocess_data(config(scans))["train"]["written"] == 1
    for name in ("images", "mask"):
        files = sorted(path.name for path in (scans / "data/train" / name).iterdir())
        assert files == [f"{name.rstrip('s')}_28_{index}.png" for index in range(3)]


def broken(kind):
    """A function that spoils the training case of a folder."""

    def spoil(folder):
        volume, segmentation = folder / "volume-28.nii", folder / "segmentation-28.nii"
        if kind == "no partner":
            segmentation.unlink()
        elif kind == "lone segmentation":
            volume.unlink()
        elif kind == "empty folder":
            volume.unlink()
            segmentation.unlink()
        elif kind == "truncated":
            volume.write_bytes(volume.read_bytes()[:600])
        elif kind == "truncated gz":
            nib.save(nib.load(volume), folder / "volume-28.nii.gz")
            volume.unlink()
            compressed = folder / "volume-28.nii.gz"
            compressed.write_bytes(compressed.read_bytes()[:-200])
        elif kind == "no nifti":
            volume.write_bytes(b"hello")
        elif kind == "four axes":
            nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.int16), AFFINE), volume)
        elif kind == "complex":
            nib.save(nib.Nifti1Image(np.zeros((12, 10, 4), np.complex64), AFFINE), volume)
        elif kind == "nan":
            nib.save(nib.Nifti1Image(np.full((12, 10, 4), np.nan, np.float32), AFFINE), volume)
        elif kind == "huge":
            image = nib.Nifti1Image(np.zeros((12, 10, 4), np.int16), AFFINE)
            data = bytearray(image.to_bytes())
            data[40:48] = np.array([3, 30000, 30000, 30000], "<i2").tobytes()
            volume.write_bytes(data)
        elif kind == "shape":
            save(folder, 28, hounsfield(), np.zeros((12, 10, 5), np.uint8))
        elif kind == "twice":
            nib.save(nib.load(volume), folder / "volume-28.nii.gz")
        elif kind == "negative label":
            save(folder, 28, hounsfield(), np.full((12, 10, 4), -1, np.int16))

    return spoil


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("no partner", ["SCANS_TRAIN_DATA_PATH", "volume-28 has no segmentation-28"]),
        ("lone segmentation", ["segmentation-28 has no volume-28"]),
        ("empty folder", ["SCANS_TRAIN_DATA_PATH", "contains no volume-N.nii"]),
        ("truncated", ["volume-28.nii: is not a complete NIfTI file"]),
        ("truncated gz", ["volume-28.nii.gz: is not a complete NIfTI file"]),
        ("no nifti", ["volume-28.nii: is not a complete NIfTI file"]),
        ("four axes", ["volume-28.nii: has 2 images on a fourth axis. Choose one"]),
        ("complex", ["volume-28.nii: contains complex64 voxels"]),
        ("nan", ["volume-28.nii: slice 0 contains NaN"]),
        ("huge", ["volume-28.nii: declares (30000, 30000, 30000) voxels"]),
        ("shape", ["segmentation-28.nii: is not on the grid of volume-28.nii: it is (10, 12, 5)"]),
        ("twice", ["volume-28.nii.gz: the same volume also exists as volume-28.nii"]),
        ("negative label", ["segmentation-28.nii: slice 0 contains the labels -1"]),
    ],
)
def test_unfit_scans_are_named(scans, kind, parts):
    broken(kind)(scans / "train")
    text = message(config(scans))
    for part in parts:
        assert part in text
    assert not (scans / "data").exists()


def test_folders_that_were_there_stay_when_nothing_is_prepared(scans):
    (scans / "data/train/images").mkdir(parents=True)
    broken("nan")(scans / "train")
    message(config(scans))
    assert [path.name for path in (scans / "data").iterdir()] == ["train"]
    assert [path.name for path in (scans / "data/train").iterdir()] == ["images"]


def test_unfit_settings_are_named(scans):
    assert "SCANS_TRAIN_DATA_PATH=nowhere: there is no such folder" in message(
        config(scans, f"{KEYS}SCANS_TRAIN_DATA_PATH=nowhere")
    )
    assert "DATASET.VAL.MASK_PATH=None must be one folder" in message(config(scans, "DATASET.VAL.MASK_PATH=None"))
    same = ["DATASET.VAL.IMAGES_PATH=data/train/images", "DATASET.VAL.MASK_PATH=data/train/mask"]
    save(scans / "val", 28, hounsfield())
    assert "would both be written as volume-28" in message(config(scans, *same))


def test_a_segmentation_with_a_wrong_affine_follows_the_volume_on_demand(scans):
    scan, labels = hounsfield(), (hounsfield() % 2).astype(np.uint8)
    save(scans / "train", 28, scan, labels)
    preprocess_data(config(scans))
    expected = mask(scans, 28, 1)
    save(scans / "train", 28, scan, labels, label_affine=np.diag([-2.0, -3.0, 5.0, 1.0]))
    before = outputs(scans)
    text = message(config(scans))
    assert "segmentation-28.nii: is not on the grid" in text and "DATA_PREPARATION.LABEL_GRID=scan" in text
    assert outputs(scans) == before
    (job,) = plan_jobs(config(scans, f"{KEYS}LABEL_GRID=scan"), "train")
    _, note = volume_writer.prepare_volume(job)
    np.testing.assert_array_equal(mask(scans, 28, 1), expected)
    assert "segmentation-28.nii: its affine is not used" in note


def test_the_command_stops_with_2_and_names_the_file_of_a_worker(scans):
    save(scans / "train", 29, hounsfield(), np.full((12, 10, 4), 9, np.uint8))
    script = PROJECT / "data_preparation" / "preprocess_data.py"
    command = [sys.executable, str(script), f"WORK_DIR={scans}", f"{KEYS}SCANS_TRAIN_DATA_PATH=train"]
    command += [f"{KEYS}SCANS_VAL_DATA_PATH=val", f"{KEYS}WORKERS=2", "VERBOSE=0", "INPUT.HEIGHT=32", "INPUT.WIDTH=32"]
    bad = subprocess.run(command, capture_output=True, text=True, cwd=scans)
    assert bad.returncode == 2
    assert "segmentation-29.nii: slice 0 contains the labels 9" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert not list((scans / "data/train/images").glob("image_29*"))
    save(scans / "train", 29, hounsfield())
    good = subprocess.run(command, capture_output=True, text=True, cwd=scans)
    assert good.returncode == 0, good.stderr
    assert "8 slices, 8 with liver" in good.stdout


def test_every_picture_can_be_read_by_others(scans):
    preprocess_data(config(scans))
    for path in (scans / "data/train").rglob("*.png"):
        assert path.stat().st_mode & 0o044
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None

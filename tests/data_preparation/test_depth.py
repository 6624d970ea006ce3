"""Slices of 16 bit keep the intensities of a scan, so that PREPROCESS_DATA chooses while training and predicting."""

import nibabel as nib
import numpy as np
import pytest
from helpers import make_weights
from scan_helpers import SHAPE, labels, make_decathlon, nifti

from data_generators import build_dataset
from data_generators.reading.decoding import read_image
from data_preparation import volumes
from data_preparation.verify_data import find_training_files, verify_data
from models.layers.intensities import PreprocessImage
from utils.base.errors import UserError
from utils.checkpoints import restore_config
from utils.config import load_config
from utils.export.interface import describe_interface
from utils.inference.sources import SourceSettings, VolumeSource

HEIGHT, WIDTH, SLICES = SHAPE[1], SHAPE[0], SHAPE[2]
SIZE = [f"INPUT.HEIGHT={HEIGHT}", f"INPUT.WIDTH={WIDTH}", "VERBOSE=0", "OUTPUT.CLASSES=4", "loss=cce_dice"]


def upright(voxels):
    """`(rows, columns, slices)`: front on top, the patient's right on the left."""
    return voxels.transpose(1, 0, 2)[::-1, ::-1]


def prepare(*arguments):
    volumes.main(["--workers", "1", "--quiet", "--val", "0.5", *map(str, arguments)])


@pytest.fixture
def float_mr(tmp_path):
    """Two volumes without a unit, of a few bright voxels that percentiles would cut off, prepared with 16 bit."""
    rng = np.random.default_rng(4)
    scans = {}
    for name in ("anna", "bert"):
        scans[name] = rng.gamma(2, 120, SHAPE).astype(np.float32)
        scans[name][0, 0, 0] = 9000
        nifti(tmp_path / "scans" / name / "t1.nii.gz", scans[name])
        nifti(tmp_path / "scans" / name / "seg.nii.gz", labels())
    patterns = ["--volumes", "*/t1.nii.gz", "--segmentations", "*/seg.nii.gz"]
    prepare(tmp_path / "scans", tmp_path / "data", *patterns, "--depth", 16)
    return scans


def test_the_whole_range_of_a_volume_is_kept(tmp_path, float_mr):
    for name, voxels in float_mr.items():
        (first,) = (tmp_path / "data").rglob(f"image_{name}_0.png")
        stored = np.stack(
            [read_image(first.with_name(f"image_{name}_{at}.png"), 3)[..., 1] for at in range(SLICES)], -1
        )
        low, high = voxels.min(), voxels.max()
        assert stored.dtype == np.uint16 and (stored.min(), stored.max()) == (0, 65535)
        back = stored / 65535 * (high - low) + low
        np.testing.assert_allclose(back, upright(voxels), atol=(high - low) / 65535)


def test_hounsfield_units_of_ct_are_exact(tmp_path):
    cases = make_decathlon(tmp_path / "task")
    prepare(tmp_path / "task", tmp_path / "data", "--depth", 16)
    for name, (voxels, _) in cases.items():
        (path,) = (tmp_path / "data").rglob(f"image_{name}_2.png")
        np.testing.assert_array_equal(read_image(path, 3)[..., 1], 16 * (upright(voxels)[..., 2].astype(int) + 1024))
    (path,) = (tmp_path / "data").rglob("image_liver_0_2.png")
    window = read_image(path, 3, (16 * (-200 + 1024), 16 * (250 + 1024)))[..., 1]  # VALUE_RANGE: a window, at load time
    expected = (np.clip(upright(cases["liver_0"][0])[..., 2], -200, 250) + 200) / 450
    np.testing.assert_allclose(window / 65535, expected, atol=1e-5)


def test_loaders_and_the_first_layer_see_the_scan_itself(tmp_path, float_mr):
    """z-score and percentiles of what the loader gives are those of the scan, calculated by NumPy."""
    cfg = find_training_files(load_config([f"WORK_DIR={tmp_path}", *SIZE, "HYPER_PARAMETERS.BATCH_SIZE=1"]))[0]
    loaded = np.concatenate([np.asarray(image) for image, _ in build_dataset(cfg, "val")])
    (name,) = {path.name.split("_")[1] for path in (tmp_path / "data/val/images").iterdir()}
    scan = np.moveaxis(upright(float_mr[name]), 2, 0)
    scan = np.stack([scan[[0, *range(SLICES - 1)]], scan, scan[[*range(1, SLICES), SLICES - 1]]], -1)  # neighbours
    around = {"axis": (1, 2), "keepdims": True}
    zscore = PreprocessImage("zscore", {"FOREGROUND": False})(loaded)
    np.testing.assert_allclose(zscore, (scan - scan.mean(**around)) / scan.std(**around), atol=2e-3)
    low, high = np.percentile(scan, (1, 99), **around)
    stretched = PreprocessImage("percentile", {"PERCENTILES": [1, 99], "FOREGROUND": False})(loaded)
    np.testing.assert_allclose(stretched, np.clip((scan - low) / (high - low), 0, 1), atol=2e-3)


WINDOW = ["PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=window", "PREPROCESS_DATA.WINDOW=[-150,200.5]"]


def test_a_window_in_hounsfield_units(tmp_path):
    cases = make_decathlon(tmp_path / "task")
    prepare(tmp_path / "task", tmp_path / "data", "--depth", 16)
    cfg = find_training_files(load_config([f"WORK_DIR={tmp_path}", *SIZE, *WINDOW]))[0]
    (image, _), *_ = build_dataset(cfg, "val", batch_size=SLICES)
    (name,) = {
        path.name[len("image_") :].rsplit("_", 1)[0] for path in list((tmp_path / "data/val/images").iterdir())[:1]
    }
    expected = (np.clip(upright(cases[name][0]), -150, 200.5) + 150) / 350.5
    np.testing.assert_allclose(np.asarray(image)[..., 1], np.moveaxis(expected, 2, 0), atol=1e-5)
    source = VolumeSource(tmp_path / f"task/imagesTr/{name}.nii.gz")
    source.open(SourceSettings.from_config(cfg))
    np.testing.assert_array_equal(source.read(1)[0] / np.float32(65535), np.asarray(image)[1])


def test_windows_that_cannot_be_applied_are_one_line(tmp_path, float_mr):
    def settings(*overrides):
        return SourceSettings.from_config(load_config([f"WORK_DIR={tmp_path}", *SIZE, *WINDOW, *overrides]))

    with pytest.raises(UserError, match=r"pictures do not keep: .*--depth 16, or .* PREPROCESS_DATA.VALUE_RANGE"):
        settings()
    with pytest.raises(UserError, match="scaled by its own values: prepare them with --depth 16 and --window"):
        verify_data(find_training_files(load_config([f"WORK_DIR={tmp_path}", *SIZE, *WINDOW]))[0])
    prepared = ["PREPARED_BY=volumes", "DEPTH=16", "SCAN_MIN_VALUE=-100", "SCAN_MAX_VALUE=900"]
    with pytest.raises(UserError, match="the preparation kept -100 to 900"):
        settings(*(f"DATA_PREPARATION.{key}" for key in prepared))
    for wrong in ("PREPROCESS_DATA.VALUE_RANGE=[0,9]", "PREPROCESS_DATA.WINDOW=null", "PREPROCESS_DATA.WINDOW=[2,2]"):
        with pytest.raises(UserError, match="IMAGE_PREPROCESSING_TYPE=window"):
            settings(wrong)


@pytest.mark.parametrize("choice", [[], ["PREPROCESS_DATA.VALUE_RANGE=[500,9000]"], ["INPUT.CHANNELS=1"]])
def test_prediction_reads_a_scan_as_training_read_its_slices(tmp_path, float_mr, choice):
    cfg = find_training_files(load_config([f"WORK_DIR={tmp_path}", *SIZE, *choice]))[0]
    assert cfg.DATA_PREPARATION.DEPTH == 16
    settings = SourceSettings.from_config(cfg)
    (name,) = {path.name.split("_")[1] for path in (tmp_path / "data/val/images").iterdir()}
    source = VolumeSource(tmp_path / "scans" / name / "t1.nii.gz")
    source.open(settings)
    for index in range(SLICES):
        path = tmp_path / f"data/val/images/image_{name}_{index}.png"
        stored = read_image(path, cfg.INPUT.CHANNELS, settings.images.value_range)
        np.testing.assert_array_equal(source.read(index)[0], stored)


def test_sequences_of_16_bit_are_bands(tmp_path):
    make_decathlon(tmp_path / "task", modality="FLAIR", count=2, four_axes=True)
    prepare(tmp_path / "task", tmp_path / "data", "--channels", "--depth", 16, "--window", -1000, 64535)
    image = read_image(next((tmp_path / "data").rglob("image_liver_1_3.tif")), 2)
    voxels = nib.load(tmp_path / "task/imagesTr/liver_1.nii.gz").get_fdata()
    np.testing.assert_array_equal(image, upright(voxels[..., 3:, :].squeeze(2)).astype(int) + 1000)


def test_what_contradicts_the_data_is_one_line(tmp_path, float_mr):
    with pytest.raises(UserError, match=r"DEPTH=8 contradicts the data, which was prepared with .*DEPTH=16"):
        find_training_files(load_config([f"WORK_DIR={tmp_path}", *SIZE, "DATA_PREPARATION.DEPTH=8"]))[0]
    with pytest.raises(UserError, match=r"DATA_PREPARATION.DEPTH=9 .*8.*16"):
        load_config(["DATA_PREPARATION.DEPTH=9"])


def test_an_exported_file_takes_16_bit(tmp_path):
    keys = ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,4]", *SIZE, "DATA_PREPARATION.DEPTH=16"]
    make_weights(tmp_path, [*keys, "DATA_PREPARATION.PREPARED_BY=volumes"])
    words = describe_interface(restore_config(load_config([f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet"])), "unet")
    assert "become 0 to 65535" in words["slices of scans"]

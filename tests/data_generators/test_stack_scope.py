"""PREPROCESS_DATA.SCOPE=volume: a TIFF stack is a volume, in every loader, in shards and in predict.py."""

import numpy as np
import pytest
import tifffile
from helpers import needs_dali
from volume_scope_helpers import expected_by_numpy

from data_generators import build_dataset
from data_preparation.tfrecord import write_shards
from data_preparation.verify_data import verify_data
from models.layers.intensities import PreprocessImage
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.image_sources import StackSource
from utils.inference.sources import SourceSettings

GROUP = "PREPROCESS_DATA"
ZSCORE = [f"{GROUP}.IMAGE_PREPROCESSING_TYPE=zscore", f"{GROUP}.SCOPE=volume"]
PERCENTILE = [f"{GROUP}.IMAGE_PREPROCESSING_TYPE=percentile", f"{GROUP}.SCOPE=volume"]
FOREGROUND = f"{GROUP}.FOREGROUND=True"
PAGES, SIDE = 3, 16


def make(folder, dtype="uint16", bands=None):
    """A stack for each split, its last page three times as bright as the others, black at the left."""
    rng, stacks = np.random.default_rng(7), {}
    shape = (PAGES, SIDE, SIDE) if bands is None else (PAGES, SIDE, SIDE, bands)
    for split in ("train", "val"):
        pages = rng.gamma(2, 12, shape).clip(0, 80)
        pages[2] *= 3
        pages[:, :, :3] = 0
        stacks[split] = (pages if dtype == "uint8" else pages * 100).astype(dtype)
        masks = (pages if bands is None else pages[..., 0]) > 20
        for kind, values in (("images", stacks[split]), ("mask", masks.astype(np.uint8))):
            path = folder / f"data/{split}/{kind}/{split}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, values, photometric="minisblack" if values.ndim == 3 else "rgb")
    return stacks


def config(folder, *overrides):
    size = [f"INPUT.HEIGHT={SIDE}", f"INPUT.WIDTH={SIDE}", "VERBOSE=0", "loss=dice", "HYPER_PARAMETERS.BATCH_SIZE=3"]
    return load_config([f"WORK_DIR={folder}", *size, *overrides])


def seen_by_network(cfg, images):
    group = cfg.PREPROCESS_DATA
    settings = {"FOREGROUND": group.FOREGROUND, "PERCENTILES": list(group.PERCENTILES), "SCOPE": "volume"}
    return np.asarray(PreprocessImage(group.IMAGE_PREPROCESSING_TYPE, settings)(images))


@pytest.mark.parametrize("foreground", [[], [FOREGROUND]])
@pytest.mark.parametrize("kind", [ZSCORE, PERCENTILE])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_network_sees_values_of_the_whole_stack(tmp_path, dtype, kind, foreground):
    stacks, cfg = make(tmp_path, dtype), config(tmp_path, *kind, *foreground)
    ((images, _),) = build_dataset(cfg, "val")
    np.testing.assert_allclose(seen_by_network(cfg, images)[..., 0], expected_by_numpy(stacks["val"], cfg), atol=2e-4)


def test_each_band_has_its_own_statistics(tmp_path):
    stacks, cfg = make(tmp_path, bands=3), config(tmp_path, *ZSCORE, "DATASET.BANDS=[3,1]", "INPUT.CHANNELS=2")
    ((images, _),) = build_dataset(cfg, "val")
    for channel, band in enumerate((2, 0)):
        expected = expected_by_numpy(stacks["val"][..., band], cfg)
        np.testing.assert_allclose(seen_by_network(cfg, images)[..., channel], expected, atol=2e-4)
    with pytest.raises(UserError, match=r"train.tif.* becomes 1 channels.*statistics of 3. DATASET.BANDS chooses"):
        verify_data(config(tmp_path, *ZSCORE, "INPUT.CHANNELS=1"))


@pytest.mark.parametrize("name", ["TF_DATA", "TFRECORD", pytest.param("DALI_GENERATOR", marks=needs_dali)])
@pytest.mark.parametrize("bands", [None, 3])
def test_all_loaders_give_the_same(tmp_path, name, bands):
    make(tmp_path, bands=bands)
    options = [*ZSCORE, FOREGROUND]
    ((expected, _),) = build_dataset(config(tmp_path, *options, "DATA_GENERATOR_TYPE=TF_GENERATOR"), "val")
    if name == "TFRECORD":
        write_shards(tmp_path / "data/val/images", tmp_path / "data/val/mask", tmp_path / "shards", "val", 1)
        options += ["DATASET.VAL.IMAGES_PATH=shards/val-*.tfrec"]
    ((found, _),) = build_dataset(config(tmp_path, *options, f"DATA_GENERATOR_TYPE={name}"), "val")
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-6)


def test_channels_from_several_stacks_in_shards(tmp_path):
    rng, folder = np.random.default_rng(3), tmp_path / "data/val"
    for number, channel in enumerate(("t1", "t2")):
        pages = rng.integers(0, 900 * (number + 1), (PAGES, SIDE, SIDE)).astype(np.uint16)
        for kind, values in ((f"images/{channel}", pages), ("mask", (pages > 9).astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / kind / "a.tif", values, photometric="minisblack")
    options = [*ZSCORE, "DATASET.CHANNELS=[t1,t2]", "INPUT.CHANNELS=2"]
    ((expected, _),) = build_dataset(config(tmp_path, *options), "val")
    write_shards(folder / "images", folder / "mask", tmp_path / "shards", "val", 1, channels=["t1", "t2"])
    options = [*ZSCORE, "INPUT.CHANNELS=2", "DATASET.VAL.IMAGES_PATH=shards", "DATA_GENERATOR_TYPE=TFRECORD"]
    ((found, _),) = build_dataset(config(tmp_path, *options), "val")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    means = seen_by_network(config(tmp_path, *options), found).mean(axis=(0, 1, 2))
    assert means == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize("around", [0, 1])
def test_a_stack_that_is_predicted_is_measured_as_in_training(tmp_path, around):
    make(tmp_path)
    options = [f"DATASET.SLICES_AROUND={around}", f"INPUT.CHANNELS={2 * around + 1}", *PERCENTILE]
    cfg = config(tmp_path, *options)
    ((expected, _),) = build_dataset(cfg, "val")
    source = StackSource(tmp_path / "data/val/images/val.tif")
    source.open(SourceSettings.from_config(cfg))
    found = np.stack([source.read(page)[0] for page in range(PAGES)])
    np.testing.assert_array_equal(found / np.float32(65535), np.asarray(expected))


def test_a_stack_of_floats_is_measured_within_its_range(tmp_path):
    stacks = make(tmp_path, "float32")
    options = [*ZSCORE, f"{GROUP}.VALUE_RANGE=[0,24000]"]
    cfg = config(tmp_path, *options)
    ((images, _),) = build_dataset(cfg, "val")
    np.testing.assert_allclose(seen_by_network(cfg, images)[..., 0], expected_by_numpy(stacks["val"], cfg), atol=1e-3)
    write_shards(tmp_path / "data/val/images", tmp_path / "data/val/mask", tmp_path / "shards", "val", 1)
    in_shards = ["DATA_GENERATOR_TYPE=TFRECORD", "DATASET.VAL.IMAGES_PATH=shards"]
    with pytest.raises(UserError, match=r"leave PREPROCESS_DATA.VALUE_RANGE=.*out. TIFF stacks themselves"):
        verify_data(config(tmp_path, *options, *in_shards), ["val"])


def test_a_stack_that_changes_is_measured_again(tmp_path):
    stacks, cfg = make(tmp_path), config(tmp_path, *ZSCORE)
    list(build_dataset(cfg, "val"))
    path = tmp_path / "data/val/images/val.tif"
    tifffile.imwrite(path, stacks["val"][:, ::-1] // 2 + 100, photometric="minisblack")
    ((images, _),) = build_dataset(cfg, "val")
    assert np.asarray(seen_by_network(cfg, images)).mean() == pytest.approx(0, abs=1e-3)


def test_a_picture_is_no_volume(tmp_path, capsys):
    make(tmp_path)
    for kind in ("images", "mask"):
        tifffile.imwrite(tmp_path / f"data/train/{kind}/one.tif", np.ones((SIDE, SIDE), np.uint8))
    cfg = config(tmp_path, *ZSCORE)
    with pytest.raises(UserError, match=r"one.tif: PREPROCESS_DATA.SCOPE=volume needs the statistics of its volume"):
        verify_data(cfg)
    assert "16 bits" not in capsys.readouterr().err  # which no file has

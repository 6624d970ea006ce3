"""Shards in cloud storage: all that reads files by itself reads them there, or says what to do.

TensorFlow's file system in memory, ram://, stands for the bucket.
"""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from helpers import needs_dali
from scan_helpers import SHAPE, labels, nifti

from data_generators import build_dataset
from data_generators.files.cloud import address, remote_stamp
from data_generators.files.pairing import find_pairs, match_pairs
from data_generators.files.preparation import single_preparation
from data_generators.files.tfrecord_index import index_shard
from data_preparation import volumes
from data_preparation.tfrecord import write_shards
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.config import load_config

CLOUD = "ram://bucket/shards"
VOLUME = ["PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=zscore", "PREPROCESS_DATA.SCOPE=volume"]
NEIGHBOURS = ["DATASET.SLICES_AROUND=1", "DATASET.BANDS=[2]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two prepared volumes, packed, and the folder of shards copied to the cloud."""
    folder, rng = tmp_path_factory.mktemp("cloud"), np.random.default_rng(4)
    for name in ("anna", "bert"):
        nifti(folder / "scans" / name / "t1.nii.gz", rng.gamma(2, 120, SHAPE).astype(np.float32))
        nifti(folder / "scans" / name / "seg.nii.gz", labels())
    patterns = ["--volumes", "*/t1.nii.gz", "--segmentations", "*/seg.nii.gz"]
    options = ["--depth", "16", "--val", "0.5", "--workers", "1", "--quiet"]
    volumes.main([str(folder / "scans"), str(folder / "data"), *patterns, *options])
    for split in ("train", "val"):
        write_shards(folder / f"data/{split}/images", folder / f"data/{split}/mask", folder / "shards", split, 1)
    for path in filter(lambda path: path.is_file(), (folder / "shards").rglob("*")):
        copy(path, f"ram://bucket/{path.relative_to(folder)}")
    return folder


def copy(path, url):
    tf.io.gfile.makedirs(url.rpartition("/")[0])
    if tf.io.gfile.exists(url):
        tf.io.gfile.remove(url)  # ram:// would append
    tf.io.gfile.copy(str(path), url)


def config(folder, *overrides, at=CLOUD):
    size = [f"INPUT.HEIGHT={SHAPE[1]}", f"INPUT.WIDTH={SHAPE[0]}", "OUTPUT.CLASSES=4", "loss=cce_dice", "VERBOSE=0"]
    paths = [f"DATASET.{split.upper()}.IMAGES_PATH={at}/{split}-*.tfrec" for split in ("train", "val")]
    return load_config([f"WORK_DIR={folder}", *size, *paths, "DATA_GENERATOR_TYPE=TFRECORD", *overrides])


def batch(cfg):
    return [np.asarray(part) for part in next(iter(build_dataset(cfg, "val", batch_size=4)))]


@pytest.mark.parametrize(
    "loader", ["TFRECORD", "TF_GENERATOR", "TF_DATA", pytest.param("DALI_GENERATOR", marks=needs_dali)]
)
@pytest.mark.parametrize("more", [[], VOLUME, NEIGHBOURS])
def test_every_loader_reads_what_it_reads_on_disk(folder, loader, more):
    more = [*more, f"DATA_GENERATOR_TYPE={loader}"]
    for found, expected in zip(batch(config(folder, *more)), batch(config(folder, *more, at="shards")), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_check_of_the_data_measures_as_on_disk(folder):
    found, expected = (verify_data(config(folder, at=at), details=True) for at in (CLOUD, "shards"))
    statistics = found["train"]["intensity_statistics"]
    assert len(statistics["MEAN"]) == 3 and statistics == expected["train"]["intensity_statistics"]


def test_how_scans_were_prepared_is_read_beside_the_shards(folder):
    preparation = single_preparation([pair.image for pair in find_pairs(config(folder), "train")])
    assert preparation.settings["DATA_PREPARATION.DEPTH"] == 16


def test_a_cache_notices_that_a_shard_was_replaced(folder):
    url = "ram://bucket/other/val-00-1.tfrec"
    for name, value in (("a", 1), ("b", 200)):
        for kind, level in (("images", value), ("mask", 1)):
            (folder / name / kind).mkdir(parents=True)
            cv2.imwrite(str(folder / name / kind / "x.png"), np.full((8, 8), level, np.uint8))
        (path,) = write_shards(folder / name / "images", folder / name / "mask", folder / f"shards_{name}", "val", 1)
        copy(path, url)
        for cached in (remote_stamp, index_shard):
            cached.cache_clear()  # as in a new process
        overrides = ["INPUT.HEIGHT=8", "INPUT.WIDTH=8", "DATASET.CACHE=cache2", f"DATASET.VAL.IMAGES_PATH={url}"]
        assert batch(config(folder, *overrides))[0].max() == pytest.approx(value / 255)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://bucket/train-*.tfrec", "TensorFlow opens gs://, not s3://. Copy the shards to a disk, or mount"),
        ("https://host/train-00-4.tfrec", "not https://"),
        ("ram://bucket/images/*.png", "no .tfrec files. In cloud storage images are read from shards only"),
        ("ram://bucket/list.txt", "is an address, where a path on disk is needed"),
        (f"[{CLOUD}/train-*.tfrec,{CLOUD}/gone.tfrec]", f"{CLOUD}/gone.tfrec: there is no such shard"),
        ("[shards/train-*.tfrec,shards/gone.tfrec]", "shards/gone.tfrec: there is no such shard"),
        ("list.txt", f"{CLOUD}/train-00-4.tfrec: is an address"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(folder, path, words):
    (folder / "list.txt").write_text(f"{CLOUD}/train-00-4.tfrec\n")
    (problem,) = match_pairs(config(folder, f"DATASET.TRAIN.IMAGES_PATH={path}"), "train")[1]
    assert words in problem and "\n" not in problem


def test_paths_on_disk(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="gs://bucket/masks: is an address"):
        resolve_path(config(folder), "gs://bucket/masks")
    with pytest.raises(UserError, match="gs://bucket/work: is an address"):
        resolve_path(load_config(["WORK_DIR=gs://bucket/work"]), "data")
    with pytest.raises(UserError, match="gs://bucket/shards: shards are written to a disk"):
        write_shards(folder / "data/val/images", folder / "data/val/mask", "gs://bucket/shards", "val", 1)
    assert list(tmp_path.iterdir()) == []
    assert address("data/a:/b") == "data/a:/b"

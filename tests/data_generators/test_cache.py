"""DATASET.CACHE gives what decoding gives, decodes once, and again when a file, a setting or the cache has changed."""

import os

import cv2
import numpy as np
import pytest
from helpers import full, source_of

from data_generators import LOADERS, build_dataset
from data_generators.reading import decoding, mask_values
from utils.base.errors import UserError
from utils.config import load_config

CACHES = ("memory", "kept")


@pytest.fixture
def folder(tmp_path):
    """Five 16x20 pairs in training and validation; the first image is 16-bit, the second has a palette mask."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "mask"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(5):
            image = rng.integers(0, 256, (16, 20, 3), np.uint8)
            image = image.astype(np.uint16) * 257 if number == 0 else image
            cv2.imwrite(str(tmp_path / f"data/{split}/images/image_1_{number}.png"), image)
            mask = rng.integers(0, 2, (16, 20), np.uint8)
            cv2.imwrite(str(tmp_path / f"data/{split}/mask/mask_1_{number}.png"), mask)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, as they are."""
    names, decode = [], decoding.decode
    for module in (decoding, mask_values):
        monkeypatch.setattr(module, "decode", lambda path, *rest: names.append(str(path)) or decode(path, *rest))
    return names


def dataset(folder, *overrides, loader="TF_GENERATOR", augment=True):
    size = ["INPUT.HEIGHT=16", "INPUT.WIDTH=20", "loss=dice", f"DATA_GENERATOR_TYPE={loader}"]
    return build_dataset(load_config([f"WORK_DIR={folder}", *size, *overrides]), "train", augment=augment)


def epoch(data):
    return [[np.asarray(part) for part in batch] for batch in data]


def assert_same(one, two):
    for first, second in zip(one, two, strict=True):
        for part, same in zip(first, second, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("loader", full(LOADERS))
@pytest.mark.parametrize("cache", CACHES)
def test_batches_are_the_same_and_decoded_once(loader, cache, folder, decoded):
    options = ["augmentation=medical", "+LOSS.boundary_weighted_ce=1.0", *source_of(loader, folder)]
    del decoded[:]
    plain = dataset(folder, *options, loader=loader)
    expected = [epoch(plain) for _ in range(3)]
    assert len(decoded) == 3 * 10
    kept = dataset(folder, *options, f"DATASET.CACHE={cache}", loader=loader)
    for want in expected:
        assert_same(epoch(kept), want)
    assert len(decoded) == 4 * 10
    assert len(list((folder / "kept").rglob("*.sample")) if cache == "kept" else [0] * 5) == 5


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("engine", ["albumentations", "tensorflow"])
def test_all_policies_leave_the_cache_as_it_is(cache, engine, folder):
    for policy in ("medical",) if engine == "tensorflow" else ("light", "tpu_segmentation", "medical"):
        options = [f"augmentation={policy}", f"AUGMENTATION.ENGINE={engine}", "DATASET.CROP.MODE=random"]
        plain, kept = (
            dataset(folder, *options, f"DATASET.CACHE={value}", loader="TF_DATA") for value in ("null", cache)
        )
        for _ in range(3):
            assert_same(epoch(plain), epoch(kept))


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("kind", ["images/image", "mask/mask"])
def test_a_file_that_changes_is_decoded_again(cache, kind, folder, decoded):
    data = dataset(folder, f"DATASET.CACHE={cache}", augment=False)
    epoch(data)
    path = folder / f"data/train/{kind}_1_3.png"
    before = os.stat(path)
    shape = (16, 20, 3) if "image_" in path.name else (16, 20)
    cv2.imwrite(str(path), np.ones(shape, np.uint8))
    del decoded[:]
    changed = epoch(data)
    assert len(decoded) == 2
    assert_same([sorted(map(float, (b[0].mean() for b in changed)))], [sorted(map(float, means(folder)))])
    epoch(data)
    assert len(decoded) == 2 + 10  # `means` decodes all, the cache none
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))  # same size, other time
    epoch(data)
    assert len(decoded) == 2 + 10 + 2


def means(folder):
    data = dataset(folder, augment=False)
    data.sampler.set_epoch(1)
    return [batch[0].mean() for batch in epoch(data)]


def test_a_shard_that_is_written_again_is_decoded_again(folder, decoded):
    options = ["DATASET.CACHE=memory", *source_of("TFRECORD", folder)]
    del decoded[:]
    data = dataset(folder, *options, loader="TFRECORD")
    epoch(data)
    for shard in (folder / "shards").glob("train-*"):
        os.utime(shard, ns=(0, 0))
    epoch(data)
    assert len(decoded) == 20


@pytest.mark.parametrize(
    "override",
    [
        "INPUT.CHANNELS=1",
        "PREPROCESS_DATA.MASK_FORM=shown",
        "DATASET.LABEL_VALUES=[1,0]",
        "DATASET.IGNORE_LABEL=7",
        "PREPROCESS_DATA.RESIZE.VALUE=True",
    ],
)
def test_a_folder_serves_all_settings(override, folder, decoded):
    size = ["INPUT.HEIGHT=8", "INPUT.WIDTH=10"] if "RESIZE" in override else []
    kept = ["DATASET.CACHE=kept"]
    epoch(dataset(folder, *kept, augment=False))
    del decoded[:]
    expected = epoch(dataset(folder, override, *size, augment=False))
    assert_same(epoch(dataset(folder, override, *size, *kept, augment=False)), expected)
    assert len(decoded) == 20
    assert_same(epoch(dataset(folder, override, *size, *kept, augment=False)), expected)
    epoch(dataset(folder, *kept, augment=False))
    assert len(decoded) == 20


def test_a_damaged_folder_is_mended(folder, decoded):
    expected = epoch(dataset(folder, "DATASET.CACHE=kept", augment=False))
    files = sorted((folder / "kept").rglob("*.sample"))
    whole = files[0].read_bytes()
    for path, data in zip(
        files,
        (whole[:-1], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], b"junk" * 50, files[1].read_bytes()),
        strict=True,
    ):
        path.write_bytes(data)  # the last is whole but of another sample: its stamp is not that of the files
    del decoded[:]
    assert_same(epoch(dataset(folder, "DATASET.CACHE=kept", augment=False)), expected)
    assert len(decoded) == 10
    assert_same(epoch(dataset(folder, "DATASET.CACHE=kept", augment=False)), expected)
    assert len(decoded) == 10
    assert files[0].read_bytes() == whole


def test_a_full_disk_is_told_once_and_training_goes_on(folder, monkeypatch, capsys):
    from data_generators.reading import cache

    def full_disk(file, examples):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_records", full_disk)
    assert len(epoch(dataset(folder, "DATASET.CACHE=kept"))) == 3
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert not list((folder / "kept").rglob("*.sample"))


def test_a_folder_that_cannot_be_made_and_a_loader_without_it(folder):
    (folder / "file").write_text("")
    with pytest.raises(UserError, match=r"DATASET\.CACHE: cannot create the folder .*file/kept"):
        dataset(folder, "DATASET.CACHE=file/kept")
    with pytest.raises(UserError, match=r"DALI_GENERATOR has no DATASET\.CACHE"):
        dataset(folder, "DATASET.CACHE=memory", loader="DALI_GENERATOR")


def test_evaluation_keeps_nothing(folder, decoded, monkeypatch):
    from utils.evaluation import split

    monkeypatch.setattr(split, "load_weights", lambda network, cfg: None)
    size = ["INPUT.HEIGHT=16", "INPUT.WIDTH=20", "loss=dice"]
    cfg = load_config([f"WORK_DIR={folder}", "DATASET.CACHE=kept", *size])
    for count in (1, 2):
        assert sum(len(images) for images, _ in split.fold_batches([cfg], "val", None, 1)) == 5
        assert len(decoded) == count * 10
    assert not (folder / "kept").exists()

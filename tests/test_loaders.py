"""All loaders give the same samples in the same order, every one once per epoch."""

import cv2
import numpy as np
import pytest
from conftest import full, installed, source_of

from data_generators import LOADERS, build_dataset
from data_generators.order import EpochOrder
from utils.config import load_config


@pytest.fixture
def numbered(tmp_path):
    """Seven 8x12 images whose grey value is their number times ten; the mask of an odd one is all foreground."""
    for split in ("train", "val"):
        for kind in ("images", "mask"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(7):
            cv2.imwrite(
                str(tmp_path / f"data/{split}/images/image_1_{number}.png"), np.full((8, 12), number * 10, np.uint8)
            )
            cv2.imwrite(
                str(tmp_path / f"data/{split}/mask/mask_1_{number}.png"), np.full((8, 12), number % 2, np.uint8)
            )
    return tmp_path


def numbered_config(folder, loader, *overrides):
    return load_config(
        [
            f"WORK_DIR={folder}",
            f"DATA_GENERATOR_TYPE={loader}",
            "INPUT.HEIGHT=8",
            "INPUT.WIDTH=12",
            "loss=dice",
            "HYPER_PARAMETERS.BATCH_SIZE=3",
            *(source_of(loader, folder) if (folder / "data").is_dir() else []),
            *overrides,
        ]
    )


def one_epoch(dataset):
    """Numbers of the images in the order of an epoch, checked against their masks."""
    numbers = []
    for image, mask in (dataset[i] for i in range(len(dataset))) if hasattr(dataset, "on_epoch_end") else dataset:
        image, mask = np.asarray(image), np.asarray(mask)
        assert image.dtype == np.float32 and mask.dtype == np.uint8
        assert image.shape[1:] == (8, 12, 3) and mask.shape == (*image.shape[:3], 1)
        values = np.rint(image[:, 0, 0, 0] * 25.5).astype(int)
        np.testing.assert_allclose(
            image, np.broadcast_to(values[:, None, None, None] * 10 / 255, image.shape), rtol=1e-6
        )
        np.testing.assert_array_equal(mask, np.broadcast_to(values[:, None, None, None] % 2, mask.shape))
        numbers.append(values)
    assert [len(batch) for batch in numbers] == [3, 3, 1]
    if hasattr(dataset, "on_epoch_end"):
        dataset.on_epoch_end()
    return list(np.concatenate(numbers))


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_every_sample_once_per_epoch_in_a_new_order(loader, numbered):
    dataset = build_dataset(numbered_config(numbered, loader), "train")
    epochs = [one_epoch(dataset) for _ in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_loaders_agree(numbered):
    epochs = []
    for loader in installed(LOADERS):
        dataset = build_dataset(numbered_config(numbered, loader), "train")
        epochs.append([one_epoch(dataset) for _ in range(3)])
    assert len(epochs) > 2 and all(epoch == epochs[0] for epoch in epochs)


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_validation_keeps_the_order_of_names(loader, numbered):
    dataset = build_dataset(numbered_config(numbered, loader), "val")
    assert one_epoch(dataset) == one_epoch(dataset) == list(range(7))


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_the_seed_decides(loader, numbered):
    first, again, other = (
        one_epoch(build_dataset(numbered_config(numbered, loader, f"SEED={seed}"), "train")) for seed in (5, 5, 6)
    )
    assert first == again != other


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_images_without_masks(loader, numbered):
    dataset = build_dataset(numbered_config(numbered, loader, "DATASET.VAL.MASK_PATH=None"), "val")
    batches = list(dataset)
    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert sum(len(batch[0]) for batch in batches) == 7


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_replicas_share_a_larger_batch(loader, numbered):
    dataset = build_dataset(numbered_config(numbered, loader), "train", replicas=2)
    assert len(next(iter(dataset))[0]) == 6


@pytest.mark.parametrize("loader", full(LOADERS))
def test_resized_and_divided_while_loading(loader, tmp_path):
    for kind, value in (("images", 128), ("mask", 255)):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.full((20, 30), value, np.uint8))
    cfg = numbered_config(
        tmp_path,
        loader,
        "DATASET.VAL.IMAGES_PATH=images",
        "DATASET.VAL.MASK_PATH=mask",
        "PREPROCESS_DATA.RESIZE.VALUE=True",
        "PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True",
    )
    image, mask = next(iter(build_dataset(cfg, "val")))
    assert np.asarray(image).shape == (1, 8, 12, 3)
    np.testing.assert_array_equal(np.asarray(mask), np.ones((1, 8, 12, 1)))


def test_the_order_is_a_function_of_seed_and_epoch():
    order, resumed = EpochOrder(50, 5, True), EpochOrder(50, 5, True)
    orders = [order.next_epoch()[:, 2] for _ in range(3)]
    resumed.batch_size = 4
    resumed.begin(2, step=3)
    visits = resumed.next_epoch()
    np.testing.assert_array_equal(visits[:, 2], orders[2][12:])
    np.testing.assert_array_equal(visits[:, :2], [(2, position) for position in range(12, 50)])
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("loader", installed(LOADERS))
def test_workers_share_every_batch(loader, workers, numbered):
    """Of 7 samples in batches of 6, two workers take three each; the one left cannot be shared."""
    found = []
    for number in range(workers):
        cfg = numbered_config(numbered, loader)
        dataset = build_dataset(cfg, "train", replicas=2, worker=(number, workers))
        for batch in dataset:
            found += np.rint(np.asarray(batch[0])[:, 0, 0, 0] * 25.5).astype(int).tolist()
    assert len(set(found)) == len(found) == (7 if workers == 1 else 6)

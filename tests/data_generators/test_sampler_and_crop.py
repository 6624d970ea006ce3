"""Crops and foreground sampling: the same in both loaders, decided by seed, epoch and place in the epoch."""

import cv2
import keras
import numpy as np
import pytest
from helpers import installed, source_of

from data_generators import LOADERS, build_dataset
from data_generators.crop import Crop
from data_generators.sampler import ForegroundSampler, make_sampler
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.config import load_config

HEIGHT, WIDTH = 24, 40
WITH_OBJECT = (1, 4, 7)


@pytest.fixture
def large(tmp_path):
    """Nine 24x40 images whose pixels tell their place (red: row, green: column, blue: image); three hold an object."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.uint8)
    for split in ("train", "val"):
        for kind in ("images", "mask"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(9):
            blue = np.full_like(rows, number)
            cv2.imwrite(str(tmp_path / f"data/{split}/images/i{number}.png"), np.dstack([blue, columns, rows]))
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if number in WITH_OBJECT:
                mask[20 : 20 + number % 3, 2 * number] = 1
            cv2.imwrite(str(tmp_path / f"data/{split}/mask/i{number}.png"), mask)
    return tmp_path


def config(folder, *overrides):
    return load_config(
        [f"WORK_DIR={folder}", "VERBOSE=0", "INPUT.HEIGHT=8", "INPUT.WIDTH=12", "loss=dice",
         "HYPER_PARAMETERS.BATCH_SIZE=4", *overrides]
    )  # fmt: skip


def epochs(cfg, split="train", count=2):
    """[(image number, top, left, holds an object)] of each sample of some epochs, checked pixel by pixel."""
    dataset, found = build_dataset(cfg, split), []
    for _ in range(count):
        by_index = isinstance(dataset.batches, keras.utils.PyDataset)
        batches = [dataset.batches[i] for i in range(len(dataset))] if by_index else dataset
        samples = []
        for images, masks in batches:
            for image, mask in zip(np.asarray(images), np.asarray(masks), strict=True):
                pixels = np.rint(image * 255).astype(int)
                top, left, number = pixels[0, 0]
                rows, columns = np.mgrid[top : top + len(image), left : left + image.shape[1]]
                np.testing.assert_array_equal(pixels[:, :, 0], rows)
                np.testing.assert_array_equal(pixels[:, :, 1], columns)
                inside = (rows >= 20) & (rows < 20 + number % 3) & (columns == 2 * number)
                np.testing.assert_array_equal(mask[:, :, 0], inside & (number in WITH_OBJECT))
                samples.append((number, top, left, bool(mask.any())))
        found.append(samples)
        if by_index:
            dataset.batches.on_epoch_end()
    return found


@pytest.mark.parametrize("mode", ["random", "foreground"])
@pytest.mark.parametrize("fraction", ["null", "0.5"])
def test_all_loaders_cut_the_same_and_each_epoch_anew(mode, fraction, large):
    overrides = [f"DATASET.CROP.MODE={mode}", f"DATASET.FOREGROUND_FRACTION={fraction}"]
    first, *others = (
        epochs(config(large, *overrides, *source_of(loader, large), f"DATA_GENERATOR_TYPE={loader}"))
        for loader in installed(LOADERS)
    )
    assert len(others) > 1 and all(other == first for other in others)
    assert first[0] != first[1]
    assert first != epochs(config(large, *overrides, "SEED=6"))
    assert len({(top, left) for _, top, left, _ in first[0] + first[1]}) > 12


def test_random_crops_reach_every_place(large):
    crop = Crop(8, 12, "random", seed=1)
    corners = np.array([crop.corner((HEIGHT, WIDTH), None, 0, position) for position in range(3000)])
    assert corners.min(axis=0).tolist() == [0, 0]
    assert corners.max(axis=0).tolist() == [HEIGHT - 8, WIDTH - 12]
    assert len(np.unique(corners, axis=0)) > 0.99 * 17 * 29


def test_foreground_crops_hold_foreground_where_there_is_some(large):
    samples = [sample for epoch in epochs(config(large, "DATASET.CROP.MODE=foreground"), count=4) for sample in epoch]
    assert {number for number, *_, held in samples if held} == set(WITH_OBJECT)
    assert all(held for number, *_, held in samples if number in WITH_OBJECT)
    assert len({(top, left) for number, top, left, _ in samples if number == 4}) > 1


def test_a_pixel_in_the_corner_can_be_reached():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[-1, -1], mask[0, 0] = 1, 255
    crop = Crop(8, 12, "foreground", ignore_label=255)
    assert {crop.corner(mask.shape, mask, 0, position) for position in range(20)} == {(HEIGHT - 8, WIDTH - 12)}


def test_validation_takes_the_centre_and_evaluation_whole_images(large):
    cfg = config(large, "DATASET.CROP.MODE=random", "DATASET.FOREGROUND_FRACTION=0.5")
    samples = epochs(cfg, "val", count=1)[0]
    assert [(number, top, left) for number, top, left, _ in samples] == [(n, 8, 14) for n in range(9)]
    whole = build_dataset(cfg, "val", whole_images=True)
    images, masks = next(iter(whole))
    assert images.shape == (1, HEIGHT, WIDTH, 3) and masks.shape == (1, HEIGHT, WIDTH, 1) and whole.steps == 9
    assert cfg == config(large, "DATASET.CROP.MODE=random", "DATASET.FOREGROUND_FRACTION=0.5")


def test_an_image_smaller_than_the_crop_is_named(large):
    with pytest.raises(UserError, match=r"i0\.png: is 24x40 .*smaller than DATASET\.CROP 32x12") as error:
        verify_data(config(large, "DATASET.CROP.MODE=random", "INPUT.HEIGHT=32"))
    assert "18 problems" in str(error.value)
    cfg = config(large, "DATASET.CROP.MODE=random", "INPUT.HEIGHT=32")
    assert verify_data(cfg, whole_images=True)["train"]["pairs"] == 9  # evaluation takes images of any size
    assert cfg == config(large, "DATASET.CROP.MODE=random", "INPUT.HEIGHT=32")
    assert verify_data(config(large, "DATASET.CROP.MODE=random"))["train"]["pairs"] == 9


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_each_batch_holds_its_share_of_foreground(fraction, large):
    cfg = config(large, "DATASET.CROP.MODE=random", f"DATASET.FOREGROUND_FRACTION={fraction}")
    for samples in epochs(cfg):
        assert len(samples) == 9
        for batch in (samples[:4], samples[4:8]):
            assert sum(held for *_, held in batch) == 4 * fraction
            assert sum(number in WITH_OBJECT for number, *_ in batch) == 4 * fraction


def test_any_fraction_is_spread_evenly():
    sampler = ForegroundSampler([True] * 5 + [False] * 95, 0.3, seed=1, shuffle=True)
    chosen = sampler.indices(0) < 5
    for batch in (10, 20, 50):
        assert set(chosen.reshape(-1, batch).sum(axis=1)) == {batch * 3 // 10}
    counts = np.bincount(sampler.indices(0), minlength=100)
    assert set(counts[:5]) == {6} and set(counts[5:]) == {0, 1} and counts.sum() == 100


def test_a_fixed_order_has_every_sample_once(large):
    cfg = config(large, "DATASET.FOREGROUND_FRACTION=0.5", "INPUT.HEIGHT=24", "INPUT.WIDTH=40")
    assert [number for number, *_ in epochs(cfg, count=1)[0]] != list(range(9))
    dataset = build_dataset(cfg, "train", shuffle=False)
    assert dataset.sampler.indices(0).tolist() == dataset.sampler.indices(1).tolist() == list(range(9))


def test_samples_that_all_hold_foreground_each_come_once_in_two_halves():
    counts = np.bincount(ForegroundSampler([True] * 8, 0.5, seed=1, shuffle=True).indices(0), minlength=8)
    assert counts.sum() == 8 and counts.max() <= 2


def test_foreground_is_looked_for_in_the_classes_not_in_the_stored_values(large):
    pairs = build_dataset(config(large), "train").samples
    for values, ignored, found in (("[0,1]", "null", WITH_OBJECT), ("[1,0]", "null", range(9))):
        cfg = config(large, f"DATASET.LABEL_VALUES={values}", f"DATASET.IGNORE_LABEL={ignored}",
                     "DATASET.FOREGROUND_FRACTION=0.5")  # fmt: skip
        sampler = build_dataset(cfg, "train").sampler
        assert sampler.with_foreground.tolist() == list(found)
    from data_generators.reading.samples import ReadSettings

    cfg = config(large, "DATASET.FOREGROUND_FRACTION=0.5")
    with pytest.raises(UserError, match="of 2 masks none holds foreground"):
        make_sampler(cfg, "train", [pairs[0], pairs[2]], ReadSettings.from_config(cfg))


def test_trained_on_cuts_measured_and_predicted_whole(large):
    from evaluate import evaluate
    from predict import predict
    from train import train

    sizes = ["INPUT.HEIGHT=16", "INPUT.WIDTH=16", "MODEL.TYPE=tiny_unet3plus", "MODEL.FILTERS=[4,4]"]
    cuts = ["DATASET.CROP.MODE=random", "DATASET.FOREGROUND_FRACTION=0.5", "HYPER_PARAMETERS.EPOCHS=1", "loss=dice"]
    train(config(large, *sizes, *cuts))
    small = config(large, "MODEL.TYPE=tiny_unet3plus", "EVALUATION.BOOTSTRAP=0")
    small.OVERRIDES = ["MODEL.TYPE=tiny_unet3plus"]  # INPUT was not typed
    assert 0 <= evaluate(small)["dice_coef"] <= 1
    masks = sorted((predict(small) / "masks").iterdir())
    assert len(masks) == 9 and cv2.imread(str(masks[0]), 0).shape == (HEIGHT, WIDTH)

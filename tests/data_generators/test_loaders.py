"""All loaders give the same samples in the same order, every one once per epoch."""

import cv2
import keras
import numpy as np
import pytest
from helpers import PROJECT, installed, source_of
from warm_helpers import run_warm

from data_generators import LOADERS, build_dataset
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.forward import in_unit_range

PREPROCESSING = "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE"


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
    numbers, by_index = [], isinstance(dataset.batches, keras.utils.PyDataset)
    for image, mask in (dataset.batches[i] for i in range(len(dataset))) if by_index else dataset:
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
    if by_index:
        dataset.batches.on_epoch_end()
    return list(np.concatenate(numbers))


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_every_sample_once_per_epoch_in_a_new_order(loader, numbered):
    dataset = build_dataset(numbered_config(numbered, loader), "train")
    epochs = [one_epoch(dataset) for _ in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_images_as_they_are_stored(loader, numbered):
    cfg = numbered_config(numbered, loader)
    for stored, scaled in zip(build_dataset(cfg, "train", as_stored=True), build_dataset(cfg, "train"), strict=True):
        assert np.asarray(stored[0]).dtype == np.uint8
        np.testing.assert_array_equal(in_unit_range(np.asarray(stored[0])), scaled[0])
        np.testing.assert_array_equal(stored[1], scaled[1])


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_image_preprocessing_is_left_to_the_network(loader, numbered):
    """Every loader gives [0, 1]: the layer of `models.image_preprocessing` would do its work a second time."""
    kinds = (numbered_config(numbered, loader, f"{PREPROCESSING}={kind}") for kind in ("normalize", "zscore"))
    for plain, other in zip(*(build_dataset(cfg, "val") for cfg in kinds), strict=True):
        np.testing.assert_array_equal(plain[0], other[0])


@pytest.mark.parametrize("loader", installed(["TF_GENERATOR", "TF_DATA", "DALI_GENERATOR"]))
def test_an_image_that_is_no_longer_of_8_bit(loader, numbered):
    dataset = build_dataset(numbered_config(numbered, loader), "val", as_stored=True)
    path = numbered / "data/val/images/image_1_4.png"
    cv2.imwrite(str(path), np.full((8, 12), 999, np.uint16))
    with pytest.raises(Exception, match=r"image_1_4\.png: has changed since it was checked, to uint16"):
        list(dataset)


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


@pytest.mark.parametrize("chosen", installed(LOADERS))
def test_arguments_choose_loader_order_and_batch_size(chosen, numbered):
    cfg = numbered_config(numbered, "TF_DATA", *source_of(chosen, numbered))
    dataset = build_dataset(cfg, "train", loader=chosen, shuffle=False)
    loaded = type(build_dataset(numbered_config(numbered, chosen), "train").batches)
    assert type(dataset.batches) is loaded
    assert one_epoch(dataset) == one_epoch(dataset) == list(range(7))
    shuffled = build_dataset(cfg, "val", loader=chosen, shuffle=True)
    assert one_epoch(shuffled) != list(range(7)) and len(shuffled) == shuffled.steps == 3
    assert [len(image) for image, _ in build_dataset(cfg, "val", batch_size=2)] == [2, 2, 2, 1]


def test_a_batch_knows_its_samples(numbered):
    dataset = build_dataset(numbered_config(numbered, "TF_GENERATOR"), "train")
    numbers = np.rint(next(iter(dataset))[0][:, 0, 0, 0] * 25.5).astype(int)
    assert [sample.image.stem for sample in dataset.samples_of(0, 0)] == [f"image_1_{n}" for n in numbers]


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


@pytest.mark.parametrize("loader", installed(LOADERS))
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
    sampler, resumed = EpochSampler(50, 5, True), EpochSampler(50, 5, True, batch_size=4)
    orders = [sampler.next_epoch()[:, 2] for _ in range(3)]
    resumed.set_epoch(2, step=3)
    draws = resumed.next_epoch()
    np.testing.assert_array_equal(draws[:, 2], orders[2][12:])
    np.testing.assert_array_equal(draws[:, :2], [(2, position) for position in range(12, 50)])
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


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_the_last_batch_is_dropped_in_training_alone(loader, numbered):
    cfg = numbered_config(numbered, loader, "DATASET.DROP_REMAINDER=True")
    dataset = build_dataset(cfg, "train", augment=True)
    epochs = [[np.rint(np.asarray(image)[:, 0, 0, 0] * 25.5).tolist() for image, _ in dataset] for _ in range(2)]
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[3, 3], [3, 3]] and dataset.steps == 2
    sampler = EpochSampler(7, cfg.SEED, True)
    assert [np.concatenate(epoch).tolist() for epoch in epochs] == [
        sampler.indices(number)[:6].tolist() for number in range(2)
    ]
    dataset.sampler.set_epoch(1, step=1)  # a resumed run
    assert [len(image) for image, _ in dataset] == [3]
    for split in ("train", "val"):
        measured = build_dataset(cfg, split)
        assert [len(image) for image, _ in measured] == [3, 3, 1] and measured.steps == 3


def test_dropping_all_there_is_is_an_error(numbered):
    cfg = numbered_config(numbered, "TF_DATA", "DATASET.DROP_REMAINDER=True", "HYPER_PARAMETERS.BATCH_SIZE=8")
    with pytest.raises(UserError, match="DROP_REMAINDER=True leaves nothing to train on: 7 images"):
        build_dataset(cfg, "train", augment=True)


TRAINED = """
import sys
import numpy as np
import tensorflow as tf
from data_generators import build_dataset
from losses.supervision import build_training_loss
from models import build_model
from utils.config import load_config
from utils.devices.strategy import make_strategy
from utils.training import tensorflow_step
from utils.training.trainer import Trainer

seen = []

def recording(trainer, weight, images, *rest):
    numbers = tf.where(weight > 0, images[:, 0, 0, 0], -1.0)  # a replica for which nothing is left gets weight 0
    place = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
    tf.numpy_function(lambda found, place: seen.append((place, found)), [numbers, place], [])
    return loss_and_gradients(trainer, weight, images, *rest)

loss_and_gradients, tensorflow_step.loss_and_gradients = tensorflow_step.loss_and_gradients, recording

for line in sys.argv[2:]:
    cfg = load_config(line.split())
    strategy = make_strategy(cfg)
    data = build_dataset(cfg, "train", replicas=strategy.num_replicas_in_sync, augment=True)
    with strategy.scope():
        trainer = Trainer(build_model(cfg), build_training_loss(cfg), {})
        trainer.compile()
    for epoch in range(2):
        del seen[:]
        trainer.fit(data, dict, epoch + 1, [], (epoch, 0))
        numbers = np.concatenate([found for _, found in seen])
        replicas = sorted({int(place) for place, _ in seen})
        found = np.rint(numbers[numbers >= 0] * 25.5).astype(int)
        print("seen", cfg.DATA_GENERATOR_TYPE, replicas, sorted(found.tolist()))
"""


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_epoch_of_training_draws_every_image_once(replicas, numbered):
    """Through the Trainer; with two replicas batches of 6 of 7 images: nothing is left for one of them at the end."""
    strategy = ["STRATEGY.NAME=mirrored", "STRATEGY.LOGICAL_CPUS=2"] if replicas == 2 else []
    lines = []
    # TFRECORD hands out its batches as TF_DATA does.
    loaders = [name for name in installed(LOADERS) if replicas == 1 or name != "TFRECORD"]
    for loader in loaders:
        options = [*source_of(loader, numbered), *strategy, "MODEL.TYPE=unet", "MODEL.FILTERS=[2,2]", "VERBOSE=0"]
        lines.append([f"WORK_DIR={numbered}", f"DATA_GENERATOR_TYPE={loader}", "INPUT.HEIGHT=8", "INPUT.WIDTH=12"])
        lines[-1] += ["loss=dice", "HYPER_PARAMETERS.BATCH_SIZE=3", *options]
    result = run_warm("-c", TRAINED, "train", *map(" ".join, lines), PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr[-3000:]
    expected = [f"seen {name} {list(range(replicas))} {list(range(7))}" for name in loaders for _ in range(2)]
    assert [line for line in result.stdout.splitlines() if line.startswith("seen")] == expected


GROWTH = """
import gc, sys
import psutil
from data_generators import build_dataset
from utils.config import load_config

epochs = int(sys.argv[1])
for line in sys.argv[2:]:
    data = build_dataset(load_config(line.split()), "train", augment=True)
    sizes = []
    for count in (4, epochs):
        for epoch in range(count):
            for batch in data:
                pass
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss / 2**20)
    print("grown", line.split()[0], sizes[1] - sizes[0])
"""


@pytest.mark.parametrize("epochs", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_memory_does_not_grow(epochs, tmp_path):
    """A batch that is never freed would add 9 MB in each epoch, a decoded image kept 2 MB."""
    for kind, channels in (("images", 3), ("mask", 1)):
        (tmp_path / "data/train" / kind).mkdir(parents=True)
        (tmp_path / "data/val" / kind).mkdir(parents=True)
        for number in range(16):
            picture = np.random.default_rng(number).integers(0, 2, (224, 224, channels), np.uint8)
            cv2.imwrite(str(tmp_path / f"data/train/{kind}/{number:02d}.png"), picture)
            cv2.imwrite(str(tmp_path / f"data/val/{kind}/{number:02d}.png"), picture)
    lines = []
    for loader in installed(LOADERS):
        caches = (
            ["DATASET.CACHE=null", "DATASET.CACHE=memory"]
            if loader == "TF_DATA" or (epochs > 12 and loader != "DALI_GENERATOR")
            else ["DATASET.CACHE=null"]
        )
        for cache in caches:
            lines.append([f"DATA_GENERATOR_TYPE={loader}", cache, f"WORK_DIR={tmp_path}", *source_of(loader, tmp_path)])
    lines.append(["DATA_GENERATOR_TYPE=TF_DATA", "AUGMENTATION.ENGINE=tensorflow", f"WORK_DIR={tmp_path}"])
    common = ["INPUT.HEIGHT=224", "INPUT.WIDTH=224", "loss=dice", "augmentation=light", "AUGMENTATION.FILL=zero"]
    lines = [" ".join([*line, *common, "HYPER_PARAMETERS.BATCH_SIZE=4"]) for line in lines]
    result = run_warm("-c", GROWTH, epochs, *lines, PYTHONPATH=str(PROJECT), timeout=1200)
    assert result.returncode == 0, result.stderr[-3000:]
    grown = [line.split() for line in result.stdout.splitlines() if line.startswith("grown")]
    assert len(grown) == len(lines)
    for _, loader, megabytes in grown:
        assert float(megabytes) < 20 + epochs / 10, (loader, grown)

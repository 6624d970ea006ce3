"""Datasets by name: the same samples, in the same order for a seed, whichever loader reads them."""

import importlib.util
from collections.abc import Sequence
from functools import partial
from typing import Any

from omegaconf import DictConfig

from data_generators.augmentation import Augmentation, Engine
from data_generators.dataset import Dataset
from data_generators.files.class_labels import classifier_class_names, find_labelled_images
from data_generators.files.object_files import find_objects
from data_generators.files.pairing import find_pairs
from data_generators.loaders import Loader
from data_generators.reading.readers import LabelReader, PairReader, SampleReader
from data_generators.reading.samples import ReadSettings
from data_generators.sampler import make_sampler
from utils.base.errors import UserError
from utils.base.registry import load_object, look_up
from utils.base.startup import import_keras

# DATA_GENERATOR_TYPE -> function or class with the interface of `data_generators.loaders.Loader`
LOADERS = {
    "TF_GENERATOR": "data_generators.loaders.keras_sequence:SampleSequence",
    "TF_DATA": "data_generators.loaders.tf_data:sample_dataset",
    "TFRECORD": "data_generators.loaders.tf_data:sample_dataset",  # samples from shards, see `files.pairing`
    "DALI_GENERATOR": "data_generators.loaders.dali:dali_batches",
}

# AUGMENTATION.ENGINE -> its class, with the interface of `data_generators.augmentation.Augmentation`, and what it does
ENGINES = {
    "albumentations": Engine(
        "data_generators.augmentation.albumentations_engine:AlbumentationsAugmentation",
        class_labels=True,
        policy_files=True,
        keep_foreground=True,
    ),
    "tensorflow": Engine(
        "data_generators.augmentation.tensorflow_engine:TensorFlowAugmentation",
        loaders=("TF_DATA", "TFRECORD"),
        keep_foreground=True,
    ),
}


def build_dataset(
    cfg: DictConfig,
    split: str,
    *,
    samples: Sequence[Any] | None = None,
    replicas: int = 1,
    targets: bool = True,
    boundary_weights: bool = True,
    worker: tuple[int, int] = (0, 1),
    augment: bool = False,
    as_stored: bool = False,
    loader: str | Loader | None = None,
    shuffle: bool | None = None,
    whole_images: bool = False,
    batch_size: int | None = None,
    cache: bool = True,
) -> Dataset:
    """Build the dataset of one split.

    Args:
        cfg: checked config; DATASET, INPUT, PREPROCESS_DATA, HYPER_PARAMETERS.BATCH_SIZE and SEED are read.
        split: "train", "val" or "test".
        samples: of the split, if they were found before: those of `data_generators.files.split_files.SplitFiles`.
        replicas: devices that share a batch of `replicas * BATCH_SIZE`.
        targets: whether batches hold masks or class labels, besides images.
        boundary_weights: whether batches hold the weights of the loss term `boundary_weighted_ce`, if LOSS has it.
        worker: (number of this worker, workers). The batches are this worker's parts of those of all replicas.
        augment: True for training: AUGMENTATION changes the samples of the training split, and
            DATASET.DROP_REMAINDER leaves out a smaller last batch.
        as_stored: keep images as uint8, a quarter of the bytes; all must have 8 bit, and you divide by 255 yourself.
            Augmentation that works in floating point (ENGINE=tensorflow, DALI) still returns float32.
        loader: name in LOADERS or a `Loader`, in place of DATA_GENERATOR_TYPE.
        shuffle: in place of PREPROCESS_DATA.SHUFFLE. False: each sample once, in the order of names.
        whole_images: ignore DATASET.CROP: images of any size, one in a batch. Without CROP it changes nothing.
        batch_size: samples of a batch for each replica, in place of HYPER_PARAMETERS.BATCH_SIZE.
        cache: False ignores DATASET.CACHE, for samples that are read only once.

    Returns:
        A `Dataset`. Iterating it yields the batches of one epoch, arrays or tensors:

        * `(image, mask)`: image `(batch, height, width, channels)` float32 in [0, 1], mask `(batch, height, width, 1)`
          uint8 class indices, DATASET.IGNORE_LABEL among them; uint16 where a class is ignored by itself
          (`utils.base.ignored_classes`).
        * `(image, mask, weights)` with the loss term `boundary_weighted_ce`: weights `(batch, height, width, 1)`
          float32, see `data_generators.reading.boundary_weights`; from DATASET.<SPLIT>.OBJECTS_PATH if there is one.
        * `(image, label)` with MODEL.TYPE=classifier: label `(batch, classes)` float32.
        * `(image,)` without masks (MASK_PATH null), or without targets.

        Each epoch has every sample once (with DATASET.FOREGROUND_FRACTION: as many samples as there are), the last
        batch may be smaller.

    Raises:
        UserError: a folder is missing or empty, an image has no mask, or DATASET.DROP_REMAINDER leaves no batch.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> cfg = load_config(["WORK_DIR=demo", "INPUT.HEIGHT=96", "INPUT.WIDTH=96"])  # doctest: +SKIP
        >>> dataset = build_dataset(cfg, "val", batch_size=2)  # doctest: +SKIP
        >>> image, mask = next(iter(dataset))  # doctest: +SKIP
        >>> len(image), mask.shape == (*image.shape[:3], 1)  # doctest: +SKIP
        (2, True)
    """
    training = augment and split == "train"
    labelled = cfg.MODEL.TYPE == "classifier" and targets
    whole_images = whole_images and cfg.DATASET.CROP.MODE is not None
    if samples is None:
        found: Sequence[Any] = find_labelled_images(cfg, split) if labelled else find_pairs(cfg, split)
        samples = found
    import_keras(loud=cfg.VERBOSE == 2)
    reader = make_reader(
        cfg,
        split,
        samples,
        labelled,
        with_mask=targets and not labelled and samples[0].mask is not None,
        boundary_weights=boundary_weights,
        settings=ReadSettings.from_config(cfg, split, whole_images=whole_images, cache=cache),
        augmentation=make_augmentation(cfg) if training else None,
        image_dtype="uint8" if as_stored else "float32",
    )
    batch_size = (1 if whole_images else batch_size or cfg.HYPER_PARAMETERS.BATCH_SIZE) * replicas
    sampler = make_sampler(
        cfg,
        split,
        samples,
        reader.settings,
        shuffle=shuffle,
        targets=targets,
        batch_size=batch_size,
        worker=worker,
        drop_remainder=training and cfg.DATASET.DROP_REMAINDER,
    )
    if loader is None or isinstance(loader, str):
        loader = find_loader(cfg, loader, training)
    _, workers = worker
    batches = loader(samples, sampler, reader, batch_size // workers, cfg.DATALOADER_WORKERS)
    return Dataset(batches, sampler, samples, as_arrays=cfg.BACKEND == "jax")


def make_augmentation(cfg: DictConfig) -> Augmentation | None:
    """The augmentation of AUGMENTATION.ENGINE, or None if it changes nothing."""
    engine = look_up(ENGINES, cfg.AUGMENTATION.ENGINE, "AUGMENTATION.ENGINE")
    return load_object(engine.augmentation).from_config(cfg)


def make_reader(
    cfg: DictConfig,
    split: str,
    samples: Sequence,
    labelled: bool,
    *,
    with_mask: bool,
    boundary_weights: bool,
    **options: Any,
) -> SampleReader:
    """The reader of images with class labels, or of images with masks; options are those of `SampleReader`."""
    if labelled:
        return LabelReader(class_names=classifier_class_names(cfg), classes=cfg.OUTPUT.CLASSES, **options)
    if not with_mask or not boundary_weights or cfg.LOSS.get("boundary_weighted_ce", 0) == 0:
        return PairReader(with_mask=with_mask, **options)
    term, label_images = cfg.LOSS_OPTIONS.boundary_weighted_ce, find_objects(cfg, split, samples)
    objects = dict(zip((pair.image for pair in samples), label_images, strict=False))  # of all, or of none
    return PairReader(boundary=(term.w0, term.sigma), objects=objects, **options)


def find_loader(cfg: DictConfig, name: str | None, training: bool) -> Loader:
    """The loader of a name, or else that of DATASET.SERVICE, in training, or of DATA_GENERATOR_TYPE.

    With BACKEND=jax shards are read without TensorFlow, which graph operations and the service need.

    Raises:
        UserError: the loader needs TensorFlow, which is not installed.
    """
    if name is None and training and cfg.DATASET.SERVICE is not None:
        check_tensorflow(cfg, "DATASET.SERVICE")
        return partial(load_object("data_generators.loaders.service:ServiceBatches"), cfg)
    name = name or cfg.DATA_GENERATOR_TYPE
    if cfg.BACKEND == "jax" and name == "TFRECORD" and not (training and cfg.AUGMENTATION.ENGINE == "tensorflow"):
        name = "TF_GENERATOR"  # the same samples in the same order
    if name in ("TF_DATA", "TFRECORD"):
        check_tensorflow(cfg, f"DATA_GENERATOR_TYPE={name}")
    return load_object(look_up(LOADERS, name, "DATA_GENERATOR_TYPE"))


def check_tensorflow(cfg: DictConfig, asked: str) -> None:
    """Let TensorFlow read data beside JAX, on the CPU alone.

    Raises:
        UserError: it is not installed; says what asked for it.
    """
    if cfg.BACKEND != "jax":
        return
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"{asked} needs TensorFlow, which is not installed here. Set DATA_GENERATOR_TYPE=TF_GENERATOR, or TFRECORD "
            "with AUGMENTATION.ENGINE=albumentations: both do without it."
        )
    load_object("data_generators.loaders.tf_data:leave_accelerators_alone")()

"""Datasets by name: the same samples, in the same order for a seed, whichever loader reads them."""

from dataclasses import dataclass, replace
from functools import partial

from utils.base.errors import UserError
from utils.base.registry import choose, load

# DATA_GENERATOR_TYPE -> a function (samples, sampler, read, spec, batch_size, workers) -> what `keras.Model.fit` takes:
# `read(sample, epoch, position)` gives the arrays of one sample, the image perhaps of the type of its file (what is
# random in it depends on SEED and these two), `spec` their (shape, dtype) in a batch.
LOADERS = {
    "TF_GENERATOR": "data_generators.loaders.keras_sequence:SampleSequence",
    "TF_DATA": "data_generators.loaders.tf_data:sample_dataset",
    "TFRECORD": "data_generators.loaders.tf_data:sample_dataset",  # samples from shards, see `files.pairing`
    "DALI_GENERATOR": "data_generators.loaders.dali:DaliBatches",
}

# AUGMENTATION.ENGINE -> class with `from_config(cfg)`, which gives None where nothing is to be changed
ENGINES = {
    "albumentations": "data_generators.augmentation.albumentations_engine:Augmentation",
    "tensorflow": "data_generators.augmentation.tensorflow_engine:GraphAugmentation",
}


def build_dataset(
    cfg,
    split,
    *,
    replicas=1,
    targets=True,
    boundary_weights=True,
    worker=(0, 1),
    augment=False,
    as_stored=False,
    loader=None,
    shuffle=None,
    whole_images=False,
    batch_size=None,
    cache=True,
):
    """Build the dataset of one split.

    Args:
        cfg: checked config; DATASET, INPUT, PREPROCESS_DATA, HYPER_PARAMETERS.BATCH_SIZE and SEED are read.
        split: "train", "val" or "test".
        replicas: number of devices that share a batch of `replicas * BATCH_SIZE`.
        targets: false for the images alone.
        boundary_weights: false leaves out the third part of a batch, which only the loss needs.
        worker: (number of this worker, workers): the batches are this worker's parts of those of all replicas.
        augment: true for training: samples of the training split are changed as AUGMENTATION says, and a smaller last
            batch is left out where DATASET.DROP_REMAINDER says so.
        as_stored: true where all images are of 8 bit, and whoever takes them divides by 255: the image part is uint8,
            a quarter of the bytes, unless what changes it works in floating point (graph operations, DALI's).
        loader: name in LOADERS, or a function as its rows are, in place of DATA_GENERATOR_TYPE.
        shuffle: in place of PREPROCESS_DATA.SHUFFLE. False: each sample once, in the order of names.
        whole_images: true where DATASET.CROP is not wanted: images of any size, one at a time.
        batch_size: samples of a batch for each replica, in place of HYPER_PARAMETERS.BATCH_SIZE.
        cache: false reads without DATASET.CACHE, for samples that are read once.

    Returns:
        `data_generators.dataset.Dataset`, which iterates over the batches `(image, mask)` of an epoch: image
        `(batch, height, width, channels)` float32 in [0, 1]; mask `(batch, height, width, 1)` uint8 class indices,
        DATASET.IGNORE_LABEL among them. Where LOSS uses `boundary_weighted_ce` the batches are
        `(image, mask, border)`: border `(batch, height, width, 1)` float32, see
        `data_generators.reading.boundary_weights`.
        Without masks (MASK_PATH null) the batches are `(image,)`; for MODEL.TYPE=classifier they are `(image, label)`,
        label `(batch, classes)` float32. Every sample comes once per epoch (with
        DATASET.FOREGROUND_FRACTION as many come as there are), the last batch may be smaller.

    Raises:
        UserError: a missing folder, an empty one, an image without its mask; DATASET.DROP_REMAINDER leaves no batch.
    """
    from data_generators.dataset import Dataset
    from data_generators.reading.samples import ReadSettings
    from data_generators.sampler import make_sampler

    training = augment and split == "train"
    whole_images = whole_images and cfg.DATASET.CROP.MODE is not None
    augmentation = (
        load(choose(ENGINES, cfg.AUGMENTATION.ENGINE, "AUGMENTATION.ENGINE")).from_config(cfg) if training else None
    )
    settings = ReadSettings.from_config(cfg, split, whole_images=whole_images, cache=cache)
    labelled = cfg.MODEL.TYPE == "classifier" and targets
    samples, read, (image, *rest) = (
        labelled_samples(cfg, split, settings, augmentation)
        if labelled
        else paired_samples(cfg, split, settings, targets, boundary_weights, augmentation)
    )
    batch_size = (1 if whole_images else batch_size or cfg.HYPER_PARAMETERS.BATCH_SIZE) * replicas
    drop_remainder = training and cfg.DATASET.DROP_REMAINDER
    if drop_remainder and len(samples) < batch_size:
        raise UserError(
            f"DATASET.DROP_REMAINDER=True leaves nothing to train on: the {len(samples)} images are less than a batch "
            f"of {batch_size}. Lower HYPER_PARAMETERS.BATCH_SIZE, or set it to False."
        )
    sampler = make_sampler(
        cfg,
        split,
        samples,
        settings,
        shuffle=shuffle,
        targets=targets,
        batch_size=batch_size,
        worker=worker,
        drop_remainder=drop_remainder,
    )
    spec = [(image[0], "uint8" if as_stored and getattr(read, "graph", None) is None else "float32"), *rest]
    if loader is None and training and cfg.DATASET.SERVICE is not None:
        loader = partial(load("data_generators.loaders.service:ServiceBatches"), cfg)
    elif loader is None or isinstance(loader, str):
        loader = load(choose(LOADERS, loader or cfg.DATA_GENERATOR_TYPE, "DATA_GENERATOR_TYPE"))
    batches = loader(samples, sampler, read, spec, batch_size // worker[1], cfg.DATALOADER_WORKERS)
    return Dataset(batches, sampler, samples)


def paired_samples(cfg, split, settings, targets, boundary_weights, augmentation):
    """Samples, reading function and specification of images with masks (and boundary weights), or without."""
    from data_generators.files.pairing import find_pairs

    in_python, in_graph = (augmentation if name == cfg.AUGMENTATION.ENGINE else None for name in ENGINES)
    pairs = find_pairs(cfg, split)
    settings = replace(settings, augment=in_python)
    mask_shape = (settings.height, settings.width, 1)
    spec = [image_spec(settings), (mask_shape, "uint8"), (mask_shape, "float32")]
    if not targets or pairs[0].mask is None:
        return pairs, PairReader(settings, with_mask=False, graph=in_graph), spec[:1]
    if not boundary_weights or cfg.LOSS.get("boundary_weighted_ce", 0) == 0:
        return pairs, PairReader(settings, graph=in_graph), spec[:2]
    options = cfg.LOSS_OPTIONS.boundary_weighted_ce
    return pairs, PairReader(settings, border=(options.w0, options.sigma), graph=in_graph), spec


@dataclass(frozen=True)
class PairReader:
    """Reads a pair: `(image, mask, border weights)`, without those that are not wanted.

    Attributes:
        settings: `data_generators.reading.samples.ReadSettings`.
        with_mask: bool.
        border: (w0, sigma) of `data_generators.reading.boundary_weights`, or None.
        graph: `GraphAugmentation` that the loader applies to what is read here, before it asks for `border_of`; or
            None.
    """

    settings: object
    with_mask: bool = True
    border: tuple | None = None
    graph: object = None

    def __call__(self, pair, epoch, position):
        from data_generators.reading.samples import sample_pair

        image, mask = sample_pair(pair, self.settings, epoch, position)
        if not self.with_mask:
            return (image,)
        if self.border is None or self.graph is not None:
            return image, mask
        return image, mask, self.border_of(mask)

    def border_of(self, mask):
        """The weights of a mask, see `data_generators.reading.boundary_weights`."""
        from data_generators.reading.boundary_weights import border_weights

        return border_weights(mask, *self.border, self.settings.ignore_label)


def labelled_samples(cfg, split, settings, augmentation):
    """Samples, reading function and specification of images with class labels."""
    from data_generators.files.class_folders import class_names, find_labelled, read_labelled

    settings = replace(settings, crop=None, augment=augmentation)
    names, classes = class_names(cfg), cfg.OUTPUT.CLASSES
    spec = [image_spec(settings), ((classes,), "float32")]

    def read(sample, epoch, position):
        return read_labelled(sample, settings, names, classes, epoch, position)

    return find_labelled(cfg, split), read, spec


def image_spec(settings):
    return (settings.height, settings.width, settings.channels), "float32"

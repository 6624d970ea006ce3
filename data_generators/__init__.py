"""Datasets by name: the same samples, in the same order for a seed, whichever loader reads them."""

from utils.lookup import choose, load

# DATA_GENERATOR_TYPE -> a function (samples, order, read, spec, batch_size, workers) -> what `keras.Model.fit` takes.
# `read(sample)` gives the arrays of one sample, `spec` their (shape, dtype).
LOADERS = {
    "TF_GENERATOR": "data_generators.keras_sequence:SampleSequence",
    "TF_DATA": "data_generators.tf_data:sample_dataset",
}


def build_dataset(cfg, split, replicas=1, targets=True):
    """Build the dataset of one split.

    Args:
        cfg: checked config; DATASET, INPUT, PREPROCESS_DATA, HYPER_PARAMETERS.BATCH_SIZE and SEED are read.
        split: "train", "val" or "test".
        replicas: number of devices that share a batch of `replicas * BATCH_SIZE`.
        targets: false for the images alone.

    Returns:
        A `keras.utils.PyDataset` or `tf.data.Dataset` of batches `(image, mask)`: image
        `(batch, height, width, channels)` float32 in [0, 1]; mask `(batch, height, width, 1)` uint8 class indices.
        Without masks (MASK_PATH null) the batches are `(image,)`; for MODEL.TYPE=classifier they are `(image, label)`,
        label `(batch, classes)` float32. Every sample comes once per epoch, the last batch may be smaller.
        `dataset.order` is the `EpochOrder` that shuffles it.

    Raises:
        UserError: a missing folder, an empty one, an image without its mask.
    """
    from data_generators.order import EpochOrder

    labelled = cfg.MODEL.TYPE == "classifier" and targets
    samples, read, spec = labelled_samples(cfg, split) if labelled else paired_samples(cfg, split, targets)
    shuffle = split != "test" and cfg.PREPROCESS_DATA.SHUFFLE[split.upper()].VALUE
    order = EpochOrder(len(samples), cfg.SEED, shuffle)
    loader = load(choose(LOADERS, cfg.DATA_GENERATOR_TYPE, "DATA_GENERATOR_TYPE"))
    dataset = loader(samples, order, read, spec, cfg.HYPER_PARAMETERS.BATCH_SIZE * replicas, cfg.DATALOADER_WORKERS)
    dataset.order = order
    return dataset


def paired_samples(cfg, split, targets):
    """Samples, reading function and specification of images with masks, or without."""
    from data_generators.images import ReadSettings, read_pair
    from data_generators.pairing import find_pairs

    pairs, settings = find_pairs(cfg, split), ReadSettings.from_config(cfg)
    spec = [image_spec(cfg), ((cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, 1), "uint8")]
    parts = 2 if targets and pairs[0].mask is not None else 1
    return pairs, lambda pair: read_pair(pair, settings)[:parts], spec[:parts]


def labelled_samples(cfg, split):
    """Samples, reading function and specification of images with class labels."""
    from data_generators.images import ReadSettings
    from data_generators.labels import class_names, find_labelled, read_labelled

    settings, names, classes = ReadSettings.from_config(cfg), class_names(cfg), cfg.OUTPUT.CLASSES
    spec = [image_spec(cfg), ((classes,), "float32")]
    return find_labelled(cfg, split), lambda sample: read_labelled(sample, settings, names, classes), spec


def image_spec(cfg):
    return (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, cfg.INPUT.CHANNELS), "float32"

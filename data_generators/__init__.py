"""Datasets by name: the same samples, in the same order for a seed, whichever loader reads them."""

from utils.lookup import choose, load

# DATA_GENERATOR_TYPE -> a function (pairs, order, settings, batch_size, workers) -> what `keras.Model.fit` takes
LOADERS = {
    "TF_GENERATOR": "data_generators.keras_sequence:PairSequence",
    "TF_DATA": "data_generators.tf_data:pair_dataset",
}


def build_dataset(cfg, split, replicas=1):
    """Build the dataset of one split.

    Args:
        cfg: checked config; DATASET, INPUT, PREPROCESS_DATA, HYPER_PARAMETERS.BATCH_SIZE and SEED are read.
        split: "train", "val" or "test".
        replicas: number of devices that share a batch of `replicas * BATCH_SIZE`.

    Returns:
        A `keras.utils.PyDataset` or `tf.data.Dataset` of batches `(image, mask)`: image
        `(batch, height, width, channels)` float32 in [0, 1]; mask `(batch, height, width, 1)` uint8 class indices.
        Without masks (MASK_PATH null) the batches are `(image,)`. Every sample comes once per epoch, the last batch
        may be smaller. `dataset.order` is the `EpochOrder` that shuffles it.

    Raises:
        UserError: a missing folder, an empty one, an image without its mask.
    """
    from data_generators.images import ReadSettings
    from data_generators.order import EpochOrder
    from data_generators.pairing import find_pairs

    pairs = find_pairs(cfg, split)
    shuffle = split != "test" and cfg.PREPROCESS_DATA.SHUFFLE[split.upper()].VALUE
    order = EpochOrder(len(pairs), cfg.SEED, shuffle)
    loader = load(choose(LOADERS, cfg.DATA_GENERATOR_TYPE, "DATA_GENERATOR_TYPE"))
    batch_size = cfg.HYPER_PARAMETERS.BATCH_SIZE * replicas
    dataset = loader(pairs, order, ReadSettings.from_config(cfg), batch_size, cfg.DATALOADER_WORKERS)
    dataset.order = order
    return dataset

"""Predict masks: python predict.py MODEL.TYPE=unet3plus DATASET.VAL.IMAGES_PATH=IMAGES DATASET.VAL.MASK_PATH=None"""

import numpy as np

from data_generators import build_dataset
from data_generators.pairing import find_pairs
from data_preparation.verify_data import verify_data
from models import build_model, inference_model
from utils.config import entry, restore_config, weights_path
from utils.devices import make_strategy
from utils.files import resolve_output_path


def predict(cfg):
    """Predict every image of DATASET.VAL and write a picture and the bare mask of each.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed.

    Returns:
        The folder written: `<image name>.png` (class index as grey value) in `masks/`, and pictures of image, truth
        (where there are masks) and prediction side by side in `pictures/`.
    """
    cfg = restore_config(cfg)
    verify_data(cfg, splits=("val",), need_masks=False)
    make_strategy(cfg)

    import keras

    from utils.checkpoints import load_weights
    from utils.predictions import PredictionWriter
    from utils.summary import progress

    cfg.PREPROCESS_DATA.SHUFFLE.VAL.VALUE = False
    pairs = find_pairs(cfg, "val")
    network = build_model(cfg)
    load_weights(network, cfg)
    model = inference_model(network, cfg.MODEL.PRUNE)
    model.compile(jit_compile=cfg.OPTIMIZATION.XLA)
    folder = resolve_output_path(cfg, cfg.PREDICT.OUTPUT_PATH) / weights_path(cfg).name.removesuffix(".weights.h5")
    writer = PredictionWriter(folder, cfg.OUTPUT.CLASSES, cfg.SHOW_CENTER_CHANNEL_IMAGE)

    dataset = build_dataset(cfg, "val")
    names = iter(pairs)
    with progress(cfg, len(pairs), "Predict", "image") as bar:
        for batch in dataset:
            images, masks = batch if len(batch) == 2 else (batch[0], [None] * len(batch[0]))
            probabilities = keras.ops.convert_to_numpy(model.predict_on_batch(images))
            for image, mask, probability in zip(images, masks, probabilities, strict=True):
                truth = None if mask is None else np.asarray(mask)[..., 0]
                writer.write(next(names).image, np.asarray(image), truth, probability)
                bar.update()
    print(f"Predicted {len(pairs)} images: pictures in {writer.pictures}, masks in {writer.masks}")
    return folder


if __name__ == "__main__":
    entry(predict)()

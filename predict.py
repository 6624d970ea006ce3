"""Predict masks: python predict.py MODEL.TYPE=unet3plus DATASET.VAL.IMAGES_PATH=IMAGES DATASET.VAL.MASK_PATH=None"""

import numpy as np

from data_generators import build_dataset
from data_generators.images import picture_size
from data_generators.labels import image_list
from data_generators.pairing import find_pairs
from data_generators.sampling import whole_images
from data_preparation.verify_data import verify_data
from models import build_model, inference_model
from utils.checkpoints import ENDING, load_weights, restore_config, weights_path
from utils.config import entry
from utils.devices import make_strategy
from utils.errors import UserError
from utils.files import writable_folder


def predict(cfg):
    """Predict every image of DATASET.VAL and write a picture and the bare mask of each.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed.

    Returns:
        The folder written: `<image name>.png` (class index as grey value) in `masks/`, and pictures of image, truth
        (where there are masks) and prediction side by side in `pictures/`; of a classifier `labels.csv`.
    """
    cfg = whole_images(restore_config(cfg))
    is_classifier = cfg.MODEL.TYPE == "classifier"
    if is_classifier:
        cfg.DATASET.VAL.IMAGES_PATH, cfg.DATASET.VAL.MASK_PATH = image_list(cfg, "val"), None
    verify_data(cfg, splits=("val",), need_masks=False)
    pairs = find_pairs(cfg, "val")
    if not is_classifier:
        check_names(pairs)
    output = writable_folder(cfg, cfg.PREDICT.OUTPUT_PATH, "PREDICT.OUTPUT_PATH")
    folder = output / weights_path(cfg).name.removesuffix(ENDING)
    make_strategy(cfg)

    import keras

    from utils.predictions import LabelWriter, PredictionWriter
    from utils.summary import progress

    cfg.PREPROCESS_DATA.SHUFFLE.VAL.VALUE = False
    network = build_model(cfg, pretrained=False)
    load_weights(network, cfg)
    model = inference_model(network, cfg.MODEL.PRUNE, fold=True)
    model.compile(jit_compile=cfg.OPTIMIZATION.XLA)
    if is_classifier:
        writer = LabelWriter(folder, list(cfg.OUTPUT.CLASS_NAMES))
    else:
        writer = PredictionWriter(folder, cfg.SHOW_CENTER_CHANNEL_IMAGE)

    names = iter(pairs)
    with writer, progress(cfg, len(pairs), "Predict", "image") as bar:
        for batch in build_dataset(cfg, "val", targets=not is_classifier, borders=False):
            images, masks = batch if len(batch) == 2 else (batch[0], [None] * len(batch[0]))
            probabilities = keras.ops.convert_to_numpy(model.predict_on_batch(images))
            for image, mask, probability in zip(images, masks, probabilities, strict=True):
                truth = None if mask is None else np.asarray(mask)[..., 0]
                if truth is not None and cfg.DATASET.IGNORE_LABEL is not None:
                    truth = np.where(truth == cfg.DATASET.IGNORE_LABEL, 0, truth)  # no colour for what is not labelled
                path = next(names).image
                writer.write(path, np.asarray(image), truth, probability, picture_size(path))
                bar.update()
    print(f"Predicted {len(pairs)} images: {writer.written}")
    return folder


def check_names(pairs):
    """Two images of one name, from two folders, would overwrite each other's masks."""
    seen = {}
    for image, _ in pairs:
        other = seen.setdefault(image.stem, image)
        if other != image:
            raise UserError(f"{other} and {image} would both be written as {image.stem}.png. Predict them separately.")


if __name__ == "__main__":
    entry(predict)()

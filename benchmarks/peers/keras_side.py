"""Ours in a process of peers.py: the training step of train.py, the forward pass of predict.py, the loaders."""

import os
from typing import Any

from case import CLASSES, OURS, Case, Engine, serve


def settings(case: Case) -> list[str]:
    """The command line of train.py that the case stands for."""
    return [
        *case.row.settings,
        *(case.row.same if case.implementation == OURS else ()),
        f"MODEL.FILTERS={list(case.row.widths)}",
        "MODEL.L2=0",
        f"INPUT.HEIGHT={case.size}",
        f"INPUT.WIDTH={case.size}",
        f"OUTPUT.CLASSES={CLASSES}",
        f"HYPER_PARAMETERS.BATCH_SIZE={case.batch}",
        f"OPTIMIZATION.AMP={'bfloat16' if case.precision == 'bfloat16' else False}",
        "loss=cce",
        "STRATEGY.NAME=single",
        "OPTIMIZATION.KEEP_COMPILED=False",  # so that the first step is that of a first start
        "VERBOSE=0",
        *(of_files(case.data) if case.data else []),
    ]


def of_files(folder: str) -> list[str]:
    places = [f"DATASET.{split}.{key}" for split in ("TRAIN", "VAL") for key in ("IMAGES_PATH", "MASK_PATH")]
    paths = ["images", "mask"] * 2
    return [
        f"WORK_DIR={folder}",
        "augmentation=light",
        *(f"{place}={path}" for place, path in zip(places, paths, strict=True)),
    ]


def make_engine(case: Case) -> Engine:
    """See `case.Engine`."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from utils.config import load_config
    from utils.devices.strategy import make_strategy

    cfg = load_config(settings(case))
    as_stored = verified(cfg) if case.data else False
    strategy = make_strategy(cfg)  # imports Keras without what it does not need
    from models import build_model
    from utils.inference.forward import make_forward
    from utils.training.trainer import build_trainer

    with strategy.scope():
        network = build_model(cfg, size=(case.size, case.size))
        parameters = sum(int(weight.shape.num_elements()) for weight in network.trainable_weights)
        if case.mode == "inference":
            forward = make_forward(network, strategy, jit_compile=False)
            images, _ = on_device(case)

            def infer() -> None:
                forward(images)["mask"].numpy()

            return Engine(infer, infer, case.batch, parameters)
        trainer = build_trainer(cfg, network, strategy)
    if case.mode == "epoch":
        return of_epochs(cfg, trainer, parameters, as_stored)
    batch = on_device(case)

    def step() -> None:
        for value in trainer.train_on(batch).values():
            value.numpy()

    return Engine(step, step, case.batch, parameters)


def verified(cfg: Any) -> bool:
    """Check the data as train.py does; return whether images travel to the device as stored."""
    from data_preparation.verify_data import verify_data

    return not verify_data(cfg)["train"]["image_properties"]["16 bit"]


def of_epochs(cfg: Any, trainer: Any, parameters: int, as_stored: bool) -> Engine:
    import keras

    from data_generators import build_dataset

    data = build_dataset(cfg, "train", augment=True, as_stored=as_stored)
    nothing = keras.callbacks.CallbackList([], model=trainer)
    epochs = iter(range(1, 1_000_000))

    def first() -> None:
        data.sampler.set_epoch(0, 0)
        for value in trainer.train_on(next(iter(data))).values():
            value.numpy()

    return Engine(first, lambda: trainer.train_epoch(data, next(epochs), 0, nothing), len(data.samples), parameters)


def on_device(case: Case) -> list[Any]:
    import tensorflow as tf
    from gpu_case import random_batch

    return [tf.constant(array) for array in random_batch(case)]  # type: ignore[arg-type]


if __name__ == "__main__":
    serve(make_engine)

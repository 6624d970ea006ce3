"""Draw labelled pixels of a split with the probabilities that a network gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from losses.targets import center_crop
from utils.base.progress import Task
from utils.evaluation.split import fold_batches
from utils.evaluation.temperature import PixelSample

if TYPE_CHECKING:
    import keras

    from utils.inference.forward import Forward


def sample_pixels(
    cfg: DictConfig,
    split: str,
    samples: Sequence[Any],
    model: keras.Model,
    forward: Forward,
    output: str,
    replicas: int = 1,
) -> PixelSample:
    """Run every image of a split through the model once; memory does not grow with their number.

    Args:
        cfg: restored config, whose weights are loaded; SEED seeds the draw.
        split: "train", "val" or "test".
        samples: of the split.
        model: takes the weights.
        forward: of `utils.inference.forward.make_forward`, for that model.
        output: name of the mask that is the prediction.
        replicas: devices that share a batch.
    """
    sample = PixelSample(cfg, seed=cfg.SEED)
    with Task(f"predict {split}", len(samples), quiet=not cfg.VERBOSE, compiles=True) as task:
        for batch, masks, *_ in fold_batches([cfg], split, model, replicas, [samples]):
            probability = np.asarray(forward(batch)[output])
            sample.add(np.asarray(center_crop(np.asarray(masks), *probability.shape[1:3]))[..., 0], probability)
            task.update(len(batch))
    return sample

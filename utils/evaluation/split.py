"""Evaluate one split: its data, one pass through the model, its scores."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from data_generators import build_dataset
from losses.metrics.counts import count_confusion, count_tables
from losses.supervision import build_output_metrics, build_training_loss
from models import mask_output
from utils.base.classes import is_multi_label
from utils.base.progress import Task
from utils.base.terminal import say
from utils.checkpoints import load_weights
from utils.checkpoints.temperature import load_temperature
from utils.config.class_names import has_background
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.kept_probabilities import kinds_kept
from utils.evaluation.scoring import MeanLoss, make_metric_update
from utils.evaluation.split_result import SplitResult
from utils.inference.class_indices import center_crop
from utils.inference.test_time_augmentation import TRANSFORMS, mean_over_transforms

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from utils.evaluation.gallery import Gallery
    from utils.evaluation.kept_probabilities import Keeper
    from utils.evaluation.split_data import SplitData
    from utils.inference.forward import Forward


def evaluate_split(
    folds: Sequence[DictConfig],
    data: SplitData,
    model: keras.Model,
    forward: Forward,
    gallery: Gallery,
    replicas: int = 1,
    keeper: Keeper | None = None,
) -> SplitResult:
    """Run every image of a split through the model once.

    Args:
        folds: a restored config per fold, each with weights of its own; usually one.
        data: the images of the split.
        model: takes the weights of each fold in turn.
        forward: of `utils.inference.forward.make_forward`, for that model.
        gallery: is offered every picture.
        replicas: devices that share a batch.
        keeper: of the probabilities, with EVALUATION.KEEP_PROBABILITIES.
    """
    cfg, result = folds[0], SplitResult(data.split, data.images, data.first)
    output_name = mask_output(model.output, cfg.MODEL.PRUNE)
    metrics = build_output_metrics(cfg, model.output, output_name, full=True)
    function = count_tables if is_multi_label(cfg) else count_confusion
    count = partial(function, ignore_label=cfg.DATASET.IGNORE_LABEL) if data.pairs else None
    updates = {
        name: make_metric_update(found, count if name == output_name else None) for name, found in metrics.items()
    }
    loss = MeanLoss(model, build_training_loss(cfg))
    temperatures = [load_temperature(fold, say_so=data.first == 0) for fold in folds] if data.pairs else []
    evaluator = (
        Evaluator(cfg, data, updates.pop(output_name), gallery, calibrated=any(temperatures)) if data.pairs else None
    )
    begin = time.perf_counter()
    with Task(f"evaluate {data.split}", data.images, quiet=not cfg.VERBOSE, compiles=True) as task:
        for images, targets, *boundary_weights in fold_batches(folds, data.split, model, replicas, data.samples):
            outputs = forward(images)
            loss.add(targets, outputs, *boundary_weights)
            for name, update in updates.items():
                update(targets, np.asarray(outputs[name]))
            if evaluator:
                # Batches are of one fold.
                temperature = temperatures[data.folds[len(evaluator.images)] if data.folds else 0]
                scale = temperature.scale if temperature else np.asarray
                before = np.asarray(outputs[output_name])
                probabilities = scale(before)
                evaluator.add(images, targets, probabilities, before)
                if keeper:
                    keep(keeper, cfg, forward, scale, output_name, images, targets, probabilities)
            task.update(len(images))
    if keeper:
        keeper.finish()
    result.seconds = time.perf_counter() - begin
    measured = [metric for found in metrics.values() for metric in found]
    result.add_metrics(loss.result(), measured, has_background(cfg))
    if evaluator:
        result.add_cases(evaluator)
    return result


def keep(
    keeper: Keeper,
    cfg: DictConfig,
    forward: Forward,
    scale: Callable[[np.ndarray], np.ndarray],
    output_name: str,
    images: np.ndarray,
    targets: np.ndarray,
    probabilities: np.ndarray,
) -> None:
    """Keep the probabilities of a batch, with those of test-time augmentation if they are wanted."""

    def predict(batch: np.ndarray) -> np.ndarray:
        return scale(np.asarray(forward(batch)[output_name]))

    kinds = {"none": probabilities}
    for kind in kinds_kept(cfg)[1:]:
        kinds[kind] = mean_over_transforms([predict], np.asarray(images), TRANSFORMS[kind])
    size = probabilities.shape[1:3]
    keeper.add(np.stack([center_crop(mask[..., 0], size) for mask in np.asarray(targets)]), kinds)


def fold_batches(
    folds: Sequence[DictConfig],
    split: str,
    model: keras.Model,
    replicas: int,
    samples: Sequence[Sequence[Any]] = (),
) -> Iterator[tuple]:
    """The batches of each fold in turn, after its weights are loaded; every image once, in the order of names.

    samples: of each fold, if they were found before.
    """
    for number, (fold, found) in enumerate(itertools.zip_longest(folds, samples), start=1):
        if len(folds) > 1 and fold.VERBOSE:
            say(f"fold {number} of {len(folds)}: DATASET.FOLD={fold.DATASET.FOLD}")
        load_weights(model, fold)
        # What is read once need not be cached.
        yield from build_dataset(
            fold,
            split,
            samples=found,
            replicas=replicas,
            loader="TF_GENERATOR",
            shuffle=False,
            cache=False,
            whole_images=True,
        )

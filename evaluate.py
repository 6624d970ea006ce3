"""Measure trained weights and write a report: python evaluate.py MODEL.TYPE=unet3plus"""

import time
from functools import partial

from data_generators import build_dataset
from data_generators.crop import whole_images
from data_generators.files.pairing import find_pairs
from data_generators.files.volumes import find_volumes
from data_preparation.verify_data import verify_data
from losses import averaging
from losses.surface import surface_scores
from models import build_model, mask_output
from utils.base.files import check_writable
from utils.checkpoints import load_weights, restore_config, weights_path
from utils.config.command import entry
from utils.config.folds import fold_configs
from utils.devices.failures import explain_failures
from utils.devices.strategy import make_strategy
from utils.evaluation.output import SplitResult, write_results


def evaluate(cfg):
    """Evaluate the weights of the config on EVALUATION.SPLITS, print a table and write the report.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed. With DATASET.FOLD=all
    each fold is measured with its own weights and all images are scored together.

    Returns:
        {name: float} of the first split: `loss`, `dice_coef` (mean over images), `dice`, `iou` (over the set, mean over
        foreground classes), `dice_class<n>`, `iou_class<n>`, and the measures of `utils.evaluation.case_scores` such as
        `dice_per_case_class<n>`; with CGM `presence_accuracy`. Of a classifier: `loss`, `accuracy`, `roc_auc`.

    Raises:
        UserError: bad data, weights or settings; a volume with a missing slice, or without spacing where it is needed.
    """
    check_writable(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH, "CALLBACKS.MODEL_CHECKPOINT.PATH")
    folds = [whole_images(restore_config(fold)) for fold in fold_configs(cfg)]
    cfg, splits = pooled(cfg, folds), folds[0].EVALUATION.SPLITS
    data = [verify_data(fold, splits=splits) for fold in folds]
    pairs, volumes = dict.fromkeys(splits), dict.fromkeys(splits)
    if cfg.MODEL.TYPE != "classifier":
        pairs = {split: [pair for fold in folds for pair in find_pairs(fold, split)] for split in splits}
        volumes = {split: find_volumes(cfg, found) for split, found in pairs.items()}
    strategy = make_strategy(cfg)

    from utils.evaluation.console import print_results
    from utils.evaluation.gallery import Gallery
    from utils.inference.forward import make_forward

    with strategy.scope():
        network = build_model(cfg, pretrained=False)
    forward = make_forward(network, strategy, cfg.OPTIMIZATION.XLA)
    gallery, results = Gallery(cfg.EVALUATION.GALLERY, cfg.OUTPUT.CLASSES), []
    for split in splits:
        images = sum(found[split]["pairs"] for found in data)
        result = SplitResult(split, images, first=sum(result.images for result in results))
        batches = read_folds(folds, split, network, strategy.num_replicas_in_sync)
        with explain_failures(cfg):
            measure_split(cfg, result, batches, network, forward, pairs[split], volumes[split], gallery)
        results.append(result)
    folder = write_results(cfg, results, gallery, [weights_path(fold) for fold in folds])
    print_results(cfg, results, folder)
    return results[0].scores


def pooled(cfg, folds):
    """The config of all folds together: that of the first, written where no single fold writes."""
    if len(folds) == 1:
        return folds[0]
    pool = folds[0].copy()
    pool.CALLBACKS, pool.DATASET.FOLD = cfg.CALLBACKS, cfg.DATASET.FOLD
    return pool


def read_folds(folds, split, network, replicas):
    """The batches of each fold in turn, after its weights are in the network."""
    for fold in folds:
        load_weights(network, fold)
        # Each image once, in the order of names; TF_DATA reads ahead.
        yield from build_dataset(fold, split, replicas=replicas, loader="TF_DATA", shuffle=False, cache=False)


def measure_split(cfg, result, batches, network, forward, pairs, volumes, gallery):
    """Run every image of a split through the network once and fill in its result."""
    from losses.metrics import count_confusion
    from losses.supervision import build_output_metrics, build_training_loss
    from utils.base.progress import progress
    from utils.evaluation.evaluator import Measurement
    from utils.evaluation.scoring import MeanLoss, make_scorer

    mask = mask_output(network.output, cfg.MODEL.PRUNE)
    metrics = build_output_metrics(cfg, network.output, mask, full=True)
    count = partial(count_confusion, ignore_label=cfg.DATASET.IGNORE_LABEL)
    scorers = {name: make_scorer(found, count if name == mask and pairs else None) for name, found in metrics.items()}
    loss, measurement = MeanLoss(network, build_training_loss(cfg)), None
    if pairs:
        measurement = Measurement(cfg, pairs, *volumes, scorers.pop(mask), surface_scores, gallery, result.first)
    begin = time.perf_counter()
    with progress(cfg, result.images, f"Evaluate {result.split}", "image") as bar:
        for images, targets, *border in batches:
            outputs = forward(images)
            loss.add(targets, outputs, *border)
            for name, score in scorers.items():
                score(targets, outputs[name])
            if measurement:
                measurement.add(images, targets, outputs[mask])
            bar.update(len(images))
    result.complete(loss.result(), metrics, averaging, measurement, time.perf_counter() - begin)


if __name__ == "__main__":
    entry(evaluate)()

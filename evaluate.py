"""Measure trained weights and write a report: python evaluate.py MODEL.TYPE=unet3plus"""

import time
from functools import partial

from data_generators import build_dataset
from data_generators.pairing import find_pairs
from data_generators.sampling import whole_images
from data_generators.volumes import find_volumes
from data_preparation.verify_data import verify_data
from losses import averaging
from losses.surface import surface_scores
from models import build_model, mask_output
from utils.checkpoints import load_weights, restore_config
from utils.config import entry
from utils.devices import make_strategy
from utils.files import check_writable
from utils.results import SplitResult, write_results


def evaluate(cfg):
    """Evaluate the weights of the config on EVALUATION.SPLITS, print a table and write the report.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed.

    Returns:
        {name: float} of the first split: `loss`, `dice_coef` (mean over images), `dice`, `iou` (over the set, mean over
        foreground classes), `dice_class<n>`, `iou_class<n>`, and the measures of `utils.scores` such as
        `dice_per_case_class<n>`; with CGM `presence_accuracy`. Of a classifier: `loss`, `accuracy`, `roc_auc`.

    Raises:
        UserError: bad data, weights or settings; a volume with a missing slice, or without spacing where it is needed.
    """
    cfg = whole_images(restore_config(cfg))
    check_writable(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH, "CALLBACKS.MODEL_CHECKPOINT.PATH")
    data = verify_data(cfg, splits=cfg.EVALUATION.SPLITS)
    has_masks = cfg.MODEL.TYPE != "classifier"
    pairs = {split: find_pairs(cfg, split) if has_masks else None for split in cfg.EVALUATION.SPLITS}
    volumes = {split: find_volumes(cfg, found) if has_masks else None for split, found in pairs.items()}
    strategy = make_strategy(cfg)

    from utils.gallery import Gallery
    from utils.inference import make_forward
    from utils.summary import print_results

    with strategy.scope():
        network = build_model(cfg, pretrained=False)
        load_weights(network, cfg)
    forward = make_forward(network, strategy, cfg.OPTIMIZATION.XLA)
    gallery, results = Gallery(cfg.EVALUATION.GALLERY, cfg.OUTPUT.CLASSES), []
    for split in cfg.EVALUATION.SPLITS:
        result = SplitResult(split, images=data[split]["pairs"], first=sum(result.images for result in results))
        dataset = build_dataset(in_order(cfg), split, strategy.num_replicas_in_sync)
        measure_split(cfg, result, dataset, network, forward, pairs[split], volumes[split], gallery)
        results.append(result)
    folder = write_results(cfg, results, gallery)
    print_results(cfg, results, folder)
    return results[0].scores


def in_order(cfg):
    """The config that reads every image once in the order of the names, by the loader that reads ahead."""
    cfg = cfg.copy()
    cfg.PREPROCESS_DATA.SHUFFLE.TRAIN.VALUE = cfg.PREPROCESS_DATA.SHUFFLE.VAL.VALUE = False
    cfg.DATA_GENERATOR_TYPE = "TF_DATA"
    return cfg


def measure_split(cfg, result, dataset, network, forward, pairs, volumes, gallery):
    """Run every image of a split through the network once and fill in its result."""
    from losses.metrics import count_confusion
    from losses.supervision import build_output_metrics, build_training_loss
    from utils.inference import MeanLoss, make_scorer
    from utils.measure import Measurement
    from utils.summary import progress

    mask = mask_output(network.output, cfg.MODEL.PRUNE)
    metrics = build_output_metrics(cfg, network.output, mask, full=True)
    count = partial(count_confusion, ignore_label=cfg.DATASET.IGNORE_LABEL)
    scorers = {name: make_scorer(found, count if name == mask and pairs else None) for name, found in metrics.items()}
    loss, measurement = MeanLoss(network, build_training_loss(cfg)), None
    if pairs:
        measurement = Measurement(cfg, pairs, *volumes, scorers.pop(mask), surface_scores, gallery, result.first)
    begin = time.perf_counter()
    with progress(cfg, result.images, f"Evaluate {result.split}", "image") as bar:
        for images, targets, *border in dataset:
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

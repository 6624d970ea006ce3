"""Measure trained weights on the validation images: python evaluate.py MODEL.TYPE=unet3plus"""

import json

from data_generators import build_dataset
from data_preparation.verify_data import verify_data
from models import build_model, mask_output
from utils.checkpoints import beside, load_weights, restore_config, weights_path
from utils.config import entry
from utils.devices import make_strategy
from utils.files import write_whole


def evaluate(cfg):
    """Evaluate the weights of the config on the validation split, print a table and save it as JSON.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed.

    Returns:
        {metric name: float}: `loss`, `dice_coef` (mean over images), `dice`, `iou` (over the set, mean over foreground
        classes), `dice_class<n>`, `iou_class<n>`; with CGM `presence_accuracy`.
        Of a classifier: `loss`, `accuracy`, `roc_auc`.
    """
    cfg = restore_config(cfg)
    data = verify_data(cfg, splits=("val",))
    strategy = make_strategy(cfg)

    from losses.supervision import build_output_metrics, build_training_loss
    from utils.summary import ProgressSteps, print_scores
    from utils.trainer import Trainer

    dataset = build_dataset(cfg, "val", strategy.num_replicas_in_sync)
    with strategy.scope():
        network = build_model(cfg, pretrained=False)
        load_weights(network, cfg)
        metrics = build_output_metrics(cfg, network.output, mask_output(network.output, cfg.MODEL.PRUNE))
        trainer = Trainer(network, build_training_loss(cfg), metrics)
        trainer.compile(jit_compile=cfg.OPTIMIZATION.XLA)
    callbacks = [ProgressSteps("Evaluate")] if cfg.VERBOSE else []
    scores = trainer.evaluate(dataset, callbacks=callbacks, verbose=0, return_dict=True)
    scores = {name: float(value) for name, value in scores.items()}

    weights = weights_path(cfg)
    report = beside(weights, ".evaluation.json")
    with write_whole(report) as temporary:
        temporary.write_text(
            json.dumps(
                {"images": data["val"]["pairs"], "weights": weights.name, "prune": cfg.MODEL.PRUNE, **scores}, indent=2
            )
        )
    print_scores(cfg, scores, data["val"]["pairs"], report)
    return scores


if __name__ == "__main__":
    entry(evaluate)()

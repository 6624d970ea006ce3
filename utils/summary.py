"""What a run says at its start and at its end."""

import shlex

import keras
from tqdm import tqdm

from utils.checkpoints import beside


def print_start(cfg, network, data, strategy):
    """Say what will run: model, data, loss, devices."""
    if not cfg.VERBOSE:
        return
    size = f"{cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}x{cfg.INPUT.CHANNELS}"
    loss = " + ".join(f"{weight:g} {name}" for name, weight in cfg.LOSS.items() if weight)
    loss = "cross-entropy" if cfg.MODEL.TYPE == "classifier" else loss
    replicas = strategy.num_replicas_in_sync
    lines = {
        "model": f"{cfg.MODEL.TYPE}, encoder {cfg.MODEL.BACKBONE.TYPE}, {network.count_params():,} parameters",
        "input": f"{size} -> {cfg.OUTPUT.CLASSES} classes",
        "data": f"{data['train']['pairs']} for training, {data['val']['pairs']} for validation, "
        f"loader {cfg.DATA_GENERATOR_TYPE}",
        "loss": f"{loss}, L2 {cfg.MODEL.L2:g}",
        "training": f"{cfg.HYPER_PARAMETERS.EPOCHS} epochs, batch {cfg.HYPER_PARAMETERS.BATCH_SIZE} on {replicas} "
        f"device{'s' if replicas > 1 else ''}, learning rate {cfg.HYPER_PARAMETERS.LEARNING_RATE:g}",
        "speed": f"AMP {cfg.OPTIMIZATION.AMP}, XLA {cfg.OPTIMIZATION.XLA}",
    }
    for name, line in lines.items():
        print(f"{name:>9}  {line}")


def print_end(cfg, best, score, weights, log):
    """Say how good the best epoch was and where everything is."""
    if not cfg.VERBOSE:
        return
    print(f"Best validation {score} {best.best:.4f} in epoch {best.best_epoch}")
    for name, path in {
        "weights": weights,
        "config": beside(weights, ".yaml"),
        "log": log,
        "curves": weights.parent / "training_curves.png",
    }.items():
        print(f"{name:>9}  {path}")
    where = [
        override for override in cfg.OVERRIDES if override.startswith(("WORK_DIR", "MODEL.TYPE", "MODEL.WEIGHTS_F"))
    ]
    print(f"Next: python evaluate.py {shlex.join(where)}")


def print_scores(cfg, scores, images, report):
    """Print the scores as a table, one row per class."""
    if not cfg.VERBOSE:
        return
    if cfg.MODEL.TYPE == "classifier":
        print(f"{images} images, weights {cfg.MODEL.WEIGHTS_FILE_NAME}")
        print(f"accuracy {scores['accuracy']:.4f}\nroc_auc  {scores['roc_auc']:.4f}    mean over classes that occur")
        print(f"loss     {scores['loss']:.4f}\nsaved {report}")
        return
    classes = sorted(int(name.removeprefix("dice_class")) for name in scores if name.startswith("dice_class"))
    print(f"{images} images, weights {cfg.MODEL.WEIGHTS_FILE_NAME}")
    print(f"{'class':<12}{'Dice':>9}{'IoU':>9}    over all pixels of the set")
    for index in classes:
        label = f"{index} background" if index == 0 and cfg.OUTPUT.CLASSES > 1 else str(index)
        print(f"{label:<12}{scores[f'dice_class{index}']:>9.4f}{scores[f'iou_class{index}']:>9.4f}")
    print(f"{'foreground':<12}{scores['dice']:>9.4f}{scores['iou']:>9.4f}    mean over foreground classes")
    print(f"{'dice_coef':<12}{scores['dice_coef']:>9.4f}{'':>9}    mean over images; empty and predicted empty is 1")
    if "presence_accuracy" in scores:
        print(f"{'presence':<12}{scores['presence_accuracy']:>9.4f}{'':>9}    accuracy of the classifier (CGM)")
    print(f"loss {scores['loss']:.4f}\nsaved {report}")


def progress(cfg, total, name, unit):
    """A tqdm bar, silent with VERBOSE=0."""
    return tqdm(total=total, desc=name, unit=unit, disable=not cfg.VERBOSE)


class ProgressSteps(keras.callbacks.Callback):
    """A bar over the steps of an evaluation."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def on_test_begin(self, logs=None):
        self.bar = tqdm(total=self.params.get("steps"), desc=self.name, unit="step")

    def on_test_batch_end(self, batch, logs=None):
        self.bar.update(batch + 1 - self.bar.n)

    def on_test_end(self, logs=None):
        self.bar.close()

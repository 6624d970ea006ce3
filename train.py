"""Train a segmentation model: python train.py MODEL.TYPE=unet3plus"""

import secrets
import time

from data_generators import build_dataset
from data_generators.files.class_labels import classifier_class_names
from data_preparation.verify_data import verify_data
from losses import main_score
from models import build_model
from utils.base.errors import UserError
from utils.base.files import check_writable, remove_leftovers, writable_folder
from utils.checkpoints import weights_path
from utils.config.command import command
from utils.devices.failures import explain_failures
from utils.devices.strategy import join_workers, make_strategy, worker


def train(cfg):
    """Train the model of the config and leave weights, config, log and curves in the checkpoint folder.

    Args:
        cfg: checked config, from `utils.config.load_config`.

    Returns:
        {log name: list of values, one per epoch}

    Raises:
        UserError: data that cannot be trained on, with all problems found; a folder that cannot be written to; a loss
            that is not a number from the first epoch on.
    """
    if cfg.DATASET.FOLD == "all":
        raise UserError(
            "DATASET.FOLD=all is for evaluation. Train the folds with: python train.py -m DATASET.FOLD=0,1,2"
        )
    join_workers(cfg)
    writers = ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")
    outputs = {f"CALLBACKS.{name}.PATH": cfg.CALLBACKS[name].PATH for name in writers}
    for key, path in outputs.items():
        check_writable(cfg, path, key)
    if cfg.MODEL.TYPE == "classifier":
        cfg.OUTPUT.CLASS_NAMES = classifier_class_names(cfg)  # kept with the weights
    data = verify_data(cfg)
    strategy = make_strategy(cfg)

    from losses.supervision import build_output_metrics, build_training_loss
    from utils.training.callbacks import CURVES, BestWeights, build_callbacks
    from utils.training.console import print_end, print_resumed, print_start, print_waiting
    from utils.training.optimizers import make_optimizer
    from utils.training.resume import check_room, find_state, restore
    from utils.training.summary import write_summary
    from utils.training.tracking import check_trackers
    from utils.training.trainer import Trainer
    from utils.training.validation import Validation

    check_trackers(cfg)
    _, log_folder, _ = (writable_folder(cfg, path, key) for key, path in outputs.items())
    weights, log = weights_path(cfg), log_folder / f"training_logs_{cfg.MODEL.TYPE}.csv"
    state = None if "bench_steps" in cfg else find_state(cfg, weights)
    cfg.RUN = state[0]["config"]["RUN"] if state else secrets.token_hex(8)

    replicas, (number, workers) = strategy.num_replicas_in_sync, worker(strategy)
    shallow = {
        split: not found["image_properties"]["16 bit"] for split, found in data.items()
    }  # travel to the device as uint8
    train_data = build_dataset(
        cfg, "train", replicas=replicas, worker=(number, workers), augment=True, as_stored=shallow["train"]
    )
    # Each worker sees all: no score depends on their number.
    val_data = build_dataset(cfg, "val", replicas=replicas // workers, as_stored=shallow["val"])
    loss = build_training_loss(cfg)
    with strategy.scope():
        network = build_model(cfg, pretrained=state is None)
        trainer = Trainer(network, loss, build_output_metrics(cfg, network.output))
        trainer.compile(optimizer=make_optimizer(cfg), jit_compile=cfg.OPTIMIZATION.XLA)
    metrics = build_output_metrics(cfg, network.output)
    validate = Validation(network, strategy, cfg.OPTIMIZATION.XLA, loss, metrics, val_data)

    if number == 0:
        for path in (weights, log, weights.parent / CURVES):
            remove_leftovers(path)
        check_room(cfg, trainer, weights)
        print_start(cfg, network, data, strategy)
    score = main_score(cfg)
    callbacks = build_callbacks(
        cfg, trainer, weights, log, score, replicas, (number, workers), validate.examples, train_data.samples
    )
    start = restore(state, trainer, callbacks, train_data.samples) if state else (0, 0)
    if state and number == 0:
        print_resumed(cfg, start, train_data.steps)
    began = time.monotonic()
    with explain_failures(cfg):
        history = trainer.fit(train_data, validate, cfg.HYPER_PARAMETERS.EPOCHS, callbacks, start)
    for best in (callback for callback in callbacks if isinstance(callback, BestWeights)):
        if best.best is None and best.failed:
            raise UserError(f"No weights could be written to {weights.parent}. Make room, and type the same again.")
        if best.best is None:
            raise UserError("The loss is not a number: nothing was saved. Lower HYPER_PARAMETERS.LEARNING_RATE.")
        seconds = time.monotonic() - began
        write_summary(cfg, best, score, weights, network, strategy, history, trainer.waiting, data, seconds)
        print_waiting(cfg, trainer.waiting)
        print_end(cfg, best, score, weights, log)
    return history


if __name__ == "__main__":
    command(train)()

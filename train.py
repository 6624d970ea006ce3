"""Train a segmentation model: python train.py MODEL.TYPE=unet3plus"""

from data_generators import build_dataset
from data_preparation.verify_data import verify_data
from losses import build_metrics
from models import build_model
from utils.config import entry, weights_path
from utils.devices import make_strategy
from utils.files import resolve_output_path


def train(cfg):
    """Train the model of the config and leave weights, config, log and curves in the checkpoint folder.

    Args:
        cfg: checked config, from `utils.config.load_config`.

    Returns:
        {log name: list of values, one per epoch}

    Raises:
        UserError: data that cannot be trained on, with all problems found.
    """
    data = verify_data(cfg)
    strategy = make_strategy(cfg)

    from losses.supervision import PresenceAccuracy, build_training_loss
    from utils.callbacks import BestWeights, build_callbacks
    from utils.checkpoints import keep_previous, save_config
    from utils.summary import print_end, print_start
    from utils.trainer import Trainer, make_optimizer

    train_data = build_dataset(cfg, "train", strategy.num_replicas_in_sync)
    val_data = build_dataset(cfg, "val", strategy.num_replicas_in_sync)

    with strategy.scope():
        network = build_model(cfg)
        metrics = {"mask": build_metrics(cfg)}
        if "presence" in network.output:
            metrics["presence"] = [PresenceAccuracy(cfg.OUTPUT.CLASSES)]
        trainer = Trainer(network, build_training_loss(cfg), metrics)
        trainer.compile(optimizer=make_optimizer(cfg), jit_compile=cfg.OPTIMIZATION.XLA)

    weights = weights_path(cfg)
    resolve_output_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH)
    log = resolve_output_path(cfg, cfg.CALLBACKS.CSV_LOGGER.PATH) / f"training_logs_{cfg.MODEL.TYPE}.csv"
    print_start(cfg, network, data, strategy)
    keep_previous(cfg, log)
    save_config(cfg, weights)
    callbacks = build_callbacks(cfg, network, train_data.order, log, strategy.num_replicas_in_sync)
    history = trainer.fit(
        train_data,
        validation_data=val_data,
        epochs=cfg.HYPER_PARAMETERS.EPOCHS,
        callbacks=callbacks,
        shuffle=False,  # the dataset has its own order
        verbose=0,
    )
    best = next(callback for callback in callbacks if isinstance(callback, BestWeights))
    print_end(cfg, best, weights, log)
    return history.history


if __name__ == "__main__":
    entry(train)()

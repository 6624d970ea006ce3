"""Train a segmentation model: python train.py MODEL.TYPE=unet3plus"""

from data_generators import build_dataset
from data_generators.labels import class_names
from data_preparation.verify_data import verify_data
from losses import main_score
from models import build_model
from utils.checkpoints import weights_path
from utils.config import entry
from utils.devices import make_strategy
from utils.errors import UserError
from utils.files import check_writable, writable_folder


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
    outputs = {f"CALLBACKS.{name}.PATH": cfg.CALLBACKS[name].PATH for name in ("MODEL_CHECKPOINT", "CSV_LOGGER")}
    for key, path in outputs.items():
        check_writable(cfg, path, key)
    if cfg.MODEL.TYPE == "classifier":
        cfg.OUTPUT.CLASS_NAMES = class_names(cfg)  # kept with the weights
    data = verify_data(cfg)
    strategy = make_strategy(cfg)

    from losses.supervision import build_output_metrics, build_training_loss
    from utils.callbacks import BestWeights, build_callbacks
    from utils.summary import print_end, print_start
    from utils.trainer import Trainer, make_optimizer

    train_data = build_dataset(cfg, "train", strategy.num_replicas_in_sync)
    val_data = build_dataset(cfg, "val", strategy.num_replicas_in_sync)
    with strategy.scope():
        network = build_model(cfg)
        trainer = Trainer(network, build_training_loss(cfg), build_output_metrics(cfg, network.output))
        trainer.compile(optimizer=make_optimizer(cfg), jit_compile=cfg.OPTIMIZATION.XLA)

    _, log_folder = (writable_folder(cfg, path, key) for key, path in outputs.items())
    weights, log = weights_path(cfg), log_folder / f"training_logs_{cfg.MODEL.TYPE}.csv"
    print_start(cfg, network, data, strategy)
    order, score = train_data.order, main_score(cfg)
    callbacks = build_callbacks(cfg, network, order, weights, log, score, strategy.num_replicas_in_sync)
    history = trainer.fit(
        train_data,
        validation_data=val_data,
        epochs=cfg.HYPER_PARAMETERS.EPOCHS,
        callbacks=callbacks,
        shuffle=False,  # the dataset has its own order
        verbose=0,
    ).history
    for best in (callback for callback in callbacks if isinstance(callback, BestWeights)):
        if best.best is None:
            raise UserError("The loss is not a number: nothing was saved. Lower HYPER_PARAMETERS.LEARNING_RATE.")
        print_end(cfg, best, score, weights, log)
    return history


if __name__ == "__main__":
    entry(train)()

"""Train a segmentation model: python train.py MODEL.TYPE=unet3plus

Keras and what needs it are imported inside `train`: --help and errors in settings or data do without TensorFlow.
"""

import time
from typing import Any

from omegaconf import DictConfig

from data_generators import build_dataset
from data_preparation.common.intensity_statistics import with_statistics
from data_preparation.verify_data import find_training_files, verify_data
from models import build_model
from utils.base.closed_output import survive_closed_output
from utils.base.locks import releases_locks
from utils.base.progress import brief_task, display
from utils.checkpoints.start_weights import find_start, start_with
from utils.config.command import command
from utils.devices.failures import explain_failures
from utils.devices.strategy import make_strategy, worker
from utils.training.announce_stop import announce_stop
from utils.training.outputs import check_outputs, make_outputs
from utils.training.settings import training_settings
from utils.training.tracking import check_trackers


@releases_locks
@survive_closed_output()
def train(cfg: DictConfig) -> dict[str, list[float]]:
    """Train the model of the config and leave weights, config, log and curves in the checkpoint folder.

    Args:
        cfg: checked config, from `utils.config.load_config`. It stays as it is.

    Returns:
        {log name: list of values, one for each epoch trained now}

    Raises:
        UserError: data that cannot be trained on, with all problems found; a folder without write access; a state with
            other settings or data; a loss that is not a number; another training that writes the same files.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> small = ["MODEL.TYPE=conv_deconv", "INPUT.HEIGHT=96", "INPUT.WIDTH=96", "HYPER_PARAMETERS.EPOCHS=1"]
        >>> history = train(load_config(["WORK_DIR=demo", "VERBOSE=0", *small]))  # doctest: +SKIP
        >>> len(history["val_loss"])  # doctest: +SKIP
        1
    """
    # Input
    cfg, files = find_training_files(training_settings(cfg))

    # Checks
    check_outputs(cfg)
    check_trackers(cfg)
    start_weights = find_start(cfg)
    found = verify_data(cfg, files=files)
    cfg = with_statistics(cfg, found)

    # Strategy: devices, precision, random seeds
    strategy = make_strategy(cfg)
    replicas, (number, workers) = strategy.num_replicas_in_sync, worker(strategy)

    from utils.training import console
    from utils.training.callbacks import build_callbacks
    from utils.training.checkpoint import check_disk_space
    from utils.training.resume import find_state, restore_state
    from utils.training.saving import draw_the_rest, find_best_weights
    from utils.training.summary import write_summary
    from utils.training.trainer import build_trainer
    from utils.training.validation import build_validation

    outputs = make_outputs(cfg, locks=number == 0)
    state = find_state(cfg, outputs.weights)
    if state is not None:
        cfg.RUN = state.metadata["config"]["RUN"]

    # Data: images of 8 bit travel to the device as uint8. Every worker validates on all images.
    of_volumes = cfg.PREPROCESS_DATA.SCOPE == "volume"  # becomes 16 bit
    as_stored = {split: not (facts["image_properties"]["16 bit"] or of_volumes) for split, facts in found.items()}
    options: dict[str, Any] = {name: {"samples": files[name].samples, "as_stored": as_stored[name]} for name in files}
    data = build_dataset(cfg, "train", replicas=replicas, worker=(number, workers), augment=True, **options["train"])
    validation_data = build_dataset(cfg, "val", replicas=replicas // workers, **options["val"])

    # Model and trainer
    with brief_task(cfg, f"building {cfg.MODEL.TYPE}", quiet=number > 0) as building, strategy.scope():
        network = build_model(cfg, pretrained=state is None)
        taken = start_with(network, cfg, start_weights) if start_weights and state is None else None
        building.text = (f"{network.count_params():,} parameters",)
        trainer = build_trainer(cfg, network, strategy)
    validate = build_validation(cfg, trainer, validation_data)
    if number == 0:
        outputs.remove_leftovers()
        check_disk_space(cfg, trainer, outputs.weights)
        console.print_start(cfg, trainer, found, taken)

    # Callbacks
    callbacks = build_callbacks(cfg, trainer, validate, data, outputs, found, taken)

    # Resume
    start = (0, 0)
    if state is not None:
        start = restore_state(state, trainer, callbacks, data)
        if number == 0:
            console.print_resumed(cfg, start, data.steps)

    # Fit
    began = time.monotonic()
    with explain_failures(cfg), announce_stop(workers), display.cleared(), draw_the_rest(callbacks):
        history = trainer.fit(data, validate, cfg.HYPER_PARAMETERS.EPOCHS, callbacks, start)
    seconds = time.monotonic() - began

    # Summary
    best = find_best_weights(callbacks)
    if best is not None:
        best.check_saved()
        write_summary(cfg, trainer, best, found, history, seconds, outputs.summary)
        console.print_data_wait(cfg, trainer.data_wait)
        console.print_end(cfg, best, outputs, found)
    return history


if __name__ == "__main__":
    command(train, after_sweep="utils.training.console:print_sweep")()

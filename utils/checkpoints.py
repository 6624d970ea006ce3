"""Weights on disk: weights only, whole or not there, with the config that rebuilds their model beside them."""

import warnings

from omegaconf import OmegaConf

from utils.config import config_path_of, weights_path
from utils.errors import UserError
from utils.files import write_whole


def save_weights(network, path):
    """Write the weights of a Keras model to `path` (ends in .weights.h5); an interrupted write leaves the old file."""
    with write_whole(path) as temporary:
        network.save_weights(temporary)


def save_config(cfg, weights):
    """Write the resolved config beside its weights."""
    with write_whole(config_path_of(weights)) as temporary:
        OmegaConf.save(cfg, temporary, resolve=True)


def load_weights(network, cfg):
    """Load the weights that `cfg` names.

    Raises:
        UserError: there are none, or they belong to another model.
    """
    path = weights_path(cfg)
    if not path.exists():
        raise UserError(f"No weights at {path}. Train first, or set MODEL.WEIGHTS_FILE_NAME.")
    try:
        with warnings.catch_warnings():
            # Keras only warns about parts of a model that the file does not have; they would stay untrained.
            warnings.simplefilter("error")
            network.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The weights {path} do not fit MODEL.TYPE={cfg.MODEL.TYPE} with {cfg.OUTPUT.CLASSES} classes, "
            f"or the file is damaged: {reason}"
        ) from None


def keep_previous(cfg, log):
    """Rename the files of an earlier run to `<name>.previous<ending>`, so that a new run overwrites nothing good."""
    weights = weights_path(cfg)
    paths = [weights, config_path_of(weights)] + ([] if cfg.CALLBACKS.CSV_LOGGER.APPEND_LOGS else [log])
    for path in paths:
        if path.exists():
            name, ending = path.name.split(".", 1)
            path.replace(path.with_name(f"{name}.previous.{ending}"))

"""Weights on disk with all that lies beside them: `<name>.weights.h5`, `<name>.yaml` (config), `<name>.evaluation`.

paths: names of the files; weights: save and load; saved_config: the config beside them. Imports no Keras.
"""

from utils.checkpoints.paths import ENDING, companion_path, curves_path, log_path, pictures_path, weights_path
from utils.checkpoints.saved_config import read_config, restore_config, save_config
from utils.checkpoints.weights import load_weights, save_first_weights, save_weights

__all__ = [
    "ENDING",
    "companion_path",
    "curves_path",
    "load_weights",
    "log_path",
    "pictures_path",
    "read_config",
    "restore_config",
    "save_config",
    "save_first_weights",
    "save_weights",
    "weights_path",
]

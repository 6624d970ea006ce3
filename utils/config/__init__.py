"""The configuration: defaults, rules, checks, the Hydra command, sweeps and folds. Imports no TensorFlow."""

from utils.config.load import load_config

__all__ = ["load_config"]

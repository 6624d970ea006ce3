"""MLflow and Weights & Biases, if they are installed."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.registry import load_object

if TYPE_CHECKING:
    import keras

# CALLBACKS.<key> -> (package to install, function cfg, name of the run -> Keras callback)
TRACKERS = {"MLFLOW": ("mlflow", "utils.training.tracking:mlflow"), "WANDB": ("wandb", "utils.training.tracking:wandb")}


def check_trackers(cfg: DictConfig) -> None:
    """Raise a UserError if a tracker is asked for that is not installed."""
    for key, (package, _) in TRACKERS.items():
        if cfg.CALLBACKS[key] and importlib.util.find_spec(package) is None:
            raise UserError(f"CALLBACKS.{key}=True needs a package: pip install {package}, or leave it out.")


def build_trackers(cfg: DictConfig, name: str) -> list[keras.callbacks.Callback]:
    """The callbacks of the trackers that are asked for.

    Args:
        name: of the run.
    """
    return [load_object(maker)(cfg, name) for key, (_, maker) in TRACKERS.items() if cfg.CALLBACKS[key]]


def mlflow(cfg: DictConfig, name: str) -> keras.callbacks.Callback:
    """MLflow's own callback. Its environment variables say where it stores (MLFLOW_TRACKING_URI)."""
    import mlflow
    from mlflow.keras import MlflowCallback

    mlflow.start_run(run_name=name)
    return MlflowCallback()


def wandb(cfg: DictConfig, name: str) -> keras.callbacks.Callback:
    """The callback of Weights & Biases. Its environment variables set project and mode (WANDB_PROJECT, WANDB_MODE)."""
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    wandb.init(name=name, config=OmegaConf.to_container(cfg, resolve=True))
    return WandbMetricsLogger()

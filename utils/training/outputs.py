"""Where a training run writes. Imports no Keras, so that a folder without write access is known at once."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from utils.base.files import check_writable, remove_leftovers, writable_folder
from utils.checkpoints import companion_path, weights_path

WRITERS = ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")  # keys of CALLBACKS with a PATH


@dataclass(frozen=True)
class Outputs:
    """The files of a training run.

    Attributes:
        weights: the best weights; config, state and summary stand beside them.
        log: CSV table, a row per epoch.
        curves: picture of the learning curves.
        tensorboard: folder of all TensorBoard logs.
    """

    weights: Path
    log: Path
    curves: Path
    tensorboard: Path

    @property
    def name(self) -> str:
        """The name of the weights without ending."""
        return companion_path(self.weights, "").name

    @property
    def config(self) -> Path:
        """The config, from which the model of the weights is rebuilt."""
        return companion_path(self.weights, ".yaml")

    @property
    def summary(self) -> Path:
        """What ran, on what, and how it ended, as JSON."""
        return companion_path(self.weights, ".run.json")

    def remove_leftovers(self) -> None:
        """Remove temporary files that killed runs left behind."""
        for path in (self.weights, self.log, self.curves):
            remove_leftovers(path)


def check_outputs(cfg: DictConfig) -> None:
    """Raise a UserError if a folder cannot be written to. Creates nothing."""
    for name in WRITERS:
        check_writable(cfg, cfg.CALLBACKS[name].PATH, f"CALLBACKS.{name}.PATH")


def make_outputs(cfg: DictConfig) -> Outputs:
    """Create the folders of the run.

    Raises:
        UserError: one cannot be created or written to.
    """
    _, log, tensorboard = (writable_folder(cfg, cfg.CALLBACKS[name].PATH, f"CALLBACKS.{name}.PATH") for name in WRITERS)
    weights = weights_path(cfg)
    return Outputs(
        weights=weights,
        log=log / f"training_logs_{cfg.MODEL.TYPE}.csv",
        curves=weights.parent / "training_curves.png",
        tensorboard=tensorboard,
    )

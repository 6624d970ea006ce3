"""Where a training run writes. Imports no Keras, so that a folder without write access is known at once."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from utils.base.files import check_writable, remove_leftovers, writable_folder
from utils.base.locks import lock, lock_path
from utils.checkpoints import companion_path, curves_path, log_path, pictures_path, weights_path

WRITERS = ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")  # keys of CALLBACKS with a PATH


@dataclass(frozen=True)
class Outputs:
    """The files of a training run.

    Attributes:
        weights: the best weights; config, state and summary stand beside them.
        log: CSV table, a row per epoch.
        curves: picture of the learning curves.
        pictures: picture of validation images.
        tensorboard: folder of all TensorBoard logs.
    """

    weights: Path
    log: Path
    curves: Path
    pictures: Path
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

    def lock(self) -> None:
        """Keep other trainings from writing the same weights or log until `utils.base.locks.release`.

        Raises:
            UserError: another one does; names host and process.
        """
        lock(lock_path(self.weights.with_name(self.name)), f"the weights {self.weights}")
        lock(lock_path(self.log), f"the log {self.log}")

    def remove_leftovers(self) -> None:
        """Remove temporary files that killed runs left behind."""
        for path in (self.weights, self.log, self.curves, self.pictures):
            remove_leftovers(path)


def check_outputs(cfg: DictConfig) -> None:
    """Raise a UserError if a folder cannot be written to. Creates nothing."""
    for name in WRITERS:
        check_writable(cfg, cfg.CALLBACKS[name].PATH, f"CALLBACKS.{name}.PATH")


def make_outputs(cfg: DictConfig, locks: bool) -> Outputs:
    """Create the folders of the run, and lock its files with `locks`, unless it only measures time.

    Raises:
        UserError: one cannot be created or written to, or another training writes there.
    """
    *_, tensorboard = (writable_folder(cfg, cfg.CALLBACKS[name].PATH, f"CALLBACKS.{name}.PATH") for name in WRITERS)
    outputs = Outputs(weights_path(cfg), log_path(cfg), curves_path(cfg), pictures_path(cfg), tensorboard)
    if locks and "bench_steps" not in cfg:
        outputs.lock()
    return outputs

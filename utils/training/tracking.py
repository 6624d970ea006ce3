"""What you can watch while a run trains: TensorBoard, and MLflow or Weights & Biases if they are installed."""

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.pictures import displayable
from utils.base.registry import load_object
from utils.config.class_names import mask_class_names
from utils.inference.class_indices import center_crop, class_indices
from utils.inference.comparison import compare
from utils.inference.mask_meaning import MaskMeaning
from utils.training.data_wait import DataWait
from utils.training.validation import Example

# CALLBACKS.<key> -> (package to install, function cfg, name of the run -> Keras callback)
TRACKERS = {"MLFLOW": ("mlflow", "utils.training.tracking:mlflow"), "WANDB": ("wandb", "utils.training.tracking:wandb")}

Logs = dict[str, float] | None


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


class TensorBoardPanel(keras.callbacks.Callback):
    """TensorBoard: validation images with truth and prediction, images per second and data wait of each epoch.

    None of it goes into the CSV log, which does not depend on interruptions.

    Args:
        folder: of the TensorBoard logs.
        cfg: checked config.
        examples: the list that each validation fills anew.
        data_wait: of the training data.
        images: of an epoch.
    """

    def __init__(
        self, folder: Path, cfg: DictConfig, examples: Sequence[Example], data_wait: DataWait, images: int
    ) -> None:
        super().__init__()
        self.folder = folder
        self.cfg = cfg
        self.examples = examples
        self.data_wait = data_wait
        self.images = images

    def on_train_begin(self, logs: Logs = None) -> None:
        self.writer = tf.summary.create_file_writer(str(self.folder / "validation_images"))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.begin = self.end = time.perf_counter()
        self.steps = 0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.end, self.steps = time.perf_counter(), self.steps + 1

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        with self.writer.as_default(step=epoch):
            if self.steps:  # none if a run resumes right before the end of the epoch
                images = self.images * self.steps / self.params["steps"]
                tf.summary.scalar("images_per_second", images / (self.end - self.begin))
            tf.summary.scalar("share_of_time_waiting_for_data", self.data_wait.share)
            if self.examples:
                tf.summary.image("validation", self.draw()[np.newaxis])
        self.writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self.writer.close()

    def draw(self) -> np.ndarray:
        """One picture with a row for each example."""
        rows = []
        meaning = MaskMeaning.from_config(self.cfg, mask_class_names(self.cfg))
        for image, truth, probabilities in self.examples:
            picture = displayable(image, self.cfg.SHOW_CENTER_CHANNEL_IMAGE)
            size = probabilities.shape[:2]
            predicted = class_indices(probabilities, multi_label=meaning.multi_label)
            rows.append(compare(center_crop(picture, size), center_crop(truth[..., 0], size), predicted, meaning))
        return np.vstack(rows)


def new_log_folder(folder: Path, name: str) -> Path:
    """The folder of TensorBoard logs of this start of a run."""
    return folder / f"{name} {time.strftime('%Y-%m-%d %H-%M-%S')}"

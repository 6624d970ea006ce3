"""What a run shows while it goes on: TensorBoard, and MLflow or Weights & Biases where they are installed."""

import importlib.util
import time

import keras
import numpy as np

from utils.base.errors import UserError
from utils.base.pictures import displayable, side_by_side
from utils.base.registry import load_object
from utils.inference.class_indices import center_crop, class_indices

# CALLBACKS.<key> -> (package to install, function cfg, name of the run -> Keras callback)
TRACKERS = {"MLFLOW": ("mlflow", "utils.training.tracking:mlflow"), "WANDB": ("wandb", "utils.training.tracking:wandb")}


def check_trackers(cfg):
    """Raise a UserError where a tracker is asked for that is not installed."""
    for key, (package, _) in TRACKERS.items():
        if cfg.CALLBACKS[key] and importlib.util.find_spec(package) is None:
            raise UserError(f"CALLBACKS.{key}=True needs a package: pip install {package}, or leave it out.")


def build_trackers(cfg, name):
    """The callbacks of the trackers that are asked for."""
    return [load_object(maker)(cfg, name) for key, (_, maker) in TRACKERS.items() if cfg.CALLBACKS[key]]


def mlflow(cfg, name):
    """MLflow's own callback; where it stores is told by its environment variables (MLFLOW_TRACKING_URI)."""
    import mlflow
    from mlflow.keras import MlflowCallback

    mlflow.start_run(run_name=name)
    return MlflowCallback()


def wandb(cfg, name):
    """The callback of Weights & Biases; its environment variables tell project and mode (WANDB_PROJECT, WANDB_MODE)."""
    import wandb
    from omegaconf import OmegaConf
    from wandb.integration.keras import WandbMetricsLogger

    wandb.init(name=name, config=OmegaConf.to_container(cfg, resolve=True))
    return WandbMetricsLogger()


class Panel(keras.callbacks.Callback):
    """TensorBoard: some validation images with truth and prediction after each epoch, and how fast the epoch was.

    Nothing of it goes into the log of the run, which is the same whenever the run was interrupted.

    Args:
        folder: of the TensorBoard logs.
        cfg: checked config.
        examples: list of (image `(height, width, channels)`, truth `(height, width, 1)`, probabilities `(height, width,
            classes)`), the same list, filled anew by each validation.
        waiting: `utils.training.data_wait.Waiting` of the training data.
        images: int, of an epoch.
    """

    def __init__(self, folder, cfg, examples, waiting, images):
        super().__init__()
        self.folder = folder
        self.cfg = cfg
        self.examples = examples
        self.waiting = waiting
        self.images = images

    def on_train_begin(self, logs=None):
        import tensorflow as tf

        self.writer = tf.summary.create_file_writer(str(self.folder / "validation_images"))

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = self.end = time.perf_counter()
        self.seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.end, self.seen = time.perf_counter(), self.seen + 1

    def on_epoch_end(self, epoch, logs=None):
        import tensorflow as tf

        with self.writer.as_default(step=epoch):
            if self.seen:  # a run may go on where only the end of the epoch was missing
                images = self.images * self.seen / self.params["steps"]
                tf.summary.scalar("images_per_second", images / (self.end - self.begin))
            tf.summary.scalar("share_of_time_waiting_for_data", self.waiting.share)
            if self.examples:
                tf.summary.image("validation", self.draw()[np.newaxis])
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.writer.close()

    def draw(self):
        """One picture, a row for each example."""
        rows = []
        for image, truth, probabilities in self.examples:
            shown = displayable(image, self.cfg.SHOW_CENTER_CHANNEL_IMAGE)
            size = probabilities.shape[:2]  # of an unpadded model the masks are the centre of the image
            rows.append(
                side_by_side(center_crop(shown, size), center_crop(truth[..., 0], size), class_indices(probabilities))
            )
        return np.vstack(rows)


def log_folder(logs, weights):
    """A folder of its own for each start of a run."""
    return logs / f"{weights.name} {time.strftime('%Y-%m-%d %H-%M-%S')}"

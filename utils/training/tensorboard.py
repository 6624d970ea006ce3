"""What TensorBoard shows of a run: one run in its list, however often it was interrupted."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from omegaconf import DictConfig

from utils.base.files import warn_if_not_saved
from utils.base.pictures import displayable
from utils.config.class_names import mask_class_names
from utils.inference.class_indices import center_crop, class_indices
from utils.inference.comparison import compare
from utils.inference.mask_meaning import MaskMeaning
from utils.training.data_wait import DataWait
from utils.training.event_file import EventFile
from utils.training.validation import Example

Logs = dict[str, float]

NOT_SCORES = ("learning_rate", "gradient_norm")  # logs that validation does not have


class TensorBoard(keras.callbacks.Callback):
    """TensorBoard: after each epoch, counted from 1, its logs, speed, data wait and validation images with masks.

    Speed, data wait and images are not in the CSV log, which does not depend on interruptions.

    Args:
        folder: of the TensorBoard logs of this run.
        cfg: checked config; CALLBACKS.TENSORBOARD is read.
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
        self.histogram_every = cfg.CALLBACKS.TENSORBOARD.HISTOGRAM_EVERY
        self.examples = examples
        self.data_wait = data_wait
        self.images = images

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.file: EventFile | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.begin = self.end = time.perf_counter()
        self.steps = 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.end, self.steps = time.perf_counter(), self.steps + 1

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        step = epoch + 1
        with warn_if_not_saved("the TensorBoard log"):
            file = self.file = self.file or EventFile(self.folder)
            for name, value in logs.items():
                file.scalar(tag_of(name), value, step)
            if self.steps:  # none if a run resumes right before the end of the epoch
                images = self.images * self.steps / self.params["steps"]
                file.scalar("training/images_per_second", images / (self.end - self.begin), step)
            file.scalar("training/share_of_time_waiting_for_data", self.data_wait.share, step)
            if self.examples:
                file.image("images/validation", self.draw(), step)
            if self.histogram_every and epoch % self.histogram_every == 0:
                for variable in self.model.network.weights:
                    file.histogram(f"weights/{variable.path}", keras.ops.convert_to_numpy(variable), step)
            file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        with warn_if_not_saved("the TensorBoard log"):
            if self.file is not None:
                self.file.close()

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


def tag_of(name: str) -> str:
    """The tag of a log; TensorBoard groups tags by what stands before the slash.

    >>> [tag_of(name) for name in ("loss", "val_loss", "dice", "val_dice_class1", "learning_rate")]
    ['loss/train', 'loss/val', 'dice/train', 'dice/val_class1', 'training/learning_rate']
    """
    if name in NOT_SCORES:
        return f"training/{name}"
    split = "val" if name.startswith("val_") else "train"
    found = re.fullmatch(r"(.+?)(_class\d+)?", name.removeprefix("val_"))
    assert found is not None
    return f"{found[1]}/{split}{found[2] or ''}"


def log_folder(folder: Path, name: str, run: str) -> Path:
    """The folder of the TensorBoard logs of a run; one that resumes goes on in its own.

    Args:
        folder: of all TensorBoard logs.
        name: of the weights.
        run: id of the run.
    """
    own = [path for path in folder.iterdir() if path.name.endswith(f" {run}")] if folder.is_dir() else []
    return own[0] if own else folder / f"{name} {time.strftime('%Y-%m-%d %H-%M-%S')} {run}"

"""Look at what training sees: python -m data_generators +show=8 augmentation=medical

Writes `augmentation_train_<policy>_<engine>.png` to WORK_DIR: the first samples of training, each as it is stored
(above) and as the loader gives it to training (below), with the contours of its mask.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path

import cv2
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from data_generators import build_dataset
from data_generators.dataset import Dataset
from data_generators.loaders import Batch
from utils.base.class_bits import NO_CLASS
from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.ignored_classes import plain
from utils.base.pictures import MIN_PANEL, displayable, enlarge, overlay, titled
from utils.config.class_names import has_background
from utils.config.command import command
from utils.devices.strategy import make_strategy

COLUMNS, GAP, TINT = 4, 6, 0.15


def show(cfg: DictConfig) -> None:
    """Write the contact sheet of `show` pairs."""
    if cfg.MODEL.TYPE == "classifier":
        raise UserError("python -m data_generators shows images with masks: leave MODEL.TYPE=classifier out.")
    make_strategy(cfg)  # what TensorFlow prints at its start is kept off the terminal
    drawn = []
    for augment in (False, True):
        dataset = build_dataset(cfg, "train", boundary_weights=False, shuffle=False, augment=augment, batch_size=1)
        pairs = islice(epochs(dataset), cfg.get("show", 8))
        pictures = [draw(cfg, *(np.asarray(part)[0] for part in pair)) for pair in pairs]
        titles = ["changed"] * len(pictures) if augment else names(dataset, len(pictures))
        drawn.append(list(map(titled, pictures, titles)))
    path = Path(cfg.WORK_DIR).resolve() / f"{sheet_name(cfg)}.png"
    with atomic_write(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(contact_sheet(*drawn), cv2.COLOR_RGB2BGR))
    print(f"saved {path}")


def epochs(dataset: Dataset) -> Iterator[Batch]:
    """The batches of one epoch after the other; as the order is fixed, only what is random differs."""
    while True:
        yield from dataset


def names(dataset: Dataset, count: int) -> list[str]:
    """Names of the images of the first `count` batches of one sample."""
    samples = dataset.samples
    epochs = [dataset.sampler.indices(epoch) for epoch in range(-(-count // len(samples)))]
    return [samples[number].image.name for number in np.concatenate(epochs)[:count]]


def sheet_name(cfg: DictConfig) -> str:
    """`augmentation_train_medical_tensorflow`; with knobs typed on the command line `..._medical_changed_...`."""
    policy = HydraConfig.get().runtime.choices["augmentation"]
    typed = [text.split(".")[1] for text in cfg.OVERRIDES if text.startswith("AUGMENTATION.")]
    if cfg.AUGMENTATION.ALBUMENTATIONS is not None:
        policy = Path(cfg.AUGMENTATION.ALBUMENTATIONS).stem
    elif any(not name.startswith("ENGINE=") for name in typed):
        policy += "_changed"
    engine = "dali" if cfg.DATA_GENERATOR_TYPE == "DALI_GENERATOR" else cfg.AUGMENTATION.ENGINE
    return f"augmentation_train_{policy}_{engine}"


def draw(cfg: DictConfig, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """RGB picture of a sample with the contours of its mask."""
    factor = max(1, -(-MIN_PANEL // image.shape[1]))
    picture = enlarge(displayable(image, cfg.SHOW_CENTER_CHANNEL_IMAGE), factor)
    if mask is None:
        return picture
    first = 1 if has_background(cfg) or is_multi_label(cfg) else 0
    labels = plain(mask[:, :, 0])
    known = np.where(labels == cfg.DATASET.IGNORE_LABEL, 0 if first else NO_CLASS, labels)
    return overlay(picture, enlarge(known, factor), TINT, is_multi_label(cfg), first)


def contact_sheet(above: Sequence[np.ndarray], below: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures `(height, width, 3)` of one size, in two lists, in rows of COLUMNS."""
    blank = np.full_like(above[0], 255)
    rows = []
    for first in range(0, len(above), COLUMNS):
        for pictures, gap in ((above, GAP), (below, 3 * GAP)):
            row = pictures[first : first + COLUMNS]
            row = [picture for picture, _ in zip_longest(row, range(COLUMNS), fillvalue=blank)]
            padded = [np.pad(p, ((0, gap), (0, GAP), (0, 0)), constant_values=255) for p in row]
            rows.append(np.hstack(padded))
    return np.vstack(rows)


if __name__ == "__main__":
    command(show)()

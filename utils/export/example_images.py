"""Images to compare an exported file with its model on, and to calibrate int8 with."""

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.decoding import resize_image
from utils.base.errors import UserError
from utils.base.wording import counted
from utils.export.stored_values import stored_range
from utils.inference.find_sources import find_sources
from utils.inference.sources import Source, SourceSettings

COMPARED = 8  # images on which model and file are compared
DEFAULT_SIDE = 128  # pixels, where INPUT leaves the size open
PER_SOURCE = 4  # slices of a volume


def example_images(cfg: DictConfig) -> tuple[np.ndarray, str]:
    """Images of PREDICT.INPUT or DATASET.VAL, or noise if there are none.

    Returns:
        uint8 `(count, height, width, channels)` of the size of INPUT; what they are, for the model card.

    Raises:
        UserError: there are none, but EXPORT.QUANTIZE=int8 needs some; they have 16 bit, and EXPORT.PREPROCESS=True
            takes 8.
    """
    height, width = cfg.INPUT.HEIGHT or DEFAULT_SIDE, cfg.INPUT.WIDTH or DEFAULT_SIDE
    found: list[np.ndarray] = []
    reading = SourceSettings.from_config(cfg)
    for source in existing_sources(cfg):
        images = read_some(source, reading)
        if cfg.EXPORT.PREPROCESS and stored_range(cfg) is None and any(image.dtype != np.uint8 for image in images):
            raise UserError(
                f"EXPORT.PREPROCESS=True of these weights takes 8 bit, {source.path} has 16: leave it out and give the "
                "file stored values / 65535, or train with PREPROCESS_DATA.VALUE_RANGE=[0,65535], which goes inside."
            )
        found += [resize_image(to_bytes(image), height, width) for image in images]
        if len(found) >= max(cfg.EXPORT.CALIBRATION, COMPARED):
            break
    if found:
        return np.stack(found), counted(min(len(found), COMPARED), "image")
    if cfg.EXPORT.QUANTIZE == "int8":
        raise UserError("EXPORT.QUANTIZE=int8 needs images to calibrate with: set PREDICT.INPUT.")
    noise = np.random.default_rng(cfg.SEED).integers(0, 256, (2, height, width, cfg.INPUT.CHANNELS), np.uint8)
    return noise, "noise (no images were found: set PREDICT.INPUT)"


def existing_sources(cfg: DictConfig) -> list[Source]:
    """The sources that PREDICT.INPUT or DATASET.VAL name; none if nothing is there."""
    try:
        return find_sources(cfg)
    except UserError:
        return []


def read_some(source: Source, reading: SourceSettings) -> list[np.ndarray]:
    """A few images of a source, evenly spaced; none if it cannot be read."""
    try:
        source.open(reading)
        indices = np.unique(np.linspace(0, source.frames - 1, PER_SOURCE).astype(int)).tolist()
        return [source.read(index)[0] for index in indices]
    except UserError:
        return []


def to_bytes(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> uint8."""
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def evenly_spaced(images: np.ndarray, count: int = COMPARED) -> np.ndarray:
    """At most `count` of the images.

    >>> evenly_spaced(np.arange(5), 3).tolist()
    [0, 2, 4]
    """
    return images[np.unique(np.linspace(0, len(images) - 1, count).astype(int))]

"""Small images and masks, and the config of the experiment that is planned from them."""

import numpy as np

from data_preparation.plan import main
from utils.config import load_config


def grey(height=64, width=64):
    return np.random.default_rng(0).integers(0, 255, (height, width), dtype=np.uint8)


def striped(values, height=64, width=64):
    """A mask whose columns go through the values."""
    return np.resize(np.array(values, np.uint8), (height, width))


def planned(*options, images="images", masks="masks"):
    main([images, masks, "mine", "--quiet", "--no-timing", "--force", *map(str, options)])
    return load_config(["+experiment=mine"])

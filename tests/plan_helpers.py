"""Small images and masks, and the config of the experiment that is planned from them."""

import numpy as np
import pytest

from data_generators.files.pairing import find_pairs
from data_generators.reading.samples import ReadSettings, read_pair
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


def first_sample(cfg):
    """Image and mask of the first pair, as the loaders read it."""
    return read_pair(find_pairs(cfg, "train")[0], ReadSettings.from_config(cfg, "train"))


def refused(capsys, *options, images="images", masks="masks"):
    """The message about a plan that cannot be made."""
    with pytest.raises(SystemExit) as stopped:
        main([images, masks, "mine", "--quiet", "--no-timing", *map(str, options)])
    assert stopped.value.code == 2
    return capsys.readouterr().err

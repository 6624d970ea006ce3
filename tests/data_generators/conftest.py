"""Data that the tests of several loaders and engines read."""

import cv2
import pytest
from augmentation_helpers import pattern


@pytest.fixture
def stored(tmp_path):
    """Five pictures of `pattern`, each with a mark of its own, as a training set and a validation set."""
    for split in ("train", "val"):
        for kind in ("images", "mask"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(5):
            image, mask = pattern()
            image[:4, : 10 * number] = 255
            cv2.imwrite(str(tmp_path / f"data/{split}/images/image_1_{number}.png"), image)
            cv2.imwrite(str(tmp_path / f"data/{split}/mask/mask_1_{number}.png"), mask)
    return tmp_path

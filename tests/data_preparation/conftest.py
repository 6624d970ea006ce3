"""A folder of images and masks for the tests of plan.py."""

import cv2
import pytest

from utils.config.defaults import CONFIGS


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write `{stem: (image, mask)}` to images/ and masks/; experiments are written to a folder of the test."""
    experiments = tmp_path / "configs"
    experiments.mkdir()
    for path in CONFIGS.iterdir():
        if path.name != "experiment":
            (experiments / path.name).symlink_to(path)
    monkeypatch.setattr("utils.config.defaults.CONFIGS", experiments)
    monkeypatch.setattr("utils.config.load.CONFIGS", experiments)
    monkeypatch.setattr("data_preparation.plan.CONFIGS", experiments)
    monkeypatch.chdir(tmp_path)

    def write(pairs, folder="."):
        for kind in ("images", "masks"):
            (tmp_path / folder / kind).mkdir(parents=True, exist_ok=True)
        for stem, (image, mask) in pairs.items():
            cv2.imwrite(str(tmp_path / folder / "images" / f"{stem}.png"), image)
            cv2.imwrite(str(tmp_path / folder / "masks" / f"{stem}.png"), mask)

    return write

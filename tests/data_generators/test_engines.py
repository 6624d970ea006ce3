"""A third engine is a row and a class: the tables, not their names, decide what happens to it."""

import sys
from types import ModuleType

import numpy as np
import pytest
from helpers import TINY

from data_generators import ENGINES, build_dataset
from data_generators.augmentation import Engine
from data_generators.augmentation.knobs import AugmentationSettings
from utils.base.errors import UserError
from utils.config import load_config


class Invert:
    """An engine that turns dark into bright, with arrays or with tensors."""

    in_graph = False

    def __init__(self, settings):
        self.settings = settings

    @classmethod
    def from_config(cls, cfg):
        settings = AugmentationSettings.from_config(cfg)
        return None if settings is None else cls(settings)

    def __call__(self, image, mask, epoch, position):
        return (255 if image.dtype == np.uint8 else 1) - image, mask


class InvertInGraph(Invert):
    in_graph = True


@pytest.fixture
def invert(monkeypatch):
    """The rows `invert` and `invert_in_graph` of ENGINES."""
    module = ModuleType("invert_engine")
    module.Invert, module.InvertInGraph = Invert, InvertInGraph
    monkeypatch.setitem(sys.modules, "invert_engine", module)
    monkeypatch.setitem(ENGINES, "invert", Engine("invert_engine:Invert", loaders=("TF_GENERATOR", "TF_DATA")))
    monkeypatch.setitem(ENGINES, "invert_in_graph", Engine("invert_engine:InvertInGraph", loaders=("TF_DATA",)))


def config(folder, engine, loader, *overrides):
    return load_config(
        [*TINY, f"WORK_DIR={folder}", f"AUGMENTATION.ENGINE={engine}", f"DATA_GENERATOR_TYPE={loader}", "VERBOSE=0",
         "AUGMENTATION.BRIGHTNESS.PROBABILITY=1.0", "loss=dice", *overrides]
    )  # fmt: skip


@pytest.mark.parametrize(
    "engine, loader",
    [
        ("invert", "TF_GENERATOR"),
        pytest.param("invert", "TF_DATA", marks=pytest.mark.slow),
        ("invert_in_graph", "TF_DATA"),
    ],
)
def test_a_third_engine_changes_the_batches_and_trains(engine, loader, invert, phantom, tmp_path):
    from train import train

    cfg = config(phantom, engine, loader)
    plain, changed = (build_dataset(cfg, "train", augment=augment) for augment in (False, True))
    for before, after in zip(plain, changed, strict=True):
        np.testing.assert_allclose(1 - np.asarray(before[0]), after[0], atol=1e-6)
        np.testing.assert_array_equal(before[1], after[1])
    folders = [f"CALLBACKS.{key}.PATH={tmp_path}" for key in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    history = train(config(phantom, engine, loader, "HYPER_PARAMETERS.EPOCHS=1", *folders))
    assert len(history["loss"]) == 1 and np.isfinite(history["loss"][0])


@pytest.mark.parametrize(
    "engine, loader, override, words",
    [
        ("invert", "TFRECORD", "SEED=1", ["ENGINE=invert needs", "TF_GENERATOR or TF_DATA, not TFRECORD"]),
        ("invert_in_graph", "TF_GENERATOR", "SEED=1", ["ENGINE=albumentations or invert."]),
        ("invert", "TF_DATA", "AUGMENTATION.ZOOM.KEEP_FOREGROUND=True", ["ENGINE=albumentations or tensorflow"]),
        ("invert", "TF_DATA", "MODEL.TYPE=classifier", ["ENGINE=invert is for masks"]),
    ],
)
def test_what_a_row_does_not_offer_is_refused(engine, loader, override, words, invert, tmp_path):
    with pytest.raises(UserError) as error:
        config(tmp_path, engine, loader, override)
    for word in words:
        assert word in str(error.value)


def test_a_loader_without_graph_operations_refuses_them(invert, phantom):
    cfg = config(phantom, "invert_in_graph", "TF_DATA")
    with pytest.raises(UserError, match="TF_GENERATOR has no graph operations"):
        build_dataset(cfg, "train", augment=True, loader="TF_GENERATOR")

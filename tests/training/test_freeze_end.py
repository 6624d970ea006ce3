"""MODEL.FREEZE_EPOCHS: from then on all layers are trained, by a new optimizer, and a resumed run knows."""

from types import SimpleNamespace

import numpy as np
import pytest

from models import build_model
from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.strategy import make_strategy
from utils.training.freeze_end import FreezeEnd
from utils.training.resume import restore_state, state_variables
from utils.training.state import TrainingState
from utils.training.trainer import build_trainer

SMALL = ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,3]", "INPUT.HEIGHT=16", "INPUT.WIDTH=16", "loss=cce", "MODEL.L2=0"]
FREEZE = ["MODEL.FREEZE=encoder", "MODEL.FREEZE_EPOCHS=2"]
RANDOM = np.random.default_rng(0)
BATCH = RANDOM.random((2, 16, 16, 3), np.float32), RANDOM.integers(0, 2, (2, 16, 16, 1)).astype("uint8")


def frozen(*overrides):
    """A trainer whose encoder is frozen, and the callback that ends it."""
    cfg = load_config([*SMALL, *FREEZE, *overrides])
    strategy = make_strategy(cfg)
    with strategy.scope():
        trainer = build_trainer(cfg, build_model(cfg), strategy)
    return trainer, FreezeEnd(cfg, trainer, verbose=True)


def values(trainer):
    return {variable.path: np.array(variable) for variable in trainer.network.variables}


def test_the_encoder_is_trained_from_that_epoch_on(capsys):
    trainer, end = frozen("HYPER_PARAMETERS.LEARNING_RATE=1e-2", "OPTIMIZER.ENCODER_FACTOR=0.5")
    for epoch in range(3):
        end.on_epoch_begin(epoch)
        assert end.over == (epoch == 2)
        before, _ = values(trainer), trainer.train_on(BATCH)
        moved = {path: np.abs(value - before[path]).max() for path, value in values(trainer).items()}
        assert {path for path, step in moved.items() if step and path.startswith("encoder")} == (
            {path for path in moved if path.startswith("encoder")} if epoch == 2 else set()
        )
        assert moved["mask_logits/kernel"] > 0
    # The first step of Adam is as long as the learning rate, half of it in the encoder.
    assert moved["encoder1_1_conv/kernel"] == pytest.approx(0.005, rel=1e-3)
    assert moved["mask_logits/kernel"] == pytest.approx(0.01, rel=1e-3)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "MODEL.FREEZE ends after epoch 2: all layers are trained now" in said


@pytest.mark.parametrize("over", [False, True])
def test_a_restored_run_goes_on_as_it_would_have(over):
    options = "OPTIMIZER.EMA=0.9", "OPTIMIZER.ACCUMULATION_STEPS=2"
    whole, end = frozen(*options)
    if over:
        end.on_epoch_begin(2)
    for _ in range(3):
        whole.train_on(BATCH)
    arrays = [np.array(variable) for variable in state_variables(whole, 1)]
    metadata = {"epoch": 2, "step": 1, "callbacks": {"FreezeEnd": end.state()}}
    whole.train_on(BATCH)
    resumed, its_end = frozen(*options)
    assert restore_state(TrainingState(metadata, arrays), resumed, [its_end], SimpleNamespace(samples=[])) == (2, 1)
    assert its_end.over == over
    resumed.train_on(BATCH)
    for one, other in zip(state_variables(whole, 1), state_variables(resumed, 1), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["MODEL.FREEZE_EPOCHS=2"], "needs MODEL.FREEZE"),
        ([*FREEZE, "HYPER_PARAMETERS.EPOCHS=2"], "must be below HYPER_PARAMETERS.EPOCHS=2"),
        ([*FREEZE, "MODEL.BACKBONE.TRAINABLE=False"], "BACKBONE.TRAINABLE=False"),
    ],
)
def test_an_end_that_cannot_be_is_one_line(options, words):
    with pytest.raises(UserError, match=words):
        load_config([*SMALL, *options])

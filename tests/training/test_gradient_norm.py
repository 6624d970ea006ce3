"""The log holds the global norm of the gradients, unscaled and before clipping."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from utils.base.errors import UserError
from utils.training.resume import restore_state, state_variables
from utils.training.trainer import Trainer

X = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
Y = np.array([[1.0], [0.0]], np.float32)


def make_trainer(optimizer, **options):
    image = keras.Input((2,))
    outputs = {"mask": keras.layers.Dense(1, kernel_initializer="ones")(image)}
    trainer = Trainer(
        keras.Model(image, outputs), lambda y, found, _: tf.reduce_mean((y - found["mask"]) ** 2), {"mask": []}
    )
    trainer.compile(optimizer, **options)
    return trainer


def norm_by_hand():
    """Of the first step: weights of one, bias of zero."""
    error = X.sum(1, keepdims=True) - Y
    return np.sqrt(((2 * X * error).mean(0) ** 2).sum() + (2 * error).mean() ** 2)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_norm_of_a_step(scaled, xla):
    optimizer = keras.optimizers.SGD(0.0, global_clipnorm=0.01)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024) if scaled else optimizer
    trainer = make_trainer(optimizer, jit_compile=xla)
    for _ in range(2):
        logs = trainer.train_on((X, Y))
    assert float(logs["gradient_norm"]) == pytest.approx(norm_by_hand(), rel=1e-6)


def test_a_step_that_overflows_does_not_count():
    trainer = make_trainer(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=1024))
    trainer.train_on((X, Y))
    trainer.train_on((X * np.float32(1e20), Y))
    assert float(trainer.gradient_norm.result()) == pytest.approx(norm_by_hand(), rel=1e-6)


def test_a_state_of_an_earlier_version_within_an_epoch_goes_on():
    trainer = make_trainer(keras.optimizers.SGD(0.0))
    trainer.train_on((X, Y))
    arrays = [keras.ops.convert_to_numpy(variable) for variable in state_variables(trainer, 1)]
    metadata = {"epoch": 2, "step": 1, "callbacks": {}}
    data = SimpleNamespace(samples=[])
    assert restore_state((metadata, arrays), trainer, [], data) == (2, 1)
    assert restore_state((metadata, arrays[:-2]), trainer, [], data) == (2, 1)
    with pytest.raises(UserError, match="another model"):
        restore_state((metadata, arrays[:-3]), trainer, [], data)

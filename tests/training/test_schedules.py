"""Learning rates, and the optimizers that take them."""

import math

import keras
import numpy as np
import pytest

from losses.monitor import build_monitor
from utils.config import load_config
from utils.training.callbacks import AveragedWeights, LearningRate
from utils.training.optimizers import OPTIMIZERS, make_optimizer
from utils.training.schedules import SCHEDULES, learning_rate


def rates(epochs, *overrides):
    cfg = load_config([f"HYPER_PARAMETERS.EPOCHS={epochs}", *overrides])
    return [learning_rate(cfg, epoch) for epoch in range(epochs)]


def test_ramp_sustain_decay_by_hand():
    options = ["WARMUP_EPOCHS=2", "WARMUP_START=1e-4", "SUSTAIN_EPOCHS=1", "DECAY=0.5", "MINIMUM=1e-5"]
    found = rates(
        6,
        "HYPER_PARAMETERS.LEARNING_RATE=3e-4",
        "LR_SCHEDULE.NAME=ramp_sustain_decay",
        *(f"LR_SCHEDULE.{option}" for option in options),
    )
    np.testing.assert_allclose(found, [1e-4, 2e-4, 3e-4, 3e-4, 1.55e-4, 8.25e-5])


def test_cosine_restarts_equal_those_of_keras():
    found = rates(
        20,
        "HYPER_PARAMETERS.LEARNING_RATE=0.005",
        "LR_SCHEDULE.NAME=cosine_restarts",
        "LR_SCHEDULE.PERIOD=5",
        "LR_SCHEDULE.PERIOD_FACTOR=2.0",
        "LR_SCHEDULE.PEAK_FACTOR=0.7",
        "LR_SCHEDULE.MINIMUM=0.0005",
    )
    keras_schedule = keras.optimizers.schedules.CosineDecayRestarts(0.005, 5, t_mul=2.0, m_mul=0.7, alpha=0.1)
    np.testing.assert_allclose(found, [float(keras_schedule(epoch)) for epoch in range(20)], rtol=1e-5)


def rates_of_steps(*overrides, epochs=4, steps=5):
    cfg = load_config([f"HYPER_PARAMETERS.EPOCHS={epochs}", "HYPER_PARAMETERS.LEARNING_RATE=0.005", *overrides])
    return [learning_rate(cfg, epoch, step, steps) for epoch in range(epochs) for step in range(steps)]


def test_restarts_by_step_equal_those_that_keras_takes_at_each_step():
    restarts = ["NAME=cosine_restarts", "PERIOD=7", "PEAK_FACTOR=0.7", "MINIMUM=0.0005"]
    found = rates_of_steps("LR_SCHEDULE.BY=step", *(f"LR_SCHEDULE.{option}" for option in restarts))
    keras_schedule = keras.optimizers.schedules.CosineDecayRestarts(0.005, 7, t_mul=1.0, m_mul=0.7, alpha=0.1)
    np.testing.assert_allclose(found, [float(keras_schedule(step)) for step in range(20)], rtol=1e-5)


def test_by_step_lengths_called_epochs_stay_epochs():
    options = ["NAME=ramp_sustain_decay", "WARMUP_EPOCHS=1", "SUSTAIN_EPOCHS=1", "DECAY=0.25"]
    found = rates_of_steps("LR_SCHEDULE.BY=step", *(f"LR_SCHEDULE.{option}" for option in options), epochs=3, steps=2)
    np.testing.assert_allclose(found, [0, 0.0025, 0.005, 0.005, 0.005, 0.0025])
    assert rates_of_steps("LR_SCHEDULE.NAME=cosine", epochs=2, steps=2) == [0.005, 0.005, 0.0025, 0.0025]


def test_cosine_starts_at_the_peak_and_comes_close_to_the_minimum():
    found = rates(10, "LR_SCHEDULE.NAME=cosine", "HYPER_PARAMETERS.LEARNING_RATE=3e-3", "LR_SCHEDULE.MINIMUM=3e-4")
    assert found[0] == 3e-3 and found == sorted(found, reverse=True)
    assert math.isclose(found[5], (3e-3 + 3e-4) / 2)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_stays_between_minimum_and_peak(name):
    found = rates(120, f"LR_SCHEDULE.NAME={name}", "LR_SCHEDULE.MINIMUM=1e-6", "LR_SCHEDULE.WARMUP_EPOCHS=3")
    assert found[0] == 0 and max(found) <= 5e-5 and min(found[1:]) >= 1e-6


def small_model(optimizer):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def fit(model, callbacks, epochs=1):
    x = np.ones((4, 1), "float32")
    return model.fit(
        x, 0 * x, batch_size=1, epochs=epochs, validation_data=(x, 0 * x), callbacks=callbacks, verbose=0
    ).history


def test_a_plateau_lowers_the_rate():
    cfg = load_config(
        ["LR_SCHEDULE.NAME=plateau", "LR_SCHEDULE.PLATEAU_PATIENCE=2", "HYPER_PARAMETERS.LEARNING_RATE=1e-3"]
    )
    scores = iter([0.5, 0.4, 0.4, 0.6, 0.5, 0.5])

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_dice"] = next(scores)

    history = fit(small_model("sgd"), [Scores(), LearningRate(cfg, build_monitor(cfg))], epochs=6)
    np.testing.assert_allclose(history["learning_rate"], [1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])


def test_the_rate_changes_at_each_step():
    cfg = load_config(
        ["LR_SCHEDULE.NAME=cosine", "LR_SCHEDULE.BY=step", "HYPER_PARAMETERS.EPOCHS=2"]
        + ["HYPER_PARAMETERS.LEARNING_RATE=1e-3"]
    )
    seen = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    history = fit(small_model("sgd"), [LearningRate(cfg, build_monitor(cfg)), Rates()], epochs=2)
    np.testing.assert_allclose(seen, [(1 + math.cos(math.pi * step / 8)) / 2e3 for step in range(8)], rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], [seen[3], seen[7]])


def test_averaged_weights_are_validated_and_saved_but_not_trained():
    model = small_model(
        make_optimizer(
            load_config(
                [
                    "OPTIMIZER.NAME=sgd",
                    "OPTIMIZER.EMA=0.5",
                    "OPTIMIZER.MOMENTUM=0",
                    "HYPER_PARAMETERS.LEARNING_RATE=0.1",
                ]
            )
        )
    )
    seen = []

    class Save(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(model.layers[0].kernel.numpy()[0, 0]))

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(float(model.layers[0].kernel.numpy()[0, 0]))

    history = fit(model, [Save(), AveragedWeights()], epochs=2)
    # w -> 0.8 w at each step; the average starts at the first value and takes half of each next one.
    trained = 0.8 ** np.arange(1, 9)
    averages = [trained[0]]
    for value in trained[1:]:
        averages.append((averages[-1] + value) / 2)
    np.testing.assert_allclose(seen, [1, averages[3], trained[3], averages[7]], rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"], [averages[3] ** 2, averages[7] ** 2], rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_every_option(name):
    options = ["WEIGHT_DECAY=0.01", "CLIP_NORM=0.5", "ACCUMULATION_STEPS=2", "EMA=0.9", "L2=0.01"]
    optimizer = make_optimizer(load_config([f"OPTIMIZER.NAME={name}", *(f"OPTIMIZER.{option}" for option in options)]))
    model = small_model(optimizer)
    x = np.ones((1, 1), "float32")
    before = model.get_weights()[0]
    model.train_on_batch(x, 0 * x)
    assert model.get_weights()[0] == before  # waits for the second batch
    model.train_on_batch(x, 0 * x)
    assert model.get_weights()[0] < before


def test_accumulated_steps_equal_one_large_batch():
    weights = []
    for steps, batch in ((1, 4), (4, 1)):
        model = small_model(
            make_optimizer(load_config(["OPTIMIZER.NAME=sgd", f"OPTIMIZER.ACCUMULATION_STEPS={steps}"]))
        )
        x = np.arange(4, dtype="float32")[:, None]
        model.fit(x, 0 * x, batch_size=batch, shuffle=False, verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-6)
    assert weights[0] != 1


def test_the_gradient_is_clipped():
    model = small_model(
        make_optimizer(
            load_config(["OPTIMIZER.NAME=sgd", "OPTIMIZER.CLIP_NORM=0.5", "HYPER_PARAMETERS.LEARNING_RATE=1.0"])
        )
    )
    x = np.full((1, 1), 10, "float32")
    model.train_on_batch(x, 0 * x)
    np.testing.assert_allclose(model.get_weights()[0], 0.5)

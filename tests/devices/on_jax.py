"""The training step on JAX. `test_jax.py` runs these tests in a process of two devices, in which JAX computes."""

import os
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from helpers import SMALL

from data_generators.dataset import Dataset
from data_generators.sampler import EpochSampler
from models.layers.host_draws import drawing_on_host
from utils.base.errors import UserError
from utils.base.startup import without_unused_packages
from utils.config import load_config
from utils.devices.failures import explain_failures
from utils.devices.full_batches import fill
from utils.devices.strategy import PRECISIONS

RNG = np.random.default_rng(0)
IMAGES = RNG.random((4, 6, 6, 1), dtype=np.float32)
MASKS = RNG.integers(0, 2, (4, 6, 6, 1)).astype("uint8")


def make_trainer(devices=1, *overrides, dropout=0.0):
    """A network of two convolutions, trained as the config says."""
    import jax

    from utils.devices.jax_devices import JaxDevices
    from utils.training.trainer import build_trainer

    cfg = load_config([*SMALL, "HYPER_PARAMETERS.LEARNING_RATE=0.1", "OPTIMIZER.NAME=sgd", *overrides])
    keras.config.set_dtype_policy(PRECISIONS[cfg.OPTIMIZATION.AMP])
    with without_unused_packages():  # Keras would import TensorFlow to seed that, too
        keras.utils.set_random_seed(0)
    with drawing_on_host():
        image = keras.Input((6, 6, 1))
        # Normalisation takes a bias away again, and Adam would make steps of the rounding errors of its gradient.
        x = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)(image)
        x = keras.layers.Dropout(dropout)(keras.layers.BatchNormalization()(x))
        mask = keras.layers.Conv2D(2, 1, activation="softmax", dtype="float32")(x)
        network = keras.Model(image, {"mask": mask})
    trainer = build_trainer(cfg, network, JaxDevices(tuple(jax.devices()[:devices]), "single"))
    return trainer


def test_fusing_batch_normalisation_compiles_no_initial_weights(monkeypatch):
    import jax

    from models.fuse_batch_norm import fuse_batch_norm

    network = make_trainer().network
    monkeypatch.setattr(jax.random, "uniform", None)  # a program for each shape
    fused = fuse_batch_norm(network)
    np.testing.assert_allclose(fused(IMAGES)["mask"], network(IMAGES)["mask"], atol=1e-5)


def test_an_exported_keras_file_is_checked_without_compiling_initial_weights(monkeypatch, tmp_path):
    import jax

    from utils.export.keras_format import run_keras

    network = make_trainer().network
    network.save(tmp_path / "model.keras")
    monkeypatch.setattr(jax.random, "uniform", None)  # a program for each shape
    found = run_keras(tmp_path / "model.keras")(IMAGES)
    np.testing.assert_allclose(found["mask"], network(IMAGES)["mask"], atol=1e-5)


def take_step(trainer, images, masks, *more):
    return trainer.train_on(trainer.distribute_strategy.put_batch([images, masks, *more]))


def weights(trainer):
    return [np.asarray(value) for value in trainer.network.get_weights()]


def test_a_filled_batch_is_the_partial_batch():
    """Scores, loss, gradients and the statistics of batch normalisation, dropout included, of three images."""
    found = []
    for filled in (False, True):
        trainer = make_trainer(2, dropout=0.5)
        before = weights(trainer)
        batch, counted = fill([IMAGES[:3], MASKS[:3]], 4)
        logs = take_step(trainer, *batch, None, counted) if filled else take_step(trainer, IMAGES[:3], MASKS[:3])
        found.append(([float(value) for value in logs.values()], weights(trainer)))
        assert all((one != other).any() for one, other in zip(before, weights(trainer), strict=True))
    (logs, partial), (logs_filled, whole) = found
    np.testing.assert_allclose(logs_filled, logs, rtol=1e-5)
    for one, other in zip(partial, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow  # four steps to compile
@pytest.mark.parametrize(
    "options",
    [
        ["OPTIMIZER.CLIP_NORM=0.01", "OPTIMIZER.L2=0.1"],
        ["OPTIMIZER.ACCUMULATION_STEPS=2", "OPTIMIZER.EMA=0.5", "OPTIMIZER.NAME=adam"],
    ],
)
def test_two_devices_update_as_one(options):
    found = []
    for devices in (1, 2):
        trainer = make_trainer(devices, *options)
        states = [weights(trainer)]
        for _ in range(5):  # the average follows from the second update on
            take_step(trainer, IMAGES, MASKS)
            states.append(weights(trainer))
        if "OPTIMIZER.EMA=0.5" in options:
            assert same(*states[:2]) and not same(*states[1:3])  # every second step updates
            trainer.optimizer.finalize_variable_values(trainer.trainable_weights)
            assert not same(weights(trainer), states[-1])
            states.append(weights(trainer))
        found.append(states)
    for one, two in zip(*found, strict=True):
        for value, other in zip(one, two, strict=True):
            np.testing.assert_allclose(value, other, atol=1e-5)


def same(states, others):
    """Whether the kernels are; the statistics of batch normalisation move with every step."""
    return (states[0] == others[0]).all()


@pytest.mark.slow
def test_a_clipped_step_is_as_long_as_it_may_be():
    trainer = make_trainer(1, "OPTIMIZER.CLIP_NORM=0.01", "HYPER_PARAMETERS.LEARNING_RATE=1")
    before = [np.asarray(value) for value in trainer.network.trainable_variables]
    take_step(trainer, IMAGES, MASKS)
    moved = [np.asarray(value) - old for value, old in zip(trainer.network.trainable_variables, before, strict=True)]
    assert np.sqrt(sum((step**2).sum() for step in moved)) == pytest.approx(0.01, rel=1e-3)


def test_float16_leaves_out_a_step_that_overflows():
    trainer = make_trainer(2, "OPTIMIZATION.AMP=True")
    take_step(trainer, IMAGES, MASKS)
    before, scale = weights(trainer), float(trainer.optimizer.dynamic_scale)
    take_step(trainer, np.where(np.arange(4)[:, None, None, None] == 3, np.float32(1e18), IMAGES), MASKS)
    assert same(before, weights(trainer))
    assert float(trainer.optimizer.dynamic_scale) == scale / 2


def test_the_end_of_a_freeze_trains_all_weights():
    from models.freeze import freeze_layers
    from utils.training.freeze_end import FreezeEnd

    part = ["MODEL.FREEZE=[conv2d]", "MODEL.FREEZE_EPOCHS=1", "HYPER_PARAMETERS.EPOCHS=2"]
    trainer = make_trainer(2, *part)
    freeze_layers(trainer.network, ["conv2d"])
    trainer.compile(trainer.optimizer.from_config(trainer.optimizer.get_config()))
    end = FreezeEnd(load_config([*SMALL, *part]), trainer, verbose=False)
    for epoch in range(2):
        end.on_epoch_begin(epoch)
        before = weights(trainer)
        take_step(trainer, IMAGES, MASKS)
        assert (before[0] != weights(trainer)[0]).any() == (epoch == 1)
        assert (before[1] != weights(trainer)[1]).any()


def test_a_loss_that_is_not_a_number_names_its_images():
    """In the last batch of an epoch too, which is filled."""
    images = np.where(np.arange(7)[:, None, None, None] == 6, np.nan, np.tile(IMAGES, (2, 1, 1, 1))[:7])
    batches = [(images[:4], MASKS), (images[4:], MASKS[:3])]
    samples = [SimpleNamespace(image=f"{number}.png") for number in range(7)]
    data = Dataset(batches, EpochSampler(7, 0, False, batch_size=4), samples)
    with pytest.raises(UserError, match=r"not a number after the batch of 4.png, 5.png, 6.png\. .*LEARNING_RATE"):
        make_trainer(2).fit(data, dict, 1, [])


@pytest.mark.parametrize(
    "reason, words",
    [
        ("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.", "not enough memory for a step.*BATCH_SIZE"),
        ("UNAVAILABLE: Connection closed by peer", "Another worker is gone"),
    ],
)
def test_a_failed_step_is_one_line(reason, words):
    import jax

    cfg = load_config([*SMALL, "STRATEGY.NAME=multi_worker"])
    with pytest.raises(UserError, match=words), explain_failures(cfg):
        raise jax.errors.JaxRuntimeError(reason)


def test_memory_that_is_not_there_is_one_line():
    cfg = load_config([*SMALL, "BACKEND=jax"])
    with pytest.raises(UserError, match="not enough memory") as caught, explain_failures(cfg):
        keras.ops.zeros((2**25, 2**25))
    assert "RECOMPUTE" not in str(caught.value)  # refused on JAX


@pytest.mark.parametrize(
    "visible, expected", [(None, None), ("", None), ("-1", None), ("0,1,2,3", [0, 1, 2, 3]), ("2", [0])]
)
def test_a_process_takes_all_gpus_that_it_sees(visible, expected, monkeypatch):
    """Each task of SLURM, whichever its number on the node."""
    import jax

    from utils.devices.jax_strategies import connect

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *settings, **more: found.append(settings))
    connect("here:1", 2, 1)
    assert found == [("here:1", 2, 1, expected)]


def test_what_is_for_tensorflow_alone_or_for_a_gpu(monkeypatch):
    from models.layers.convolution import Conv2D
    from utils.devices.jax_strategies import start

    assert not Conv2D(256, 3, padding="same").winograd_pays((None, 320, 320, 256))
    monkeypatch.setenv("XLA_FLAGS", "--one")
    start(load_config([*SMALL, "OPTIMIZATION.DETERMINISTIC=True"]))
    assert os.environ["XLA_FLAGS"] == "--one --xla_gpu_deterministic_ops=true"


def test_a_failure_to_connect_is_not_lost(monkeypatch):
    """Else the process would train alone."""
    import jax

    from utils.devices.jax_strategies import connect

    def fail(*settings, initialization_timeout):
        raise TypeError("not foreseen")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(TypeError, match="not foreseen"):
        connect("here:1", 2, 0)

"""What the trainer builds on in Keras and TensorFlow beyond their documentation, in one place.

A failure here says that a new version changed something that `utils/training` relies on.
"""

import inspect
import re

import keras
import pytest
from helpers import PROJECT

# Replaced or called by utils/training/trainer.py: owner -> {name: arguments that are given}
USED = {
    keras.Model: {
        "fit": (),
        "compile": ("optimizer", "jit_compile"),
        "get_metrics_result": (),
        "reset_metrics": (),
    },
    keras.callbacks.CallbackList: {
        "__init__": ("callbacks", "add_history", "model", "epochs", "steps", "verbose"),
        "on_train_batch_end": ("batch", "logs"),
        "on_epoch_end": ("epoch", "logs"),
    },
    keras.optimizers.Optimizer: {
        "build": ("variables",),
        "scale_loss": ("loss",),
        "apply_gradients": ("grads_and_vars",),
        "finalize_variable_values": ("var_list",),
        "_all_reduce_sum_gradients": ("grads_and_vars",),
        "_backend_reset_gradient_accumulators": (),
        "_backend_increment_gradient_accumulators": ("grads", "acc_grads"),
        "_update_model_variables_moving_average": ("trainable_variables",),
    },
    keras.callbacks.SwapEMAWeights: {"_swap_variables": ()},
}

# Names with an underscore in front that belong to a library: the only ones, where they are.
PRIVATE = {
    "_swap_variables": "utils/training/callbacks.py",
    "_in_multi_worker_mode": "utils/devices/strategy.py",
    "_id_in_cluster": "utils/devices/strategy.py",
    "_all_reduce_sum_gradients": "utils/training/trainer.py",
    "_accumulated_gradients": "utils/training/trainer.py",
    "_backend_reset_gradient_accumulators": "utils/training/trainer.py",
    "_backend_increment_gradient_accumulators": "utils/training/trainer.py",
    "_update_model_variables_moving_average": "utils/training/trainer.py",
}


@pytest.mark.parametrize("owner", USED, ids=lambda owner: owner.__name__)
def test_what_is_used_is_there(owner):
    for name, arguments in USED[owner].items():
        parameters = inspect.signature(getattr(owner, name)).parameters
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        assert open_ended or set(arguments) <= set(parameters), f"{owner.__name__}.{name}{tuple(parameters)}"


def test_a_model_has_what_the_trainer_reads():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", jit_compile=False)
    assert model.distribute_strategy is not None and model.jit_compile is False and model.run_eagerly is False
    callbacks = keras.callbacks.CallbackList([], add_history=True, model=model, epochs=1, steps=1, verbose=0)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"loss": 1.0})
    assert model.history.history == {"loss": [1.0]}


def test_no_other_private_name_is_used():
    found = {}
    for path in (
        PROJECT / "utils/training/trainer.py",
        PROJECT / "utils/training/callbacks.py",
        PROJECT / "utils/devices/strategy.py",
    ):
        for name in re.findall(r"[\w)\]]\.(_[a-z]\w*)|\"(_[a-z]\w+)\"", path.read_text()):
            found[name[0] or name[1]] = str(path.relative_to(PROJECT))
    assert found == PRIVATE


def test_a_strategy_of_several_workers_can_be_told():
    import tensorflow as tf

    assert hasattr(tf.distribute.MultiWorkerMirroredStrategy, "cluster_resolver")
    assert tf.distribute.get_strategy().extended._in_multi_worker_mode() is False

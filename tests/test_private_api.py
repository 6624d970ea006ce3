"""What the application builds on in its libraries beyond their documentation, in one place.

A failure here says that a new version of a library changed something that the application relies on.
"""

import ast
import inspect

import keras
import pytest
from helpers import PROJECT, tracked

# Replaced or called by utils/training: owner -> {name: arguments that are given}
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

# Every private name and private module of a library that the application uses, and the file that does.
PRIVATE = {
    "_accumulated_gradients": "utils/training/tensorflow_step.py",
    "_all_reduce_sum_gradients": "utils/training/tensorflow_step.py",
    "_backend_increment_gradient_accumulators": "utils/training/tensorflow_step.py",
    "_backend_reset_gradient_accumulators": "utils/training/tensorflow_step.py",
    "_get_variable_index": "utils/training/adam.py",
    "_id_in_cluster": "utils/devices/strategy.py",
    "_in_multi_worker_mode": "utils/devices/strategy.py",
    "_inbound_nodes": "models/encoders/deepest.py",
    "_keras_history": "models/fuse_batch_norm.py",
    "_momentums": "utils/training/adam.py",
    "_nodes_by_depth": "utils/training/recompute.py",
    "_outbound_nodes": "models/fuse_batch_norm.py",
    "_swap_variables": "utils/training/callbacks.py",
    "_update_model_variables_moving_average": "utils/training/tensorflow_step.py",
    "_velocities": "utils/training/adam.py",
    "tensorflow.python.framework.convert_to_constants": "utils/export/exporters.py",
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


def private_names(tree):
    """Private attributes and modules of libraries: what begins with an underscore and is not defined in the file."""
    stored = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | stored
    documented = {"_replace", "_asdict", "_fields", "_exit"}  # of named tuples, and of os
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            name = getattr(node.args[1], "value", None)
        elif isinstance(node, ast.ImportFrom) and (
            ".src" in node.module or node.module.startswith("tensorflow.python")
        ):
            yield node.module
        if (
            isinstance(name, str)
            and name.startswith("_")
            and not name.startswith("__")
            and name not in own | documented
        ):
            yield name
    # Replaced on a library's object: `optimizer._all_reduce_sum_gradients = ...`
    yield from (name for name in stored if name.startswith("_") and name in PRIVATE)


def test_no_other_private_name_is_used():
    found = {}
    for file in tracked("*.py"):
        if not file.startswith(("tests/", "benchmarks/", "docs/")):
            found |= dict.fromkeys(private_names(ast.parse((PROJECT / file).read_text())), file)
    assert found == PRIVATE


def test_a_layer_knows_its_neighbours():
    image = keras.Input((4, 4, 3))
    convolution = keras.layers.Conv2D(2, 3)
    norm = keras.layers.BatchNormalization()
    output = norm(convolution(image))
    assert output._keras_history.operation is norm
    assert [node.operation for node in convolution._outbound_nodes] == [norm]


def test_a_strategy_of_several_workers_can_be_told():
    import tensorflow as tf

    assert hasattr(tf.distribute.MultiWorkerMirroredStrategy, "cluster_resolver")
    assert tf.distribute.get_strategy().extended._in_multi_worker_mode() is False


def test_variables_of_a_graph_can_be_frozen():
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    assert callable(convert_variables_to_constants_v2)

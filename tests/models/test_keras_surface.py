"""What the application uses of Keras and TensorFlow beyond their documentation, in one place.

A failure here says that a new version changed something that the application relies on.
"""

import ast
import inspect
import re
import subprocess

import keras
import pytest
from helpers import PROJECT

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

# Names with an underscore in front that belong to a library, and the only file that uses each.
PRIVATE = {
    "_keras_history": "models/fuse_batch_norm.py",
    "_outbound_nodes": "models/fuse_batch_norm.py",
    "_swap_variables": "utils/training/callbacks.py",
    "_in_multi_worker_mode": "utils/devices/strategy.py",
    "_id_in_cluster": "utils/devices/strategy.py",
    "_all_reduce_sum_gradients": "utils/training/train_step.py",
    "_accumulated_gradients": "utils/training/train_step.py",
    "_backend_reset_gradient_accumulators": "utils/training/train_step.py",
    "_backend_increment_gradient_accumulators": "utils/training/train_step.py",
    "_update_model_variables_moving_average": "utils/training/train_step.py",
}
NAMED_TUPLES = {"_replace", "_asdict", "_fields"}  # public, in spite of the underscore
PRIVATE_NAME = re.compile(r"_[a-z]\w*")


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
    """The private names that a file uses, in attributes, imports and getattr; and those that it defines."""
    used, defined = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"
            (defined if is_own else used).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            used |= {*node.module.split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            used |= {str(part.value) for part in node.args if isinstance(part, ast.Constant)}  # getattr, hasattr
    return [{name for name in names if PRIVATE_NAME.fullmatch(name)} for names in (used, defined)]


def test_no_other_private_name_is_used():
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=True)
    trees = {
        name: ast.parse((PROJECT / name).read_text())
        for name in files.stdout.splitlines()
        if not name.startswith(("tests/", "benchmarks/", "docs/")) and (PROJECT / name).exists()
    }
    used, defined = {}, set()
    for path, tree in trees.items():
        names, own = private_names(tree)
        defined |= own
        for name in names:
            used.setdefault(name, set()).add(path)
    foreign = {name: paths for name, paths in used.items() if name not in defined | NAMED_TUPLES}
    assert foreign == {name: {path} for name, path in PRIVATE.items()}


def test_layers_know_their_neighbours():
    first, second = keras.layers.Dense(1), keras.layers.Dense(1)
    hidden = first(keras.Input((1,)))
    second(hidden)
    assert hidden._keras_history.operation is first and len(first._outbound_nodes) == 1


def test_a_strategy_of_several_workers_can_be_told():
    import tensorflow as tf

    assert hasattr(tf.distribute.MultiWorkerMirroredStrategy, "cluster_resolver")
    assert tf.distribute.get_strategy().extended._in_multi_worker_mode() is False

"""Compile a function with the backend: `tf.function`, or `jax.jit` with the variables as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from utils.devices.jax_devices import JaxDevices


def compiled(
    function: Callable,
    reads: Sequence[keras.Variable] = (),
    updates: Sequence[keras.Variable] = (),
    *,
    jit_compile: bool = False,
    devices: JaxDevices | None = None,
) -> Callable:
    """Return the function, compiled; it is traced once for each shape of its arguments.

    Args:
        function: takes arrays and returns arrays, or dicts and sequences of them.
        reads: the variables that it reads. TensorFlow finds them by itself.
        updates: the variables that it also assigns. Their old values are given up as the new ones are computed.
        jit_compile: compile with XLA; JAX always does.
        devices: where the variables lie; None: on the first device.

    >>> import numpy as np
    >>> total = keras.Variable(1.0)
    >>> add = compiled(lambda x: total.assign(total + x), updates=[total])
    >>> float(add(np.float32(2))), float(add(np.float32(3)))
    (3.0, 6.0)
    """
    if keras.backend.backend() == "jax":
        return compiled_with_jax(function, reads, updates, devices)
    import tensorflow as tf

    # Functions that JAX can trace need no AutoGraph, which rewrites every function on the way.
    return tf.function(function, reduce_retracing=True, jit_compile=jit_compile, autograph=False)


def compiled_with_jax(
    function: Callable,
    reads: Sequence[keras.Variable],
    updates: Sequence[keras.Variable],
    devices: JaxDevices | None,
) -> Callable:
    """See `compiled`. Keras looks variables up in a scope that holds traced values, and assigns them there."""
    import jax

    changed = {id(variable) for variable in updates}
    fixed = [variable for variable in reads if id(variable) not in changed]

    @partial(jax.jit, donate_argnums=0)
    def run(new: list[Any], old: list[Any], arguments: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        values = zip([*updates, *fixed], [*new, *old], strict=True)
        with keras.StatelessScope(state_mapping=list(values)) as scope:
            result = function(*arguments)
        found = [scope.get_current_value(variable) for variable in updates]
        if devices is not None:  # else XLA may leave the parts where they were computed
            found = [jax.lax.with_sharding_constraint(value, devices.replicated) for value in found]
        return result, found

    def call(*arguments: Any) -> Any:
        values = [[value_of(variable, devices) for variable in group] for group in (updates, fixed)]
        result, found = run(*values, arguments)
        for variable, value in zip(updates, found, strict=True):
            variable.assign(value)
        return result

    return call


def value_of(variable: keras.Variable, devices: JaxDevices | None) -> Any:
    """The array of a variable, where a step needs it."""
    return variable.value if devices is None else devices.put_variable(variable.value)

"""The update in one kernel is that of Keras."""

import keras
import numpy as np
import pytest

from utils.training import adam


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name, options", [("Adam", {"epsilon": 1e-3}), ("AdamW", {"weight_decay": 0.1})])
def test_weights_and_slots_are_those_of_keras(name, options, compiled):
    import tensorflow as tf

    def train(optimizer):
        rng = np.random.default_rng(0)
        weights = [
            keras.Variable(rng.random(shape, dtype=np.float32), name=f"w{len(shape)}") for shape in ((3, 2), (4,))
        ]
        optimizer.build(weights)
        apply = tf.function(optimizer.apply) if compiled else optimizer.apply
        for scale in (1, 10, 0.1):
            apply([tf.constant(scale * rng.standard_normal(weight.shape, dtype=np.float32)) for weight in weights])
        variables = [*weights, *optimizer.variables]
        return {variable.path.rpartition("/")[2]: keras.ops.convert_to_numpy(variable) for variable in variables}

    ours, theirs = (train(getattr(module, name)(0.1, **options)) for module in (adam, keras.optimizers))
    assert list(ours) == list(theirs)
    for path, value in theirs.items():
        # The kernel takes 1 - beta in float32, which for 0.999 is off by 5e-5.
        np.testing.assert_allclose(ours[path], value, rtol=5e-5, atol=1e-6, err_msg=path)

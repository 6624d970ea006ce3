"""The options of the optimizers that make them another framework's."""

import keras
import numpy as np
import pytest

from utils.config import load_config
from utils.training.optimizers import make_optimizer

GRADIENTS = np.array([[0.5, -2.0], [-0.1, 1.0], [1e-9, 0.3]], np.float32)  # of three steps


def torch_adam(weight, l2, epsilon, rate=0.1):
    """PyTorch's Adam with weight_decay, as its documentation states it, but with the epsilon added to the raw root."""
    first = second = 0
    for step, gradient in enumerate(GRADIENTS.astype(np.float64), 1):
        gradient = gradient + l2 * weight
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weight = weight - corrected * first / (np.sqrt(second) + epsilon)
    return weight


def torch_sgd(weight, l2, epsilon, rate=0.1):
    for gradient in GRADIENTS:
        weight = weight - rate * (gradient + l2 * weight)
    return weight


@pytest.mark.parametrize("name, by_hand", [("adam", torch_adam), ("sgd", torch_sgd)])
@pytest.mark.parametrize("l2, epsilon", [(0.0, 1e-7), (0.3, 1e-3), (0.3, 1e-8)])
def test_coupled_l2_and_epsilon(name, by_hand, l2, epsilon):
    options = [f"NAME={name}", f"L2={l2}", f"EPSILON={epsilon}", "MOMENTUM=0.0"]
    cfg = load_config([*(f"OPTIMIZER.{option}" for option in options), "HYPER_PARAMETERS.LEARNING_RATE=0.1"])
    optimizer, start = make_optimizer(cfg), np.array([1.0, -3.0], np.float32)
    weights = [keras.Variable(start, name="kernel"), keras.Variable(start, name="bias")]
    for gradient in GRADIENTS:
        optimizer.apply([keras.ops.array(gradient)] * 2, weights)
    for weight in weights:  # biases too
        np.testing.assert_allclose(weight.numpy(), by_hand(start, l2, epsilon), rtol=2e-5)

"""First weights of the networks, and the keys that make a normalisation another framework's."""

import keras
import numpy as np
import pytest

from models import build_model
from models.layers.batch_norm import BatchNorm
from models.layers.host_draws import DRAWS
from utils.config import load_config

TINY = ["INPUT.HEIGHT=32", "INPUT.WIDTH=32", "MODEL.FILTERS=[4,6,8]"]


@pytest.mark.parametrize(
    "overrides, total",
    [
        (["MODEL.TYPE=unet3plus_deepsup_cgm"], 1060.247803),
        (["MODEL.TYPE=unet"], 685.828186),
        (["MODEL.TYPE=unet++", "MODEL.DECODER.UPSAMPLE=bilinear"], 830.781494),
        (["MODEL.TYPE=conv_deconv"], 252.514587),
    ],
)
def test_the_defaults_start_with_the_weights_they_always_had(overrides, total):
    keras.utils.set_random_seed(5)
    weights = build_model(load_config([*TINY, *overrides])).get_weights()
    assert weights[0].ravel()[0] == pytest.approx(-0.2322233)
    assert sum(np.abs(weight).sum() for weight in weights) == pytest.approx(total)


def convolutions(model):
    return [layer for layer in model.layers if hasattr(layer, "kernel")]


def test_torch_uniform_draws_kernels_and_biases_from_one_interval():
    options = ["MODEL.TYPE=unet", "MODEL.FILTERS=[8,16,32]", "MODEL.CONV_BIAS=True", "MODEL.INITIALIZER=torch_uniform"]
    layers = convolutions(build_model(load_config([*TINY, *options])))
    fan_ins = {"encoder1_1_conv": 27, "encoder4_2_conv": 32 * 9, "decoder2_upsample": 16 * 4, "mask_logits": 8 * 9}
    limits = {layer.name: 1 / np.sqrt(np.prod(layer.kernel.shape[:-1])) for layer in layers}
    for name, fan_in in fan_ins.items():
        assert limits[name] == pytest.approx(fan_in**-0.5)
    for layer in layers:
        kernel, bias = layer.get_weights()
        assert 0.95 * limits[layer.name] < np.abs(kernel).max() <= limits[layer.name]
        assert 0 < np.abs(bias).max() <= limits[layer.name]
    assert len({float(layer.bias[0]) for layer in layers}) == len(layers)


def test_the_head_may_start_otherwise():
    options = ["MODEL.TYPE=unet", "MODEL.INITIALIZER=normal", "MODEL.HEAD.INITIALIZER=glorot_uniform"]
    model = build_model(load_config([*TINY, *options, "MODEL.FILTERS=[16,32,64]"]))
    for layer in convolutions(model):
        kernel = np.asarray(layer.kernel)
        if layer.name == "mask_logits":
            assert np.abs(kernel).max() <= np.sqrt(6 / (9 * (16 + 2)))
            assert kernel.std() > 0.05
        else:
            assert kernel.std() == pytest.approx(0.02, rel=0.1)
        assert layer.bias is None or not np.asarray(layer.bias).any()


def test_epsilon_and_place_of_the_normalisation():
    options = ["MODEL.TYPE=unet", "MODEL.DECODER.NORM_EPSILON=1e-5", "MODEL.DECODER.NORM=encoder"]
    model = build_model(load_config([*TINY, *options]))
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    assert [layer.name for layer in norms] == [f"encoder{stride}_{n}_norm" for stride in (1, 2, 4) for n in (1, 2)]
    assert {layer.epsilon for layer in norms} == {1e-5}
    # So small a variance that the epsilon counts.
    norm = norms[0]
    norm.set_weights([np.ones(4), np.zeros(4), np.zeros(4), np.full(4, 1e-4)])
    np.testing.assert_allclose(norm(np.full((1, 2, 2, 4), 0.01)), 0.01 / np.sqrt(1.1e-4), rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 123456789])
@pytest.mark.parametrize("name", DRAWS)
def test_numbers_drawn_on_the_host_are_those_of_tensorflow(name, seed):
    """Of 23 numbers, not a whole number of fours; and of many, some of which are drawn several times."""
    for shape in ((23,), (3, 3, 50, 60)):
        expected = np.asarray(getattr(keras.random, name)(shape, -0.3, 0.7, seed=seed))
        np.testing.assert_allclose(DRAWS[name](shape, -0.3, 0.7, seed=seed), expected, atol=3e-6)

"""Networks against the public code they come from, under the same weights: `tests/references/README.md`."""

import zlib
from pathlib import Path

import keras
import numpy as np
import pytest

from models import build_model
from utils.config import load_config

FOLDER = Path(__file__).parents[1] / "references"


def draw(layer, variable, shape):
    """Standard normal numbers that belong to a name."""
    return np.random.default_rng(zlib.crc32(f"{layer}/{variable}".encode())).standard_normal(shape, np.float32)


def inputs_of(layer):
    """How many numbers one output of a layer is the weighted sum of, for the scale of its kernel."""
    shape = layer.kernel.shape
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return np.prod(shape) / shape[2] / 4
    return np.prod(shape[:2] if isinstance(layer, keras.layers.DepthwiseConv2D) else shape[:-1])


def fill(layer, epsilon):
    """Set the weights of one layer by its name.

    Args:
        epsilon: what the original adds to a variance, None if it is what the layer adds.
    """
    name = layer.name
    if isinstance(layer, keras.layers.BatchNormalization):
        size = layer.gamma.shape
        layer.gamma.assign(1 + 0.1 * draw(name, "gamma", size))
        layer.beta.assign(0.1 * draw(name, "beta", size))
        layer.moving_mean.assign(0.1 * draw(name, "moving_mean", size))
        shift = 0 if epsilon is None else epsilon - layer.epsilon
        layer.moving_variance.assign(np.exp(0.1 * draw(name, "moving_variance", size)) + shift)
        return
    kernel = draw(name, "kernel", layer.kernel.shape)
    layer.kernel.assign(kernel * np.sqrt(2 / inputs_of(layer), dtype="float32"))
    if layer.bias is not None:
        layer.bias.assign(0.1 * draw(name, "bias", layer.bias.shape))


def fill_model(model, epsilon=None):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            fill_model(layer, epsilon)
        elif layer.weights:
            fill(layer, epsilon)


def sample(values):
    values = keras.ops.convert_to_numpy(values)
    positions = np.random.default_rng(2).integers(values.size, size=24)
    return np.concatenate([[values.mean(), values.std()], values.ravel()[positions]])


def logits(model, image):
    """What each mask output is before its sigmoid or softmax."""
    names = [name for name in model.output if name != "presence"]
    kind = "sigmoid" if model.output["mask"].shape[-1] == 1 else "softmax"
    tensors = {name: model.get_layer(f"{name}_{kind}").input for name in names}
    return keras.Model(model.input, tensors)(image)


KIT = [
    "MODEL.DECODER.UPSAMPLE_KERNEL=4",
    "MODEL.DECODER.UPSAMPLE_NORM=True",
    "MODEL.DECODER.CONVS=1",
    "OUTPUT.CLASSES=1",
]
ROWS = ["MODEL.TYPE=unet++", "MODEL.DECODER.FILTERS=[16,256,128,64,32]"]
PYTORCH = 1e-5  # what it adds to the variance in a normalisation
B0_DOWN = "[block2b_expand_activation,block3b_expand_activation,block5a_expand_activation]"
RESNET_DOWN = "[conv2_block1_out,conv3_block1_out,conv4_block1_out]"
CONCAT_ONLY = ["MODEL.DECODER.UPSAMPLE_KERNEL=3", "MODEL.DECODER.UPSAMPLE_NORM=True", "MODEL.DECODER.CONVS=0"]
CONCAT_ONLY += ["MODEL.HEAD.TRANSPOSE=True", "MODEL.TYPE=unet"]
SWISH = ["MODEL.DECODER.ACTIVATION=swish", "MODEL.DECODER.DROPOUT=0.2", "MODEL.DECODER.FILTERS=[1024,512,256,128]"]


def on(backbone):
    return [f"MODEL.BACKBONE.TYPE={backbone}"]


def row(system, key, side, overrides, epsilon=None, slow=False):
    """Network `key` of a file, the height and width of the image, and the settings that make it here."""
    marks = [pytest.mark.slow] if slow else []
    return pytest.param(system, key, side, overrides, epsilon, id=f"{system}-{key}", marks=marks)


CGM = ["MODEL.TYPE=unet3plus_deepsup_cgm", "OUTPUT.CLASSES=1"]
AUTHORS = ["MODEL.CONV_BIAS=True", "MODEL.DECODER.UPSAMPLE_KERNEL=4", "MODEL.DECODER.NORM=encoder", "OUTPUT.CLASSES=1"]
LGG = ["MODEL.TYPE=unet", "MODEL.FILTERS=[16,32,64,128,256]", "MODEL.HEAD.KERNEL=1", "OUTPUT.CLASSES=1"]
NEAREST = ["MODEL.TYPE=unet", "MODEL.DECODER.UPSAMPLE=nearest", "OUTPUT.CLASSES=1"]
RESNET_ROWS = [*ROWS, *KIT, *on("resnet50"), f"MODEL.BACKBONE.DOWN_LAYERS={RESNET_DOWN}"]
B0_ROWS = [*ROWS, *KIT, *on("efficientnetb0")]
PETS = [*CONCAT_ONLY, "OUTPUT.CLASSES=3", "MODEL.DECODER.FILTERS=[512,256,128,64]", *on("mobilenetv2")]
MAPPING = [*CONCAT_ONLY, *SWISH, "OUTPUT.CLASSES=1", *on("efficientnetb4")]
# Slow are those whose parts nearly all occur in another row.
NETWORKS = [
    row("unet3plus_port", "unet3plus", 32, ["MODEL.TYPE=unet3plus"], slow=True),
    row("unet3plus_port", "unet3plus_deepsup", 32, ["MODEL.TYPE=unet3plus_deepsup"], slow=True),
    row("unet3plus_port", "unet3plus_deepsup_cgm", 32, CGM),
    row("unet3plus_authors", "unet3plus", 32, ["MODEL.TYPE=unet3plus", "OUTPUT.CLASSES=1"], PYTORCH, slow=True),
    row("unet3plus_authors", "unet3plus_deepsup_cgm", 32, CGM, PYTORCH),
    row("unet3plus_authors", "unet", 32, ["MODEL.TYPE=unet", *AUTHORS], PYTORCH, slow=True),
    row("lgg", "unet", 32, LGG, PYTORCH),
    row("tpu_kit", "unet_efficientnetb0", 64, ["MODEL.TYPE=unet", *KIT, *on("efficientnetb0")]),
    row("tpu_kit", "unet_resnet50_upsampling", 64, [*NEAREST, *on("resnet50")], slow=True),
    row("tpu_kit", "unetpp_resnet50", 64, RESNET_ROWS),
    row("tpu_kit", "unetpp_efficientnetb0", 64, [*B0_ROWS, f"MODEL.BACKBONE.DOWN_LAYERS={B0_DOWN}"], slow=True),
    row("tpu_kit", "unetpp_efficientnetb0_four_skips", 64, B0_ROWS, slow=True),
    row("pets", "conv_deconv", 128, ["MODEL.TYPE=conv_deconv", "OUTPUT.CLASSES=3"]),
    row("pets", "unet_mobilenetv2", 128, PETS),
    row("mapping", "unet_efficientnetb4", 100, MAPPING, slow=True),
]


def expected_of(system, key):
    with np.load(FOLDER / f"{system}.npz") as file:
        return {name.removeprefix(f"{key}/"): file[name] for name in file if name.startswith(f"{key}/")}


def compare(model, side, expected):
    """Outputs before the last activation: mean, deviation and 24 values of each; whether the CGM sees the class."""
    image = np.random.default_rng(1).random((1, side, side, 3), np.float32)
    if "presence" in expected:
        np.testing.assert_array_equal(model(image)["presence"] > 0.5, expected.pop("presence"))
    found = logits(model, image)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(sample(found[name]), values, rtol=0, atol=1e-5 * np.abs(values).max(), err_msg=name)


@pytest.mark.parametrize("system, key, side, overrides, epsilon", NETWORKS)
def test_networks(system, key, side, overrides, epsilon):
    expected = expected_of(system, key)
    model = build_model(load_config(overrides), size=(side, side))
    trained = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    # PyTorch counts no running statistics as parameters.
    assert (model.count_params() if epsilon is None else trained) == expected.pop("parameters")
    fill_model(model, epsilon)
    compare(model, side, expected)


@pytest.mark.slow
def test_unetplusplus_of_the_authors():
    expected = expected_of("unet3plus_authors", "unetplusplus")
    heads = ["MODEL.DEEP_SUPERVISION=True", "MODEL.HEAD.KERNEL=1"]
    model = build_model(load_config(["MODEL.TYPE=unet++", *heads, *AUTHORS]), size=(32, 32))
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == expected["parameters"]
    fill_model(model, PYTORCH)
    found = logits(model, np.random.default_rng(1).random((1, 32, 32, 3), np.float32))
    for name, values in (("mask", found["mask"]), ("mean", sum(found.values()) / 4)):  # their output is the mean
        np.testing.assert_allclose(sample(values), expected[name], rtol=0, atol=1e-5 * np.abs(expected[name]).max())


def test_classifier():
    expected = expected_of("tpu_kit", "classifier_efficientnetb0")
    overrides = ["MODEL.TYPE=classifier", "OUTPUT.CLASSES=5", "MODEL.CLASSIFIER_ACTIVATION=sigmoid"]
    model = build_model(load_config([*overrides, *on("efficientnetb0")]), size=(64, 64))
    assert model.count_params() == expected["parameters"]
    fill_model(model)
    found = keras.ops.convert_to_numpy(model(np.random.default_rng(1).random((1, 64, 64, 3), np.float32))["label"])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-expected["label"][None])), atol=1e-5)

"""Sizes, shapes and behaviour of the models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import model_types
from hypothesis import given, settings
from hypothesis import strategies as st

from models import MODEL_TYPES, build_model, inference_model
from models.fuse_batch_norm import fuse_batch_norm
from models.heads import PairSoftmax, PresenceGate
from models.layers import winograd
from models.layers.aligned_upsampling import AlignedUpsampling2D
from models.layers.batch_norm import BatchNorm
from models.layers.convolution import Conv2D
from models.layers.match_size import MatchSize
from models.layers.upsample_conv import UpsampleConv2D
from utils.config import load_config

SMALL = ["INPUT.HEIGHT=32", "INPUT.WIDTH=48", "MODEL.FILTERS=[4,6,8,10,12]"]


def small_model(*overrides):
    return build_model(load_config([*SMALL, *overrides]))


@pytest.mark.parametrize(
    "model_type, classes, parameters",
    [
        ("unet3plus", 2, 26_987_714),
        pytest.param("unet3plus", 1, 26_984_833, marks=pytest.mark.slow),
        pytest.param("unet3plus_deepsup", 2, 27_023_434, marks=pytest.mark.slow),
        ("unet3plus_deepsup_cgm", 1, 27_004_743),
    ],
)
def test_parameter_counts(model_type, classes, parameters):
    model = build_model(load_config([f"MODEL.TYPE={model_type}", f"OUTPUT.CLASSES={classes}"]))
    assert model.count_params() == parameters


@pytest.mark.parametrize("classes", [1, pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("model_type", model_types(name for name in MODEL_TYPES if name != "classifier"))
def test_outputs(model_type, classes):
    filters = ["MODEL.FILTERS=[4,6,8]"] if model_type == "conv_deconv" else []
    model = small_model(f"MODEL.TYPE={model_type}", f"OUTPUT.CLASSES={classes}", *filters)
    images = np.random.default_rng(0).random((2, 32, 48, 3), dtype=np.float32)
    outputs = model(images)
    row = MODEL_TYPES[model_type]
    names = {"mask"}
    if row.DEEP_SUPERVISION:
        names |= {f"mask_stride{stride}" for stride in (2, 4, 8, 16)}
    if row.CGM:
        names |= {"presence"}
        assert outputs["presence"].shape == (2, max(classes - 1, 1))
    assert set(outputs) == names
    for name in names:
        values = keras.ops.convert_to_numpy(outputs[name])
        assert values.dtype == np.float32 and values.min() >= 0 and values.max() <= 1
        if name != "presence":
            assert values.shape == (2, 32, 48, classes)
            if classes > 1:
                np.testing.assert_allclose(values.sum(-1), 1, atol=1e-5)


def test_inference_model_is_the_mask_alone():
    model = small_model("MODEL.TYPE=unet3plus_deepsup_cgm")
    images = np.random.default_rng(0).random((2, 32, 48, 3), dtype=np.float32)
    inference = inference_model(model)
    np.testing.assert_array_equal(inference(images), model(images)["mask"])
    assert not any("mask_stride" in layer.name for layer in inference.layers)


def test_flags_override_the_type():
    model = small_model("MODEL.TYPE=unet3plus", "MODEL.DEEP_SUPERVISION=True", "MODEL.CGM=True")
    assert {"mask", "mask_stride16", "presence"} <= set(model.output)
    assert set(small_model("MODEL.TYPE=unet3plus_deepsup_cgm", "MODEL.CGM=False").output) == {
        "mask",
        "mask_stride2",
        "mask_stride4",
        "mask_stride8",
        "mask_stride16",
    }


@pytest.mark.parametrize(
    "decoder, height, width", [("unet3plus", 33, 47), ("unet3plus", 31, 32), ("unet3plus", 17, 50), ("unet", 70, 53)]
)
def test_odd_sizes(decoder, height, width):
    model = build_model(
        load_config(
            [
                f"INPUT.HEIGHT={height}",
                f"INPUT.WIDTH={width}",
                "MODEL.FILTERS=[4,6,8,10,12]",
                "MODEL.DEEP_SUPERVISION=True",
                f"MODEL.TYPE={decoder}",
            ]
        )
    )
    outputs = model(np.zeros((1, height, width, 3), np.float32))
    assert {tuple(output.shape) for output in outputs.values()} == {(1, height, width, 2)}


def test_kernels_are_regularised_and_biases_are_not():
    model = small_model("MODEL.L2=0.01")
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel")]
    expected = 0.01 * sum(float(keras.ops.sum(keras.ops.square(v))) for v in kernels)
    assert len(model.losses) == len(kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)
    assert not small_model("MODEL.L2=0").losses


def test_weights_round_trip(tmp_path):
    model, other = small_model("MODEL.TYPE=unet3plus_deepsup_cgm"), small_model("MODEL.TYPE=unet3plus_deepsup_cgm")
    images = np.random.default_rng(0).random((2, 32, 48, 3), dtype=np.float32)
    model.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    for name, value in model(images).items():
        np.testing.assert_array_equal(value, other(images)[name])


def test_mixed_precision_ends_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = small_model("MODEL.TYPE=unet3plus_deepsup_cgm")
    outputs = model(np.zeros((1, 32, 48, 3), np.float32))
    assert {keras.backend.standardize_dtype(output.dtype) for output in outputs.values()} == {"float32"}


def test_presence_is_a_probability_of_each_pair():
    logits = np.array([[0.0, 0.0, 2.0, 1.0]], np.float32)
    np.testing.assert_allclose(PairSoftmax()(logits), [[0.5, 1 / (1 + np.e)]], rtol=1e-6)


def test_gate_moves_an_absent_class_to_the_background():
    mask = np.array([[[[0.2, 0.5, 0.3]]]], np.float32)
    gated = PresenceGate()([mask, np.array([[0.4, 0.9]], np.float32)])
    np.testing.assert_allclose(gated, [[[[0.7, 0.0, 0.3]]]], atol=1e-7)
    single = PresenceGate()([mask[..., :1], np.array([[0.4]], np.float32)])
    np.testing.assert_allclose(single, [[[[0.0]]]])


def test_gate_of_logits_leaves_the_background_alone():
    gate = PresenceGate.from_config(PresenceGate("logit").get_config())
    logits = np.array([[[[-1.0, 2.0, 3.0]]]], np.float32)
    np.testing.assert_array_equal(gate([logits, np.array([[0.4, 0.9]], np.float32)]), [[[[-1.0, 0.0, 3.0]]]])


@pytest.mark.parametrize("where, absent", [("probability", 0.0), ("logit", 0.5)])
def test_an_absent_class(where, absent):
    model = small_model("MODEL.TYPE=unet3plus_deepsup_cgm", f"MODEL.CGM_GATE={where}", "OUTPUT.CLASSES=1")
    kernel, bias = model.get_layer("presence_logits").weights
    kernel.assign(0 * kernel)
    images = np.random.default_rng(0).random((1, 32, 48, 3), dtype=np.float32)
    bias.assign([1.0, 0.0])
    outputs = model(images)
    assert float(outputs["presence"][0, 0]) < 0.5
    for name in ("mask", "mask_stride16"):
        np.testing.assert_array_equal(outputs[name], np.full((1, 32, 48, 1), absent))
    bias.assign([0.0, 1.0])
    assert np.ptp(model(images)["mask"]) > 0


@pytest.mark.parametrize("wanted", [(3, 4), (5, 7), (3, 7)])
def test_match_size_crops_and_repeats(wanted):
    x = np.arange(20, dtype=np.float32).reshape(1, 4, 5, 1)
    reference = np.zeros((1, *wanted, 2), np.float32)
    rows, columns = np.minimum(np.arange(wanted[0]), 3), np.minimum(np.arange(wanted[1]), 4)
    np.testing.assert_array_equal(MatchSize()([x, reference]), x[:, rows][:, :, columns])


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_keras(training, trainable):
    rng = np.random.default_rng(0)
    x = tf.Variable(rng.normal(3, 2, (2, 5, 7, 4)).astype(np.float32))
    results = []
    for layer in (BatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)):
        layer.build(x.shape)
        layer.set_weights([np.linspace(0.5, 2, 4), np.arange(4), np.full(4, 2.5), np.full(4, 3.0)])
        layer.trainable = trainable
        with tf.GradientTape() as tape:
            y = layer(x, training=training)
            total = tf.reduce_sum(y**3)
        gradients = tape.gradient(total, [x, *(v.value for v in layer.trainable_variables)])
        results.append([y, *gradients, *layer.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


def test_batch_norm_in_mixed_precision_keeps_float32_statistics():
    layer = BatchNorm(dtype="mixed_float16")
    y = layer(np.random.default_rng(0).normal(3, 2, (2, 5, 7, 4)), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.variables} == {"float32"}
    assert np.isfinite(y).all()


@settings(max_examples=40, deadline=None)
@given(
    scale=st.sampled_from([2, 3, 4, 8, 16]),
    kernel_size=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 5),
    filters=st.integers(1, 4),
    bias=st.booleans(),
)
def test_upsample_conv_equals_the_two_layers(scale, kernel_size, height, width, channels, filters, bias):
    """Value and gradients, in float64, through the fast form whatever it costs."""
    rng = np.random.default_rng(scale * 100 + height * 10 + width)
    ours = UpsampleConv2D(filters, scale, kernel_size, use_bias=bias, dtype="float64")
    ours._pays = lambda *sizes: True
    x = tf.Variable(rng.normal(size=(2, height, width, channels)))
    direction = rng.normal(size=(2, height * scale, width * scale, filters))
    ours.build(x.shape)
    plain = keras.Sequential(
        [
            keras.layers.UpSampling2D(scale, interpolation="bilinear", dtype="float64"),
            keras.layers.Conv2D(filters, kernel_size, padding="same", use_bias=bias, dtype="float64"),
        ]
    )
    plain.build(x.shape)
    plain.layers[1].set_weights(ours.get_weights())
    results = []
    for layer in (ours, plain):
        with tf.GradientTape() as tape:
            y = layer(x)
            total = tf.reduce_sum(y * direction)
        results.append([y, *tape.gradient(total, [x, *(v.value for v in layer.trainable_variables)])])
    for one, other in zip(*results, strict=True):
        # UpSampling2D itself rounds to float32.
        np.testing.assert_allclose(one, other, atol=2e-5 * scale * scale)


@pytest.mark.parametrize("xla", [False, True])
def test_upsample_conv_with_sizes_known_at_run_time(xla):
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 6)).astype(np.float32)
    layer = UpsampleConv2D(4, 4)
    static = layer(x)
    shape = x.shape if xla else (None, None, None, 6)
    compiled = tf.function(layer, jit_compile=xla, input_signature=[tf.TensorSpec(shape, tf.float32)])
    np.testing.assert_allclose(compiled(x), static, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"strides": 2}, "strides"),
        ({"padding": "valid"}, "padding"),
        ({"dilation_rate": 2}, "dilation_rate"),
        ({"kernel_size": (3, 5)}, "kernel_size"),
        ({"kernel_size": 2}, "odd"),
        ({"scale": 1.5}, "scale=1.5"),
        ({"scale": 0}, "scale=0"),
        ({"filters": 0}, "filters=0"),
    ],
)
def test_upsample_conv_refuses_what_it_does_not_do(arguments, words):
    with pytest.raises(ValueError, match=words):
        UpsampleConv2D(**{"filters": 4, "scale": 2, **arguments})


def doubled(line):
    """Twice as many places from the first of a line to its last."""
    return np.linspace(0, len(line) - 1, 2 * len(line))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize(("height", "width"), [(5, 4), (1, 7)])
def test_aligned_upsampling_interpolates_between_the_corners(backend, height, width, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    expected = x
    for axis in (1, 2):
        expected = np.apply_along_axis(
            lambda line: np.interp(doubled(line), np.arange(len(line)), line), axis, expected
        )
    layer = AlignedUpsampling2D()
    monkeypatch.setattr("keras.backend.backend", lambda: backend)  # the way that the layer takes on it
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)
    if backend == "tensorflow":
        compiled = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
        np.testing.assert_allclose(compiled(x), expected, atol=1e-6)


def test_upsample_conv_takes_maps_alone():
    with pytest.raises(ValueError, match="expected ndim=4"):
        UpsampleConv2D(4, 2)(np.zeros((2, 5, 6), np.float32))


def test_upsample_conv_is_serialisable():
    layer = UpsampleConv2D(4, 2, kernel_regularizer="l2", fast=False)
    assert UpsampleConv2D.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("size", [pytest.param((32, 48), marks=pytest.mark.slow), (33, 47)])
def test_fast_and_plain_upsampling_share_weights_and_predictions(size, tmp_path):
    common = [
        "MODEL.TYPE=unet3plus_deepsup",
        "MODEL.FILTERS=[8,16,24,32,64]",
        f"INPUT.HEIGHT={size[0]}",
        f"INPUT.WIDTH={size[1]}",
    ]
    fast = build_model(load_config(common))
    plain = build_model(load_config([*common, "MODEL.EXACT_FAST_UPSAMPLE=False"]))
    fast.save_weights(tmp_path / "fast.weights.h5")
    plain.load_weights(tmp_path / "fast.weights.h5")
    images = np.random.default_rng(0).random((2, *size, 3), dtype=np.float32)
    for name, value in fast(images).items():
        np.testing.assert_allclose(value, plain(images)[name], atol=1e-4)


@pytest.mark.slow
def test_full_size_unet3plus_makes_a_training_step():
    """320x320, batch 1, with the default loss: seconds on two cores, 3 to 4 GB."""
    from losses import build_metrics
    from losses.supervision import build_training_loss
    from utils.training.optimizers import make_optimizer
    from utils.training.trainer import Trainer

    cfg = load_config()
    trainer = Trainer(build_model(cfg), build_training_loss(cfg), {"mask": build_metrics(cfg)})
    trainer.compile(optimizer=make_optimizer(cfg), jit_compile=False)
    images = np.random.default_rng(0).random((1, 320, 320, 3), dtype=np.float32)
    masks = (images[..., :1] > 0.5).astype(np.uint8)
    losses = [float(trainer.train_on((images, masks))["loss"]) for _ in range(2)]
    assert np.isfinite(losses).all() and losses[0] != losses[1]


@settings(max_examples=6, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 17), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)
)
def test_winograd_equals_the_plain_convolution(batch, height, width, channels, filters, bands):
    rng = np.random.default_rng(bands)
    x, upstream = rng.normal(size=(batch, height, width, channels)), rng.normal(size=(batch, height, width, filters))
    kernel = rng.normal(size=(3, 3, channels, filters))
    x, kernel, upstream = (tf.Variable(value) for value in (x, kernel, upstream))
    with tf.GradientTape() as tape:
        expected = tf.nn.conv2d(x, kernel, 1, "SAME")
    expected_gradients = tape.gradient(expected, [x, kernel], upstream)
    with pytest.MonkeyPatch.context() as patch, tf.GradientTape() as tape:
        patch.setattr(winograd, "BAND_BYTES", height * width * max(channels, filters) * 4 / bands)
        y = winograd.conv2d(x, kernel)
    gradients = tape.gradient(y, [x, kernel], upstream)
    for ours, theirs in zip([y, *gradients], [expected, *expected_gradients], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize(
    "shape, used",
    [
        ((81, 80, 128), True),
        ((79, 80, 128), False),
        ((64, 64, 256), True),
        ((81, 80, 32), False),
        ((None, None, 256), False),
    ],
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_convolution_by_winograd_equals_the_library(shape, used, jit_compile):
    layer, plain = Conv2D(256, 3, padding="same"), keras.layers.Conv2D(256, 3, padding="same")
    x = np.random.default_rng(0).normal(size=(2, *(64 if size is None else size for size in shape))).astype("float32")
    assert layer.winograd_pays((None, *shape)) is used
    for other in (Conv2D(256, 3, 2, padding="same"), Conv2D(256, 3, padding="same", winograd=False)):
        assert other.winograd_pays((None, *shape)) is False
    assert Conv2D(256, 3, padding="same", dtype="mixed_bfloat16").winograd_pays((None, *shape)) is False
    layer.build((None, *shape)), plain.build((None, *shape))
    plain.set_weights(layer.get_weights())

    @tf.function(input_signature=[tf.TensorSpec((None, *shape))], jit_compile=jit_compile)
    def both(x):
        results = []
        for model in (layer, plain):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = model(x)
                loss = tf.reduce_sum(tf.sin(y))
            results.append([y, *tape.gradient(loss, [x, model.kernel.value, model.bias.value])])
        return results

    for ours, theirs in zip(*both(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(
    "overrides",
    [
        ["MODEL.TYPE=unet3plus_deepsup_cgm"],
        ["MODEL.TYPE=unet++", "MODEL.DECODER.UPSAMPLE=bilinear"],
        ["MODEL.TYPE=unet", "MODEL.DECODER.UPSAMPLE_NORM=True", "INPUT.HEIGHT=33"],
        ["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2"],
        ["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=resnet50", "MODEL.BACKBONE.TRAINABLE=False"],
        ["MODEL.TYPE=unet3plus", "MODEL.BACKBONE.TYPE=efficientnetb0"],
        ["MODEL.TYPE=classifier"],
        ["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,6,8]"],
    ],
)
def test_fusing_leaves_no_normalisation_and_the_same_output(overrides):
    model = small_model(*overrides)
    rng = np.random.default_rng(0)
    for layer in normalisations(model):
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights(
            [gamma * rng.uniform(0.8, 1.2, gamma.shape), beta + 0.1, mean + rng.normal(0, 0.1, mean.shape), variance]
        )
    before = [weight.copy() for weight in model.get_weights()]
    plain, fused = inference_model(model), inference_model(model, fuse_batch_norm=True)
    assert not normalisations(fused)
    images = rng.random((2, *plain.input_shape[1:]), dtype=np.float32)
    expected = keras.ops.convert_to_numpy(plain(images))
    np.testing.assert_allclose(fused(images), expected, atol=1e-4)
    assert expected.std() > 1e-3
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_fusing_keeps_a_normalisation_that_no_convolution_can_do():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    y = keras.layers.BatchNormalization()(x)  # after an activation
    shared = keras.layers.Conv2D(4, 1)(y)
    out = keras.layers.Add()([keras.layers.BatchNormalization()(shared), shared])  # the convolution is needed as it is
    model = keras.Model(image, out)
    fused = fuse_batch_norm(model)
    assert len(normalisations(fused)) == 2
    images = np.random.default_rng(0).random((1, 8, 8, 3), dtype=np.float32)
    np.testing.assert_allclose(fused(images), model(images), atol=1e-6)


def normalisations(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]

"""Cases of gpu.py in Keras, on JAX or TensorFlow: the training step of train.py, the forward pass of predict.py.

The network of plain layers is trained by the same step, so that only the layers differ.
"""

import os
from typing import Any

from gpu_case import CLASSES, Case, Engine, no_device, process_gib, random_batch
from side_by_side import plain_unet, plain_unet3plus

# Keras's name of a precision of matrix products and convolutions in float32
MATMUL = {"float32": "float32", "tf32": "tensorfloat32"}
# network -> overrides of the config
NETWORKS = {
    "unet3plus_vgg19": ("MODEL.TYPE=unet3plus", "MODEL.BACKBONE.TYPE=vgg19"),
    "unet3plus_vgg16": ("MODEL.TYPE=unet3plus", "MODEL.BACKBONE.TYPE=vgg16"),
    "unet3plus": ("MODEL.TYPE=unet3plus",),
    "unet": ("MODEL.TYPE=unet", "MODEL.HEAD.KERNEL=1", "MODEL.L2=0"),
    "unet++_efficientnetb0": ("MODEL.TYPE=unet++", "MODEL.BACKBONE.TYPE=efficientnetb0"),
    "unet++_resnet50": ("MODEL.TYPE=unet++", "MODEL.BACKBONE.TYPE=resnet50"),
}


def overrides(case: Case) -> list[str]:
    """The command line of train.py that the case stands for."""
    narrow = ["MODEL.DECODER.FILTERS=[4,4,4,4,4]"] if case.toy and "++" in case.network else []
    return [
        *NETWORKS[case.network],
        *narrow,
        f"MODEL.FILTERS={list(case.widths)}",
        f"INPUT.HEIGHT={case.size}",
        f"INPUT.WIDTH={case.size}",
        f"OUTPUT.CLASSES={CLASSES}",
        f"HYPER_PARAMETERS.BATCH_SIZE={case.batch}",
        f"OPTIMIZATION.AMP={'bfloat16' if case.precision == 'bfloat16' else False}",
        "OPTIMIZATION.XLA=True",
        f"loss={'unet3plus_hybrid' if 'hybrid' in case.implementation else 'cce'}",
        "STRATEGY.NAME=single",
        f"BACKEND={case.library}",
        "VERBOSE=0",
    ]


def make_engine(case: Case) -> Engine:
    """See `gpu_case.Engine`."""
    os.environ["KERAS_BACKEND"] = case.library
    if case.library == "jax" and case.precision in MATMUL:
        os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = MATMUL[case.precision]
    device, peak_gib = device_of(case)
    from utils.config import load_config
    from utils.devices.strategy import make_strategy

    cfg = load_config(overrides(case))
    strategy = make_strategy(cfg)  # imports Keras without what it does not need
    from utils.inference.forward import make_forward
    from utils.training.trainer import build_trainer

    images, masks = random_batch(case)
    with strategy.scope():
        network = build(case, cfg)
        if case.mode == "inference":
            forward = make_forward(network, strategy, jit_compile=True)
            batch = on_device(case, strategy, [images])
            return Engine(
                lambda: forward(batch[0]), wait(case), peak_gib, difference(case, cfg, network, forward, batch), device
            )
        trainer = build_trainer(cfg, network, strategy)
    batch = on_device(case, strategy, [images, masks])
    return Engine(lambda: trainer.train_on(batch), wait(case), peak_gib, None, device)


def device_of(case: Case) -> tuple[str, Any]:
    """(name of the device, function that returns the peak of its memory)."""
    if case.library == "jax":
        import jax

        device = jax.local_devices()[0]
        if device.platform == "cpu":
            if not case.toy:
                raise no_device("JAX")
            return device.device_kind, process_gib
        return device.device_kind, lambda: device.memory_stats()["peak_bytes_in_use"] / 2**30
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(case.precision != "float32")
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        if not case.toy:
            raise no_device("TensorFlow")
        return "cpu", process_gib
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return name, lambda: tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30


def build(case: Case, cfg: Any) -> Any:
    """The network, image -> {"mask": probabilities}; new weights, the same in every process."""
    import keras

    from models import build_model

    if case.implementation != "plain layers":
        return build_model(cfg, size=(case.size, case.size))
    kind, _, vgg = case.network.partition("_")
    if kind == "unet":
        plain = plain_unet(keras, case.size, CLASSES, case.widths)
    else:
        plain = plain_unet3plus(keras, case.size, CLASSES, case.widths, vgg.upper() or None)
    return keras.Model(plain.input, {"mask": plain.output})


def on_device(case: Case, strategy: Any, arrays: list[Any]) -> Any:
    if case.library == "jax":
        return strategy.put_batch(arrays)
    import tensorflow as tf

    return [tf.identity(array) for array in arrays]


def wait(case: Case) -> Any:
    """A function of what a step returned."""
    if case.library == "jax":
        import jax

        return jax.block_until_ready
    return lambda result: [value.numpy() for value in result.values()]


def difference(case: Case, cfg: Any, network: Any, forward: Any, batch: Any) -> Any:
    """A function that compares the mask of image 0 with what float64 gives on the CPU.

    Both normalise with the statistics of that image: the moving averages of a new network leave its maps at any scale,
    where a softmax is 0 or 1 whatever the precision.
    """
    if case.library != "jax" or not case.check:
        return None

    def compute() -> Any:
        import jax
        import keras
        import numpy as np

        from utils.devices.compiled import compiled

        jax.config.update("jax_enable_x64", True)
        keras.config.set_dtype_policy("float64")
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            exact = build(case, cfg)
            exact.set_weights(network.get_weights())
            keep_statistics(exact)
            run = compiled(lambda image: exact(image, training=True), updates=exact.variables)
            wanted = np.asarray(run(np.asarray(batch[0][:1], "float64"))["mask"][0])
        jax.config.update("jax_enable_x64", False)
        network.set_weights([value.astype("float32") for value in exact.get_weights()])
        return np.abs(np.asarray(forward(batch[0])["mask"][0], "float64") - wanted)

    return compute


def keep_statistics(network: Any) -> None:
    """Let a pass with training=True set the moving averages to its statistics, and drop nothing."""
    import keras

    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0

"""Time several ways to build a model side by side: a process for each, steps taken in turn, medians, peak memory.

Machines are shared and noisy. Every implementation lives in a process of its own (so that its peak memory is its own)
and all of them take their n-th step before any takes its next.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

WIDTHS = (64, 128, 256, 512, 1024)


def plain_unet3plus(size, classes):
    """UNet 3+ as it is usually built, from stock Keras layers: each map is upsampled and then convolved."""
    from keras import Input, Model, layers

    def block(x, filters, convs=1):
        for _ in range(convs):
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", kernel_regularizer="l2")(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return x

    image = Input((size, size, 3))
    encoder, x = [], image
    for level, width in enumerate(WIDTHS):
        x = block(layers.MaxPooling2D()(x) if level else x, width, convs=2)
        encoder.append(x)
    decoder = {4: encoder[4]}
    for level in (3, 2, 1, 0):
        incoming = []
        for source in range(5):
            x = decoder[source] if source > level else encoder[source]
            if source < level:
                x = layers.MaxPooling2D(2 ** (level - source))(x)
            if source > level:
                x = layers.UpSampling2D(2 ** (source - level), interpolation="bilinear")(x)
            incoming.append(block(x, WIDTHS[0]))
        decoder[level] = block(layers.Concatenate()(incoming), 5 * WIDTHS[0])
    logits = layers.Conv2D(classes, 3, padding="same")(decoder[0])
    return Model(image, {"mask": layers.Softmax(dtype="float32")(logits)})


def plain_unet(size, classes):
    """U-Net with 16 features from stock Keras layers."""
    from keras import Input, Model, layers

    def block(x, filters):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return x

    image = Input((size, size, 3))
    skips, x = [], image
    for width in (16, 32, 64, 128):
        skips.append(block(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    x = block(x, 256)
    for width, skip in zip((128, 64, 32, 16), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = block(layers.Concatenate()([x, skip]), width)
    return Model(image, {"mask": layers.Softmax(dtype="float32")(layers.Conv2D(classes, 1)(x))})


def ours(*overrides):
    def build(size, classes):
        from models import build_model
        from utils.config import load_config

        return build_model(
            load_config([*overrides, f"INPUT.HEIGHT={size}", f"INPUT.WIDTH={size}", f"OUTPUT.CLASSES={classes}"])
        )

    return build


# model -> {implementation: function (size, classes) -> keras.Model with the output "mask"}; the first is the reference
IMPLEMENTATIONS = {
    "unet3plus": {
        "plain layers": plain_unet3plus,
        "ours": ours("MODEL.TYPE=unet3plus"),
        "ours, EXACT_FAST_UPSAMPLE=False": ours("MODEL.TYPE=unet3plus", "MODEL.EXACT_FAST_UPSAMPLE=False"),
    },
    "unet": {
        "plain layers": plain_unet,
        "ours": ours("MODEL.TYPE=unet", "MODEL.FILTERS=[16,32,64,128,256]", "MODEL.HEAD.KERNEL=1", "MODEL.L2=0"),
    },
}


def serve(pipe, model_name, implementation, train, options):
    """In a process of its own: build, warm up, then take a step for every message."""
    from utils.devices import quiet_stderr

    with quiet_stderr():
        import keras
        import numpy as np

        keras.ops.zeros(1)  # probes the devices

    from models.cost import count_flops

    start = time.perf_counter()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(options.precision)
    model = IMPLEMENTATIONS[model_name][implementation](options.size, options.classes)
    model = keras.Model(model.input, model.output["mask"])
    model.compile("adam", "categorical_crossentropy", jit_compile=options.xla)
    shape = (options.batch, options.size, options.size)
    rng = np.random.default_rng(0)
    images = rng.random((*shape, 3), dtype=np.float32)
    masks = np.eye(options.classes, dtype=np.float32)[rng.integers(0, options.classes, shape)]

    def step():
        return model.train_on_batch(images, masks) if train else np.asarray(model.predict_on_batch(images))

    step()
    first = time.perf_counter() - start
    pipe.send((first, count_flops(model)))
    while pipe.recv():
        start = time.perf_counter()
        step()
        pipe.send(time.perf_counter() - start)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def matrix_product_peak():
    """GFLOP/s of a 2048x2048 float32 matrix product, the best of several: what this machine can do."""
    import numpy as np

    matrix = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(seconds) / 1e9


def main(train):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["unet3plus"], choices=IMPLEMENTATIONS)
    parser.add_argument("--size", type=int, default=320, help="height and width, pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_float16", "mixed_bfloat16"])
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each implementation")
    parser.add_argument("--xla", action="store_true", help="compile with XLA (always so on JAX)")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print(
        f"{'training step' if train else 'inference'}, {options.size}x{options.size}x3, batch {options.batch}, "
        f"{options.precision}, {backend}; matrix product peak {matrix_product_peak():.0f} GFLOP/s (NumPy, float32)"
    )
    header = f"{'model':<11}{'implementation':<34}{'median s':>9}{'ratio':>7}{'peak GiB':>10}{'ratio':>7}"
    print(header + f"{'images/s':>10}{'GFLOP/s*':>10}{'first step s':>14}")
    for name in options.models:
        print_rows(name, measure(name, train, options), options, train)
    print("* of the model as plain layers would compute it; a training step counted as three forward passes")


def measure(name, train, options):
    """{implementation: (median seconds, peak GiB, seconds to the end of the first step, FLOPs of one image)}"""
    context = multiprocessing.get_context("spawn")
    pipes, firsts, processes = {}, {}, []
    for implementation in IMPLEMENTATIONS[name]:
        pipe, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, name, implementation, train, options), daemon=True)
        process.start()
        processes.append(process)
        theirs.close()
        pipes[implementation], firsts[implementation] = pipe, pipe.recv()  # one builds at a time
    seconds = {implementation: [] for implementation in pipes}
    for _ in range(options.steps):
        for implementation, pipe in pipes.items():
            pipe.send(True)
            seconds[implementation].append(pipe.recv())
    result = {}
    for implementation, pipe in pipes.items():
        pipe.send(False)
        result[implementation] = (statistics.median(seconds[implementation]), pipe.recv(), *firsts[implementation])
    for process in processes:
        process.join()
    return result


def print_rows(name, result, options, train):
    reference = next(iter(result.values()))
    for implementation, (median, peak, first, flops) in result.items():
        work = flops * options.batch * (3 if train else 1) / 1e9
        print(
            f"{name:<11}{implementation:<34}{median:>9.3f}{median / reference[0]:>7.2f}{peak:>10.2f}"
            f"{peak / reference[1]:>7.2f}{options.batch / median:>10.2f}{work / median:>10.0f}{first:>14.1f}"
        )

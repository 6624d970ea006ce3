"""Time several ways to build a model side by side: a process for each, steps taken in turn, medians, peak memory.

Machines are shared and noisy. Every implementation lives in a process of its own (so that its peak memory is its own)
and all of them take their n-th step before any takes its next.
"""

import argparse
import importlib.util
import itertools
import multiprocessing
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.base.closed_output import survive_closed_output

WIDTHS = (64, 128, 256, 512, 1024)
NARROW = (16, 32, 64, 128, 256)


def plain_unet3plus(keras, size, classes, widths=WIDTHS, vgg=None):
    """UNet 3+ as it is usually built, from stock layers of `keras`: maps are upsampled, then convolved.

    `vgg`: None for the plain encoder, or "VGG16" or "VGG19", untrained.
    """
    layers = keras.layers

    def block(x, filters, convs=1):
        for _ in range(convs):
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", kernel_regularizer="l2")(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return x

    image = keras.Input((size, size, 3))
    encoder, x = [], image
    for level, width in enumerate(() if vgg else widths):
        x = block(layers.MaxPooling2D()(x) if level else x, width, convs=2)
        encoder.append(x)
    if vgg:
        from models.encoders.backbones import BACKBONES

        network = getattr(keras.applications, vgg)(include_top=False, weights=None, input_tensor=image)
        encoder = [network.get_layer(name).output for name in BACKBONES[vgg.lower()].skips.values()]
    decoder = {4: encoder[4]}
    for level in (3, 2, 1, 0):
        incoming = []
        for source in range(5):
            x = decoder[source] if source > level else encoder[source]
            if source < level:
                x = layers.MaxPooling2D(2 ** (level - source))(x)
            if source > level:
                x = layers.UpSampling2D(2 ** (source - level), interpolation="bilinear")(x)
            incoming.append(block(x, widths[0]))
        decoder[level] = block(layers.Concatenate()(incoming), 5 * widths[0])
    logits = layers.Conv2D(classes, 3, padding="same")(decoder[0])
    return keras.Model(image, layers.Softmax(dtype="float32")(logits))


def plain_unet(keras, size, classes, widths=NARROW):
    """U-Net with 16 features, or these, from stock layers of `keras`."""
    layers = keras.layers

    def block(x, filters):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return x

    image = keras.Input((size, size, 3))
    skips, x = [], image
    for width in widths[:-1]:
        skips.append(block(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    x = block(x, widths[-1])
    for width, skip in zip(reversed(widths[:-1]), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = block(layers.Concatenate()([x, skip]), width)
    return keras.Model(image, layers.Softmax(dtype="float32")(layers.Conv2D(classes, 1)(x)))


def stock(build, module="keras"):
    """A reference of stock layers, in Keras 3 ("keras") or Keras 2 ("tf_keras")."""

    def make(options, train):
        keras = importlib.import_module(module)
        policies = keras.config if module == "keras" else keras.mixed_precision
        getattr(policies, "set_dtype_policy" if module == "keras" else "set_global_policy")(options.precision)
        model = build(keras, options.size, options.classes)
        return keras_step(model, options, train), (count(model) if module == "keras" else None)

    return make


def ours(*overrides, without=None, fuse_batch_norm=False):
    """Our model; `without` is a function that switches a technique off; see `models.inference_model` for the rest."""

    def make(options, train):
        import keras

        from models import build_model, inference_model
        from utils.config import load_config

        keras.config.set_dtype_policy(options.precision)
        if without:
            without()
        size = [f"INPUT.HEIGHT={options.size}", f"INPUT.WIDTH={options.size}", f"OUTPUT.CLASSES={options.classes}"]
        model = inference_model(build_model(load_config([*overrides, *size])), fuse_batch_norm=fuse_batch_norm)
        return keras_step(model, options, train), count(model)

    return make


def stock_batch_norm():
    import keras

    from models.layers.batch_norm import BatchNorm

    BatchNorm.call = keras.layers.BatchNormalization.call


def torch_unet(options, train):
    """The U-Net of `plain_unet` in PyTorch, channels last."""
    import numpy as np
    import torch
    from torch import nn
    from torch_networks import UNet

    if options.precision != "float32":
        raise SystemExit("The PyTorch reference is written for --precision float32.")
    model = UNet(options.classes, NARROW).to(memory_format=torch.channels_last)
    images, labels = random_batch(options)
    images = torch.from_numpy(np.moveaxis(images, -1, 1)).to(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters())

    def train_step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def run():
        with torch.inference_mode():
            model(images).softmax(1)

    model.train(train)
    return (train_step if train else run), None


OURS_UNET = ("MODEL.TYPE=unet", f"MODEL.FILTERS={list(NARROW)}", "MODEL.HEAD.KERNEL=1", "MODEL.L2=0")
REFERENCE = "plain layers"

# model -> {implementation: function (options, train) -> (step, FLOPs of one image as counted by `count` or None)}
IMPLEMENTATIONS = {
    "unet3plus": {
        REFERENCE: stock(plain_unet3plus),
        "plain layers, Keras 2": stock(plain_unet3plus, "tf_keras"),
        "ours": ours("MODEL.TYPE=unet3plus"),
        "ours, no EXACT_FAST_UPSAMPLE": ours("MODEL.TYPE=unet3plus", "MODEL.EXACT_FAST_UPSAMPLE=False"),
        "ours, no batch norm kernel": ours("MODEL.TYPE=unet3plus", without=stock_batch_norm),
        "ours, no WINOGRAD": ours("MODEL.TYPE=unet3plus", "MODEL.WINOGRAD=False"),
        "ours, batch norm fused": ours("MODEL.TYPE=unet3plus", fuse_batch_norm=True),
    },
    "unet": {
        REFERENCE: stock(plain_unet),
        "plain layers, Keras 2": stock(plain_unet, "tf_keras"),
        "PyTorch, channels last": torch_unet,
        "ours": ours(*OURS_UNET),
        "ours, no batch norm kernel": ours(*OURS_UNET, without=stock_batch_norm),
        "ours, batch norm fused": ours(*OURS_UNET, fuse_batch_norm=True),
    },
}

NEEDS = {"plain layers, Keras 2": "tf_keras", "PyTorch, channels last": "torch"}
ONLY_TRAINING = ("ours, no batch norm kernel",)
ONLY_INFERENCE = ("ours, batch norm fused",)


def random_batch(options):
    """Images `(batch, size, size, 3)` in [0, 1] and class indices `(batch, size, size)`."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size)
    return rng.random((*shape, 3), dtype=np.float32), rng.integers(0, options.classes, shape)


def keras_step(model, options, train):
    """A function that takes one training step, or runs the model once."""
    import numpy as np

    model.compile("adam", "categorical_crossentropy", jit_compile=options.xla)
    images, labels = random_batch(options)
    masks = np.eye(options.classes, dtype=np.float32)[labels]
    return lambda: model.train_on_batch(images, masks) if train else np.asarray(model.predict_on_batch(images))


def count(model):
    """(FLOPs of one image as plain layers would take them, FLOPs that are done), forward."""
    from models.cost import count_flops
    from models.layers.upsample_conv import UpsampleConv2D

    plain = done = count_flops(model)
    for layer in model.layers:
        if isinstance(layer, UpsampleConv2D):
            done -= layer.saved_multiplications(layer.input.shape) * 2
    return plain, done


def serve(pipe, model_name, implementation, train, options):
    """In a process of its own: build, warm up, then take a step for every message."""
    from utils.base.startup import quiet_stderr

    with quiet_stderr():
        if implementation != "PyTorch, channels last":
            import keras

            keras.ops.zeros(1)  # probes the devices
            keras.utils.set_random_seed(0)
    start = time.perf_counter()
    step, flops = IMPLEMENTATIONS[model_name][implementation](options, train)
    step()
    pipe.send((time.perf_counter() - start, flops))
    while (task := pipe.recv()) != "end":
        start = time.perf_counter()
        if task == "step":
            step()
            pipe.send(time.perf_counter() - start)
        else:
            pipe.send(matrix_product_rate())
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def matrix_product_rate():
    """GFLOP/s of a 4096x4096 float32 matrix product of the Keras backend: what this machine can do."""
    import numpy as np
    from keras import ops

    matrix = ops.ones((4096, 4096))
    start = time.perf_counter()
    np.asarray(ops.matmul(matrix, matrix))
    return 2 * 4096**3 / (time.perf_counter() - start) / 1e9


@survive_closed_output()
def main(train):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["unet3plus"], choices=IMPLEMENTATIONS)
    parser.add_argument("--size", type=int, nargs="+", default=[320], help="height and width, pixels")
    parser.add_argument("--batch", type=int, nargs="+", default=[2])
    parser.add_argument("--only", nargs="+", default=[], metavar="IMPLEMENTATION", help="beside the reference")
    parser.add_argument("--techniques", action="store_true", help="also ours without each technique")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_float16", "mixed_bfloat16"])
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each implementation")
    parser.add_argument("--xla", action="store_true", help="compile with XLA (always so on JAX)")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print(f"{'Training step' if train else 'Inference'}, {options.precision}, {backend}, XLA {options.xla}")
    header = f"{'model':<10}{'size':>5}{'batch':>6} {'implementation':<30}{'median s':>9}{'ratio':>7}{'peak GiB':>10}"
    print(header + f"{'ratio':>7}{'images/s':>10}{'GFLOP':>9}{'GFLOP/s':>9}{'first step s':>14}")
    for name, size, batch in itertools.product(options.models, options.size, options.batch):
        case = argparse.Namespace(**vars(options) | {"size": size, "batch": batch})
        try:
            result, peak = measure(name, train, case)
        except (EOFError, BrokenPipeError):
            raise SystemExit(
                "An implementation was killed, perhaps for memory: all are held at once. Use --only."
            ) from None
        print_rows(name, result, case, train)
        print(f"{'':22}(a matrix product on the same machine meanwhile: up to {peak:.0f} GFLOP/s)")
    print("GFLOP: arithmetic done by the convolutions and matrices of a step; a training step is three forward passes")


def chosen(name, train, only, techniques):
    """The implementations to measure: the reference first, those whose package is there, those that `only` names.

    Without `only` those that lack a technique are left out, unless `techniques` asks for them.
    """
    for implementation in IMPLEMENTATIONS[name]:
        package = NEEDS.get(implementation)
        wanted = implementation in (REFERENCE, *only) if only else techniques or ", no " not in implementation
        if not wanted or implementation in (ONLY_INFERENCE if train else ONLY_TRAINING):
            continue
        if package and importlib.util.find_spec(package) is None:
            print(f"Left out: {implementation} (pip install -r benchmarks/requirements.txt)")
            continue
        yield implementation


def measure(name, train, options):
    """Measure one model.

    Returns:
        {implementation: (median seconds, peak GiB, seconds to the end of the first step, FLOPs or None)}, and the
        GFLOP/s of a matrix product, measured between the steps.
    """
    context = multiprocessing.get_context("spawn")
    pipes, firsts, processes = {}, {}, []
    for implementation in chosen(name, train, options.only, options.techniques):
        pipe, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, name, implementation, train, options), daemon=True)
        process.start()
        processes.append(process)
        theirs.close()
        pipes[implementation], firsts[implementation] = pipe, pipe.recv()  # one builds at a time
    seconds, peaks = {implementation: [] for implementation in pipes}, []
    for _ in range(options.steps):
        pipes[REFERENCE].send("matrix product")
        peaks.append(pipes[REFERENCE].recv())
        for implementation, pipe in pipes.items():
            pipe.send("step")
            seconds[implementation].append(pipe.recv())
    result = {}
    for implementation, pipe in pipes.items():
        pipe.send("end")
        result[implementation] = (statistics.median(seconds[implementation]), pipe.recv(), *firsts[implementation])
    for process in processes:
        process.join()
    return result, max(peaks)


def print_rows(name, result, options, train):
    reference = result[REFERENCE]
    for implementation, (median, peak, first, flops) in result.items():
        done = (flops or reference[3])[1] * options.batch * (3 if train else 1) / 1e9
        print(
            f"{name:<10}{options.size:>5}{options.batch:>6} {implementation:<30}{median:>9.3f}"
            f"{median / reference[0]:>7.2f}{peak:>10.2f}{peak / reference[1]:>7.2f}{options.batch / median:>10.2f}"
            f"{done:>9.0f}{done / median:>9.0f}{first:>14.1f}"
        )

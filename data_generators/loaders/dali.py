"""DALI_GENERATOR: NVIDIA DALI decodes and augments, on the first GPU, or in threads of its own on the CPU.

Needs Linux on x86-64 and `pip install -r requirements-dali.txt`. It reads PNG and JPEG files as they are: no crops, no
resizing. Its augmentation is one warp for all geometry (flips and quarter turns included) and then what changes the
image alone; elastic deformation is missing. The knobs mean what they mean elsewhere, but what is drawn for a sample is
another choice than albumentations makes; it depends on SEED, the epoch and the position of the sample in it alone.
"""

import math
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np

from data_generators.reading.boundary_weights import border_weights
from data_generators.reading.headers import read_header, read_whole
from data_generators.reading.masks import look_up, read_values
from utils.base.errors import UserError
from utils.base.startup import quiet_stderr

FIRST = ("HORIZONTAL_FLIP", "VERTICAL_FLIP", "ROTATION", "ZOOM", "SHEAR", "TRANSLATION", "BRIGHTNESS", "CONTRAST")
LATER = ("ROTATE_90", "GAMMA", "NOISE", "BLUR", "COARSE_DROPOUT")  # drawn after the others, which stay as they were
KNOBS = FIRST + LATER
GEOMETRY = (*FIRST[:6], "ROTATE_90")
STREAM = 2  # tells these random numbers from those of crops and of albumentations
LACKS = "DATA_GENERATOR_TYPE=DALI_GENERATOR has no"
OTHERS = "TF_GENERATOR and TF_DATA do that."


class DaliBatches:
    """Batches of samples; see `data_generators.build_dataset` for shapes and order.

    Raises:
        UserError: DALI is not installed, or a setting asks for what it lacks.
    """

    def __init__(self, samples, sampler, read, spec, batch_size, workers):
        self.samples, self.sampler, self.batch_size = samples, sampler, batch_size
        self.settings, self.parts, self.border = check(read), len(spec), getattr(read, "border", None)
        self.knobs = self.settings.augment.knobs if self.settings.augment else {}
        self.as_stored = spec[0][1] == "uint8" and not self.knobs  # those give floating point
        self.pipeline = self.build_on_best_device(workers)

    def __len__(self):
        return self.sampler.steps

    def build_on_best_device(self, workers):
        """The pipeline on the first GPU, where TensorFlow sees one that DALI can use; else on the CPU."""
        import tensorflow as tf

        library()
        if tf.config.list_physical_devices("GPU"):
            try:
                return self.build(workers, gpu=0)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                print(f"Note: DALI cannot use the GPU ({reason}) and works on the CPU.", file=sys.stderr)
        return self.build(workers)

    def build(self, workers, gpu=None):
        """The pipeline on a GPU of that number, or on the CPU; what it gives comes to the CPU either way."""
        fn, types, Pipeline = library()
        settings, has_mask, device = self.settings, self.parts > 1, "cpu" if gpu is None else "mixed"
        pipeline = Pipeline(
            self.batch_size, workers, device_id=gpu, prefetch_queue_depth=1, exec_async=False, exec_pipelined=False
        )
        with pipeline:
            kind = {1: types.GRAY, 3: types.RGB}.get(settings.channels, types.ANY_DATA)
            options = {"device": device, "adjust_orientation": False}  # pixels as they are stored, as elsewhere
            image = fn.decoders.image(fn.external_source(name="image"), output_type=kind, **options)
            outputs = [image]
            if has_mask:
                mask = fn.decoders.image(fn.external_source(name="mask"), output_type=types.ANY_DATA, **options)
                outputs.append(mask[:, :, :1])
            if self.knobs.keys() & set(GEOMETRY):
                matrix = fn.external_source(name="matrix")
                interpolations, fills = (types.INTERP_LINEAR, types.INTERP_NN), (0, self.outside())
                outputs = [
                    fn.warp_affine(output, matrix=matrix, interp_type=interpolation, fill_value=fill)
                    for output, interpolation, fill in zip(outputs, interpolations, fills, strict=False)
                ]
            for name, change in PHOTOMETRIC.items():
                if name in self.knobs:
                    outputs[0] = change(outputs[0], gpu is not None)
            pipeline.set_outputs(*(output.cpu() for output in outputs))
        with quiet_stderr():  # plugins for pictures of other kinds complain that they find no GPU
            pipeline.build()
        return pipeline

    def outside(self):
        """What a mask file would hold where the picture ends."""
        return 0 if self.settings.ignore_label is None else self.settings.ignore_label

    def __iter__(self):
        draws = self.sampler.next_epoch()
        parts = iter([draws[first : first + self.batch_size] for first in range(0, len(draws), self.batch_size)])
        with ThreadPoolExecutor(1) as thread:  # the pipeline has threads of its own; this one waits for it
            waiting = deque(thread.submit(self.batch, part) for part in islice(parts, 2))
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(thread.submit(self.batch, part) for part in islice(parts, 1))
            finally:
                thread.shutdown(cancel_futures=True)

    def batch(self, draws):
        pairs = [self.samples[sample] for _, _, sample in draws]
        self.pipeline.feed_input("image", [encoded(pair.image) for pair in pairs])
        if self.parts > 1:
            self.pipeline.feed_input("mask", [encoded(pair.mask, is_mask=True) for pair in pairs])
        if self.knobs:
            settings = self.settings
            shape, seed = (settings.height, settings.width, settings.channels), settings.augment.seed
            drawn = [draw(self.knobs, shape, [seed, epoch, position, STREAM]) for epoch, position, _ in draws]
            for name in drawn[0]:
                self.pipeline.feed_input(name, [inputs[name] for inputs in drawn])
        try:
            image, *mask = (np.array(output.as_array()) for output in self.pipeline.run())
        except RuntimeError as error:
            names = ", ".join(str(pair.image) for pair in pairs)
            reason = next((line for line in str(error).splitlines() if "rror" in line), "unknown")
            raise UserError(f"DALI cannot read one of {names}: {reason} Try another DATA_GENERATOR_TYPE.") from None
        if not self.as_stored:
            image = np.clip(np.divide(image, np.float32(255), dtype=np.float32), 0, 1)
        if not mask:
            return (image,)
        labels = as_classes(mask[0], self.settings)
        if self.border is None:
            return image, labels
        return image, labels, np.stack([border_weights(m, *self.border, self.settings.ignore_label) for m in labels])


def library():
    try:
        with quiet_stderr():
            from nvidia.dali import fn, types
            from nvidia.dali.pipeline import Pipeline
    except ImportError:
        raise UserError(
            "DATA_GENERATOR_TYPE=DALI_GENERATOR needs NVIDIA DALI: pip install -r requirements-dali.txt (Linux on "
            "x86-64). Elsewhere use TF_GENERATOR, TF_DATA or TFRECORD."
        ) from None
    return fn, types, Pipeline


def check(read):
    """The `ReadSettings` of a reader that DALI can stand in for.

    Raises:
        UserError: names what it lacks.
    """
    settings = getattr(read, "settings", None)
    if settings is None:
        raise UserError(f"{LACKS} class labels (MODEL.TYPE=classifier); {OTHERS}")
    if settings.crop or settings.resize:
        key = "DATASET.CROP.MODE" if settings.crop else "PREPROCESS_DATA.RESIZE.VALUE"
        raise UserError(f"{LACKS} {key}: it takes images as they are; {OTHERS}")
    if settings.channels not in (1, 3):
        raise UserError(f"{LACKS} INPUT.CHANNELS={settings.channels}, only 1 and 3; {OTHERS}")
    if settings.cache is not None:
        raise UserError(f"{LACKS} DATASET.CACHE: it decodes by itself; {OTHERS}")
    if settings.augment is None:
        return settings
    if settings.augment.knobs is None:
        raise UserError(f"{LACKS} AUGMENTATION.ALBUMENTATIONS; {OTHERS}")
    lacking = [
        f"AUGMENTATION.{name} (set its PROBABILITY to 0)" for name in sorted(set(settings.augment.knobs) - set(KNOBS))
    ]
    if settings.augment.knobs.get("ZOOM", {}).get("KEEP_FOREGROUND"):
        lacking.append("AUGMENTATION.ZOOM.KEEP_FOREGROUND=True")
    if settings.augment.fill != "zero":
        lacking.append(f"AUGMENTATION.FILL={settings.augment.fill} (set it to zero)")
    if lacking:
        raise UserError(f"{LACKS} {', '.join(lacking)}; {OTHERS}")
    if settings.label_values is not None or settings.divide_mask_by != 1:
        raise UserError(f"{LACKS} augmentation of masks that LABEL_VALUES or NORMALIZE_MASK convert; {OTHERS}")
    return settings


def encoded(path, is_mask=False):
    """The bytes of a file, uint8 `(bytes,)`; of a mask with a palette, those of its indices as a grey PNG."""
    data = read_whole(path)
    if is_mask and read_header(path, data).has_palette:
        return cv2.imencode(".png", read_values(path))[1].ravel()  # DALI would give the colours
    return np.frombuffer(data, np.uint8)


def as_classes(mask, settings):
    """Stored values, uint8, as class indices."""
    if settings.label_values is not None:
        return look_up("a mask", mask, settings.label_values, settings.ignore_label)
    if settings.divide_mask_by == 1:
        return mask
    divided = np.rint(mask.astype(np.float32) / settings.divide_mask_by).astype(np.uint8)
    return divided if settings.ignore_label is None else np.where(mask == settings.ignore_label, mask, divided)


def draw(knobs, shape, seed):
    """What the knobs do to one sample.

    Args:
        knobs: {name: {"PROBABILITY": float, ...}} of those that are on.
        shape: (height, width, channels) of the image.
        seed: list of int.

    Returns:
        {name: array}, what is fed to the pipeline. "matrix" is float32 `(2, 3)`, place in the result -> place in the
        picture, (x, y) in pixels from its corner; see PHOTOMETRIC for the others.
    """
    random = np.random.default_rng(seed)
    # All are drawn, whichever are on, so that one knob does not change what the others do.
    on, uniform = {}, {}
    for names in (FIRST, LATER):
        on |= {name: random.random() < knobs.get(name, {"PROBABILITY": 0})["PROBABILITY"] for name in names}
        uniform |= {name: random.uniform(size=3) for name in names}

    def value(name, key, which=0, neutral=0.0):
        low, high = knobs[name][key] if on[name] else (neutral, neutral)
        return low + (high - low) * uniform[name][which]

    inputs, (of_holes, of_noise) = {}, random.spawn(2)
    if knobs.keys() & set(GEOMETRY):
        inputs["matrix"] = matrix_of(knobs, on, uniform, value, shape[:2])
    if "BRIGHTNESS" in knobs:
        inputs["shift"] = np.float32(255 * value("BRIGHTNESS", "SHIFT"))
    if "CONTRAST" in knobs:
        inputs["factor"] = np.float32(value("CONTRAST", "FACTOR", neutral=1.0))
    if "GAMMA" in knobs:
        inputs["exponent"] = np.float32(value("GAMMA", "EXPONENT", neutral=1.0))
    if "BLUR" in knobs:
        sigma = value("BLUR", "SIGMA", neutral=1.0)
        radius = math.ceil(3 * sigma) if on["BLUR"] else 0  # a window of one pixel changes nothing
        inputs |= {"sigma": np.float32(sigma), "window": np.int32(2 * radius + 1)}
    if "COARSE_DROPOUT" in knobs:
        holes = draw_holes(knobs["COARSE_DROPOUT"], shape[:2], of_holes) if on["COARSE_DROPOUT"] else np.zeros((2, 0))
        inputs |= dict(zip(("anchors", "extents"), holes.astype(np.float32), strict=True))
    if "NOISE" in knobs:
        # DALI's own noise would be another one after a resumed run. A field without noise is as large as the others:
        # one pixel repeated comes out wrong where the batch holds both.
        field = of_noise.standard_normal(shape, np.float32) if on["NOISE"] else np.zeros(shape, np.float32)
        inputs["noise"] = np.float32(255 * value("NOISE", "STD")) * field
    return inputs


def matrix_of(knobs, on, uniform, value, size):
    """The geometry that `draw` drew as a matrix."""
    zoom = value("ZOOM", "FACTOR", neutral=1.0)
    if on["ZOOM"]:
        low, high = knobs["ZOOM"]["FACTOR"]
        if low < 1 < high:  # both directions are equally likely
            out = uniform["ZOOM"][0] < 0.5
            share = 2 * uniform["ZOOM"][0] - (0 if out else 1)
            zoom = low + (1 - low) * share if out else 1 + (high - 1) * share
    angle = np.radians(value("ROTATION", "DEGREES"))
    shear = [np.tan(np.radians(value("SHEAR", "DEGREES", axis))) for axis in range(2)]
    pan = knobs["ZOOM"]["PAN"] if on["ZOOM"] else 0.0
    flips = [-1.0 if on[name] else 1.0 for name in ("HORIZONTAL_FLIP", "VERTICAL_FLIP")]
    quarters = int(4 * uniform["ROTATE_90"][0]) if on["ROTATE_90"] else 0
    height, width = size
    moved = [
        (value("TRANSLATION", "SHARE", axis) + pan * (2 * uniform["ZOOM"][1 + axis] - 1)) * side
        for axis, side in enumerate((width, height))
    ]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quarter = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), quarters)
    forward = zoom * turn @ np.array([[1, shear[0]], [shear[1], 1]]) @ quarter @ np.diag(flips)
    back, centre = np.linalg.inv(forward), np.array([width / 2, height / 2])
    return np.column_stack([back, centre - back @ (centre + moved)]).astype(np.float32)


def draw_holes(knob, size, random):
    """Corners and sizes of the holes of COARSE_DROPOUT: `(2, 2 * holes)`, (row, column) of each, in pixels."""
    count = random.integers(knob["HOLES"][0], knob["HOLES"][1] + 1)
    shares = random.uniform(*knob["SIZE"], size=(count, 2))
    extents = np.maximum(np.round(shares * size), 1)
    anchors = np.floor(random.uniform(size=(count, 2)) * (size - extents + 1))
    return np.stack([anchors.ravel(), extents.ravel()])


def fed(name, on_gpu=False):
    """The input of that name, on the GPU where it meets pictures that are there."""
    fn, _, _ = library()
    found = fn.external_source(name=name)
    return found.gpu() if on_gpu else found


def clamp(image):
    from nvidia.dali import math as operations

    return operations.clamp(image, 0.0, 255.0)


def brightness(image, on_gpu):
    return clamp(image + fed("shift", on_gpu))


def contrast(image, on_gpu):
    return clamp(image * fed("factor", on_gpu))


def gamma(image, on_gpu):
    from nvidia.dali import math as operations

    return 255.0 * operations.pow(image / 255.0, fed("exponent", on_gpu))


def noise(image, on_gpu):
    return clamp(image + fed("noise", on_gpu))


def blur(image, on_gpu):
    """Gaussian blur; the picture is mirrored at its edge."""
    fn, types, _ = library()
    return fn.gaussian_blur(image, sigma=fed("sigma"), window_size=fed("window"), dtype=types.FLOAT)


def coarse_dropout(image, on_gpu):
    fn, _, _ = library()
    return fn.erase(image, anchor=fed("anchors"), shape=fed("extents"), axes=(0, 1), fill_value=0)


# In the order they are applied: knob -> function (image, whether it is on the GPU); values are 0 to 255
PHOTOMETRIC = {
    "BRIGHTNESS": brightness,
    "CONTRAST": contrast,
    "GAMMA": gamma,
    "NOISE": noise,
    "BLUR": blur,
    "COARSE_DROPOUT": coarse_dropout,
}

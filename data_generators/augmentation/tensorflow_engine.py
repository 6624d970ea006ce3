"""Augmentation by TensorFlow graph operations, for tf.data: the knobs of configs/augmentation, image and mask as one.

All geometry of a sample, elastic deformation too, is one warp: bilinear for the image, the nearest pixel for the mask.
What is drawn depends on SEED, the epoch and the position of the sample in it, and on nothing else: the number of
threads and a resumed run change no picture. It is another choice than albumentations makes.

Images are float32 `(height, width, channels)` in [0, 1], masks uint8 `(height, width, 1)`; places are (x, y) in pixels,
from the centre of the first one. Height and width need not be known when a function is traced.
"""

import math

import numpy as np
import tensorflow as tf
from omegaconf import OmegaConf

from data_generators.augmentation.albumentations_engine import active_knobs

FLIPS = ("HORIZONTAL_FLIP", "VERTICAL_FLIP")
AFFINE = (*FLIPS, "ROTATE_90", "ROTATION", "ZOOM", "SHEAR", "TRANSLATION")
FIELDS = ("ELASTIC", "NOISE", "COARSE_DROPOUT")  # knobs that draw more than a few numbers
KNOBS = (*AFFINE, "ELASTIC", "BRIGHTNESS", "CONTRAST", "GAMMA", "NOISE", "BLUR", "COARSE_DROPOUT")
DRAWS = 4  # numbers drawn for each knob: whether it is on, and up to three values
STREAM = 3  # tells these random numbers from those of crops, of albumentations and of DALI
GRID = 4  # an elastic field is drawn on so many points per sigma of its smoothing, and interpolated between them


class GraphAugmentation:
    """Change image and mask of a sample; callable inside `tf.function` and `tf.data.Dataset.map`.

    Args:
        knobs: {name: {"PROBABILITY": float, ...}} of those that are on.
        seed: int.
        fill: "reflect" | "zero".
        ignore_label: int, a value of the mask that is no foreground and, for "zero", stands where the picture ends; or
            None.
    """

    def __init__(self, knobs, seed, fill="reflect", ignore_label=None):
        self.knobs, self.seed, self.fill, self.ignore_label = knobs, seed, fill, ignore_label

    @classmethod
    def from_config(cls, cfg):
        """The augmentation that the config asks for, or None."""
        knobs = {name: OmegaConf.to_container(knob) for name, knob in active_knobs(cfg.AUGMENTATION).items()}
        return cls(knobs, cfg.SEED, cfg.AUGMENTATION.FILL, cfg.DATASET.IGNORE_LABEL) if knobs else None

    def __call__(self, image, mask, epoch, position):
        """Change one sample; a mask of None stays None. epoch and position are integers."""
        seed = sample_seed(self.seed, epoch, position)
        # All are drawn, whichever are on, so that one knob does not change what the others do.
        numbers = tf.random.stateless_uniform([len(KNOBS), DRAWS], seed, alg="philox")
        draws = {name: numbers[row, 1:] for row, name in enumerate(KNOBS)}
        is_on = {name: numbers[KNOBS.index(name), 0] < knob["PROBABILITY"] for name, knob in self.knobs.items()}
        seeds = {name: tf.random.experimental.stateless_fold_in(seed, row) for row, name in enumerate(FIELDS)}
        image, mask = self.move(image, mask, is_on, draws, seeds["ELASTIC"])
        for name, change in PHOTOMETRIC.items():
            if name in self.knobs:
                image = self.recolour(change, name, image, is_on[name], draws[name], seeds.get(name))
        return image, mask

    def recolour(self, change, name, image, on, draws, seed):
        knob = self.knobs[name]
        return tf.cond(on, lambda: tf.clip_by_value(change(image, knob, draws, seed), 0.0, 1.0), lambda: image)

    def move(self, image, mask, is_on, draws, seed):
        """The geometry: one warp for all knobs that are on, none where none is."""
        moving = [is_on[name] for name in AFFINE if name in is_on]
        bending = is_on.get("ELASTIC", tf.constant(False))
        if not moving and "ELASTIC" not in is_on:
            return image, mask
        size = tf.shape(image)[:2]
        pictures = [image] if mask is None else [image, mask]
        outside = [0, self.ignore_label or 0]

        def bend():
            knob = self.knobs["ELASTIC"]
            field = elastic_field(size, knob["DISPLACEMENT"], knob["SMOOTHNESS"], seed)
            return warp_places(pictures, outside, self.fill, places_of(matrix(), field))

        def matrix():
            box = None if mask is None else foreground_box(mask, self.ignore_label)
            return affine_matrix(self.knobs, is_on, draws, size, box)

        def turn():
            return warp_affine(pictures, outside, self.fill, matrix())

        def stay():
            return list(pictures)

        def turn_or_stay():
            return tf.cond(tf.reduce_any(moving), turn, stay) if moving else stay()

        found = tf.cond(bending, bend, turn_or_stay) if "ELASTIC" in is_on else turn_or_stay()
        for one, before in zip(found, pictures, strict=True):
            one.set_shape(before.shape)
        return found[0], None if mask is None else found[1]


def sample_seed(seed, epoch, position):
    """The seed of a sample's stateless operations: int64 `(2,)`."""
    words = tf.constant([seed, STREAM], tf.int64)
    for number in (epoch, position):
        words = tf.random.experimental.stateless_fold_in(words, tf.cast(number, tf.int64))
    return words


def affine_matrix(knobs, is_on, draws, size, box=None):
    """What the knobs of AFFINE do together.

    Args:
        knobs: {name: knob}, those that can be on. is_on: {name: bool}. draws: {name: float32 `(3,)` in [0, 1)}.
        size: int32 (height, width).
        box: see `foreground_box`; ZOOM with KEEP_FOREGROUND not false, where it zooms in, keeps it in the picture.

    Returns:
        float32 `(2, 3)`, place in the result -> place in the picture.
    """

    def value(name, key, which=0, neutral=0.0):
        if name not in knobs:
            return tf.constant(neutral)
        low, high = knobs[name][key]
        return tf.where(is_on[name], low + (high - low) * draws[name][which], neutral)

    sides = tf.cast(tf.stack([size[1], size[0]]), tf.float32)
    angle = value("ROTATION", "DEGREES") * (math.pi / 180)
    lean = [tf.tan(value("SHEAR", "DEGREES", axis) * (math.pi / 180)) for axis in range(2)]
    quarter = tf.cast(4 * draws["ROTATE_90"][0], tf.int32)
    quarter = tf.where(is_on["ROTATE_90"], quarter, 0) if "ROTATE_90" in knobs else 0
    # Sines of quarter turns are looked up: they leave every pixel exactly where it belongs.
    cosine, sine = tf.gather([1.0, 0.0, -1.0, 0.0], quarter), tf.gather([0.0, 1.0, 0.0, -1.0], quarter)
    flips = [tf.where(is_on[name], -1.0, 1.0) if name in knobs else tf.constant(1.0) for name in FLIPS]
    turn = matrix_of(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
    form = turn @ matrix_of(1.0, lean[0], lean[1], 1.0) @ matrix_of(cosine, -sine, sine, cosine)
    form = form @ tf.linalg.diag(tf.stack(flips))

    zoom, moved = tf.constant(1.0), tf.stack([value("TRANSLATION", "SHARE", axis) for axis in range(2)]) * sides
    if "ZOOM" in knobs:
        knob, numbers = knobs["ZOOM"], draws["ZOOM"]
        zoom = tf.where(is_on["ZOOM"], zoom_factor(*knob["FACTOR"], numbers[0]), 1.0)
        moved += tf.where(is_on["ZOOM"], knob["PAN"] * (2 * numbers[1:3] - 1), 0.0) * sides
        if box is not None and knob.get("KEEP_FOREGROUND") is not False:
            zoom, moved = keep_in_frame(form, zoom, moved, box, sides)

    back = tf.linalg.inv(zoom * form)
    centre = (sides - 1) / 2
    return tf.concat([back, (centre - tf.linalg.matvec(back, centre + moved))[:, None]], axis=1)


def matrix_of(a, b, c, d):
    return tf.reshape(tf.stack([a, b, c, d]), [2, 2])


def zoom_factor(low, high, number):
    """A factor from [low, high]; zooming in and out are equally likely where the range has both."""
    if not low < 1 < high:
        return low + (high - low) * number
    share = 2 * number
    return tf.where(share < 1, low + (1 - low) * share, 1 + (high - 1) * (share - 1))


def foreground_box(mask, ignore_label=None):
    """float32 (left, top, right, bottom), the outermost columns and rows with foreground; -1 where there is none."""
    foreground = mask[:, :, 0] > 0
    if ignore_label is not None:
        foreground &= mask[:, :, 0] != ignore_label
    ends = []
    for axis in range(2):
        found = tf.reduce_any(foreground, axis)
        places = tf.range(tf.size(found))
        ends += [tf.reduce_min(tf.where(found, places, tf.size(found))), tf.reduce_max(tf.where(found, places, -1))]
    left, right, top, bottom = ends
    return tf.cast(tf.where(right >= 0, tf.stack([left, top, right, bottom]), -1), tf.float32)


def keep_in_frame(form, zoom, moved, box, sides):
    """A zoom above 1, lowered (not below 1), and a shift, changed, so that a box stays in the picture.

    Args:
        form: float32 `(2, 2)`, what is done before zooming. zoom: float32. moved: float32 (x, y), pixels.
        box: see `foreground_box`. sides: float32 (width, height).

    Returns:
        (zoom, moved); as they are where the picture is not enlarged or the box is empty.
    """
    centre, room = (sides - 1) / 2, sides - 1
    corners = tf.stack([tf.gather(box, pair) for pair in ([0, 1], [2, 1], [0, 3], [2, 3])]) - centre
    reached = tf.linalg.matmul(corners, form, transpose_b=True)
    low, high = tf.reduce_min(reached, axis=0), tf.reduce_max(reached, axis=0)
    limit = tf.reduce_min(room / tf.maximum(high - low, 1e-3))
    kept = tf.minimum(zoom, tf.maximum(limit, 1.0))
    first, last = -centre - kept * low, room - centre - kept * high
    shifted = tf.where(first <= last, tf.clip_by_value(moved, first, tf.maximum(first, last)), (first + last) / 2)
    applies = (zoom > 1) & (box[0] >= 0)
    return tf.where(applies, kept, zoom), tf.where(applies, shifted, moved)


def elastic_field(size, displacement, smoothness, seed):
    """A smoothed random field (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; Simard et al. 2003).

    Args:
        size: int32 (height, width).
        displacement: float, pixels, its standard deviation along each axis.
        smoothness: float, pixels, sigma of the Gaussian that smooths it.

    Returns:
        float32 `(height, width, 2)`, along x and y, in pixels.
    """
    # A field this smooth needs no value of its own for each pixel.
    step = max(smoothness / GRID, 1.0)
    sigma = smoothness / step
    radius = math.ceil(3 * sigma)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    points = tf.cast(tf.math.ceil(tf.cast(size, tf.float32) / step), tf.int32) + 1
    # A margin of the kernel's size: the field is as strong at the edge as inside.
    noise = tf.random.stateless_normal(tf.concat([[2], points + 2 * radius, [1]], 0), seed, alg="philox")
    smooth = tf.nn.conv2d(noise, kernel.reshape(-1, 1, 1, 1), 1, "VALID")
    smooth = tf.nn.conv2d(smooth, kernel.reshape(1, -1, 1, 1), 1, "VALID")
    strength = displacement / float((kernel**2).sum())  # smoothing leaves the sum of squares along each axis
    field = tf.image.resize(strength * smooth, size, "bicubic")
    return tf.transpose(field[:, :, :, 0], [1, 2, 0])


def places_of(matrix, field):
    """Where each pixel of the result comes from: float32 `(height, width, 2)`, after the field and then the matrix."""
    size = tf.shape(field)[:2]
    x, y = tf.meshgrid(tf.range(size[1]), tf.range(size[0]))
    places = tf.cast(tf.stack([x, y], axis=-1), tf.float32) + field
    return tf.reshape(tf.reshape(places, [-1, 2]) @ tf.transpose(matrix[:, :2]) + matrix[:, 2], tf.shape(field))


def warp_affine(pictures, outside, fill, matrix):
    """Warp `[image]` or `[image, mask]` by a matrix of `affine_matrix`.

    Args:
        pictures: list of image, and mask. outside: the value of each where the picture ends, for fill "zero".
        fill: "reflect" | "zero".
    """
    transform = tf.concat([tf.reshape(matrix, [6]), [0.0, 0.0]], 0)[None]
    mode = {"reflect": "REFLECT", "zero": "CONSTANT"}[fill]
    return [
        tf.raw_ops.ImageProjectiveTransformV3(
            images=picture[None],
            transforms=transform,
            output_shape=tf.shape(picture)[:2],
            fill_value=float(value),
            interpolation=interpolation,
            fill_mode=mode,
        )[0]
        for picture, value, interpolation in zip(pictures, outside, ("BILINEAR", "NEAREST"), strict=False)
    ]


def warp_places(pictures, outside, fill, places):
    """Warp as `warp_affine` does, by the places of `places_of`."""
    height, width = tf.unstack(tf.shape(places)[:2])
    sides = tf.cast(tf.stack([width, height]), tf.float32)
    if fill == "reflect":
        # Mirrored with the pixel at the edge twice, as warp_affine does.
        folded = tf.math.floormod(places + 0.5, 2 * sides)
        places = tf.clip_by_value(tf.minimum(folded, 2 * sides - folded) - 0.5, 0.0, sides - 1)
    # One pixel before and two after the picture stand for all that lies outside.
    places = 1 + tf.clip_by_value(places, -1.0, sides)
    image, *masks = (
        tf.pad(picture, [[1, 2], [1, 2], [0, 0]], constant_values=tf.cast(value, picture.dtype))
        for picture, value in zip(pictures, outside, strict=False)
    )

    def take(picture, at):
        at, shape = tf.cast(at, tf.int32), tf.shape(picture)
        return tf.gather(tf.reshape(picture, [-1, shape[2]]), at[:, :, 1] * shape[1] + at[:, :, 0])

    corner = tf.floor(places)
    share = places - corner
    # The four neighbours of a place lie together: one look-up finds them.
    four = tf.concat([image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:]], axis=2)
    upper_left, upper_right, lower_left, lower_right = tf.split(take(four, corner), 4, axis=2)
    upper = upper_left + share[:, :, :1] * (upper_right - upper_left)
    lower = lower_left + share[:, :, :1] * (lower_right - lower_left)
    return [upper + share[:, :, 1:] * (lower - upper), *(take(mask, tf.floor(places + 0.5)) for mask in masks)]


def within(bounds, number):
    low, high = bounds
    return low + (high - low) * number


def brightness(image, knob, draws, seed=None):
    return image + within(knob["SHIFT"], draws[0])


def contrast(image, knob, draws, seed=None):
    return image * within(knob["FACTOR"], draws[0])


def gamma(image, knob, draws, seed=None):
    return image ** within(knob["EXPONENT"], draws[0])


def noise(image, knob, draws, seed):
    return image + within(knob["STD"], draws[0]) * tf.random.stateless_normal(tf.shape(image), seed, alg="philox")


def blur(image, knob, draws, seed=None):
    """Gaussian blur; at the edge the mean of what there is."""
    sigma = within(knob["SIGMA"], draws[0])
    radius = math.ceil(3 * knob["SIGMA"][1])
    kernel = tf.exp(-(tf.range(-radius, radius + 1, dtype=tf.float32) ** 2) / (2 * sigma**2))
    height, width = tf.shape(image)[0], tf.shape(image)[1]

    def along(pictures, axis):
        return tf.nn.conv2d(pictures, tf.reshape(kernel, [-1, 1, 1, 1] if axis == 0 else [1, -1, 1, 1]), 1, "SAME")

    channels = along(along(tf.transpose(image, [2, 0, 1])[:, :, :, None], 0), 1)
    weight = along(tf.ones([1, height, 1, 1]), 0) * along(tf.ones([1, 1, width, 1]), 1)
    return tf.transpose((channels / weight)[:, :, :, 0], [1, 2, 0])


def coarse_dropout(image, knob, draws, seed):
    """Rectangles of the image become 0."""
    fewest, most = knob["HOLES"]
    count = fewest + tf.cast(draws[0] * (most - fewest + 1), tf.int32)
    numbers = tf.random.stateless_uniform([2, 2, most], seed, alg="philox")
    covered = []
    for axis in range(2):
        side = tf.cast(tf.shape(image)[axis], tf.float32)
        length = tf.maximum(tf.round(within(knob["SIZE"], numbers[axis, 0]) * side), 1.0)
        start = tf.floor(numbers[axis, 1] * (side - length + 1))
        places = tf.range(side)[:, None]
        covered.append(tf.cast((places >= start) & (places < start + length), tf.float32))
    rows, columns = covered
    rows *= tf.cast(tf.range(most) < count, tf.float32)
    hole = tf.matmul(rows, columns, transpose_b=True) > 0
    return tf.where(hole[:, :, None], 0.0, image)


# In the order they are applied: knob -> function (image, knob, draws, seed)
PHOTOMETRIC = {
    "BRIGHTNESS": brightness,
    "CONTRAST": contrast,
    "GAMMA": gamma,
    "NOISE": noise,
    "BLUR": blur,
    "COARSE_DROPOUT": coarse_dropout,
}

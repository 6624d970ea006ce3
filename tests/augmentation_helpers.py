"""What the tests of both augmentation engines share."""

import cv2
import numpy as np
from helpers import PROJECT

from data_generators import build_dataset
from utils.config import load_config

POLICIES = sorted(path.stem for path in (PROJECT / "configs/augmentation").glob("*.yaml"))


def config(*overrides, size=(96, 96)):
    return load_config(
        [f"INPUT.HEIGHT={size[0]}", f"INPUT.WIDTH={size[1]}", "OUTPUT.CLASSES=4", "loss=dice", *overrides]
    )


def on(*knobs):
    return [f"AUGMENTATION.{knob}.PROBABILITY=1.0" for knob in knobs]


LEVELS = np.array([0, 80, 160, 240], np.uint8)  # grey value of each class in `pattern`


def pattern(height=96, width=96, channels=3):
    """Large blobs of four classes; the image has the grey value of the class."""
    noise = np.random.default_rng(1).standard_normal((height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), 9)
    mask = np.digitize(smooth, np.quantile(smooth, [0.25, 0.5, 0.75])).astype(np.uint8)
    return np.repeat(LEVELS[mask][:, :, None], channels, axis=2), mask


def inner(mask):
    """Pixels with one class in the 3x3 around them: where interpolation mixes nothing."""
    kernel = np.ones((3, 3), np.uint8)
    return cv2.dilate(mask, kernel) == cv2.erode(mask, kernel)


def bar():
    """A white bar along the middle row, on black."""
    image = np.zeros((101, 101, 1), np.uint8)
    image[48:53, 20:81] = 255
    return image, image[:, :, 0] // 255


def angle_of(mask):
    ys, xs = np.nonzero(mask)
    return np.degrees(0.5 * np.arctan2(2 * np.cov(xs, ys)[0, 1], np.var(xs) - np.var(ys)))


# A grey value of 100 lies between these after each knob.
PHOTOMETRIC = [
    ("BRIGHTNESS.SHIFT=[0.1,0.2]", 100 + 0.1 * 255, 100 + 0.2 * 255),
    ("CONTRAST.FACTOR=[1.2,1.5]", 120, 150),
    ("GAMMA.EXPONENT=[1.5,2.0]", 255 * (100 / 255) ** 2, 255 * (100 / 255) ** 1.5),
]


def batches(folder, loader, split="train", augment=True, *overrides):
    cfg = config(
        f"WORK_DIR={folder}",
        f"DATA_GENERATOR_TYPE={loader}",
        "augmentation=tpu_segmentation",
        "+LOSS.boundary_weighted_ce=1.0",
        *overrides,
    )
    return [[np.asarray(part) for part in batch] for batch in build_dataset(cfg, split, augment=augment)]

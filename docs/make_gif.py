"""Make the moving picture of the README: predictions for the same images after more and more epochs.

    python docs/make_gif.py docs/images/training.gif --images isbi/val/images/a.png isbi/val/images/b.png \\
        --masks isbi/val/mask/a.png isbi/val/mask/b.png --epochs 1 2 3 5 8 13 21 30 -- \\
        MODEL.TYPE=tiny_unet3plus DATASET.TRAIN.IMAGES_PATH=$PWD/isbi/train/images ...

After `--` come the overrides of train.py. Training stops after each of the epochs, predict.py writes probabilities, and
the next call of train.py continues where the last one stopped. Weights and predictions go to `--work`.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
GAP, HEADER = 8, 34  # pixels
WHITE, INK, ACCENT = (255, 255, 255), (38, 50, 56), (0, 137, 123)
MILLISECONDS, LAST_MILLISECONDS = 550, 3000
COLOURS = 96  # of the palette that all frames share


def main() -> None:
    options = parse_arguments()
    work = Path(options.work or tempfile.mkdtemp())
    frames = []
    for epoch in options.epochs:
        probabilities = train_and_predict(work, epoch, options)
        panels = [draw_row(*files, options) for files in zip(options.images, probabilities, options.masks, strict=True)]
        frames.append(draw_frame(panels, epoch, read_score(work, epoch), max(options.epochs), options.panel))
    save_gif(frames, options.output)
    print(f"{options.output}: {len(frames)} frames, {options.output.stat().st_size / 1e6:.2f} MB")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Add -- and the settings of train.py: MODEL.TYPE=unet ..."
    )
    parser.add_argument("output", type=Path, help="the GIF to write")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="images to predict, one row each")
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="their masks")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 3, 5, 8, 13, 21, 30], help="one frame each")
    parser.add_argument("--class-index", type=int, default=1, help="the class whose probability is drawn")
    parser.add_argument("--class-value", type=int, default=255, help="its value in the mask files")
    parser.add_argument("--view", type=int, default=256, help="side of the centre of each image that is shown")
    parser.add_argument("--panel", type=int, default=240, help="side of a panel in pixels")
    parser.add_argument("--work", help="folder for weights and predictions; a temporary one by default")
    arguments, _, overrides = partition(sys.argv[1:], "--")
    return parser.parse_args(arguments, argparse.Namespace(overrides=overrides))


def partition(items: list[str], separator: str) -> tuple[list[str], list[str], list[str]]:
    """Like `str.partition`, for lists."""
    place = items.index(separator) if separator in items else len(items)
    return items[:place], items[place : place + 1], items[place + 1 :]


def train_and_predict(work: Path, epoch: int, options: argparse.Namespace) -> list[Path]:
    """Train up to an epoch, predict the images, and return the files of probabilities."""
    output = work / f"epoch{epoch}"
    images = ",".join(f"'{path.resolve()}'" for path in options.images)
    common = [*options.overrides, f"WORK_DIR={work}", "CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY=False"]
    prediction = [f"PREDICT.INPUT=[{images}]", f"PREDICT.OUTPUT_PATH={output}", "PREDICT.OVERWRITE=True"]
    output.mkdir(parents=True, exist_ok=True)
    run("train.py", *common, f"HYPER_PARAMETERS.EPOCHS={epoch}", "VERBOSE=2")
    run("predict.py", *common, *prediction, "PREDICT.PROBABILITIES=True", "PREDICT.PICTURES=False")
    return [next(output.glob(f"*/probabilities/{path.stem}.npy")) for path in options.images]


def run(script: str, *overrides: str) -> None:
    subprocess.run([sys.executable, ROOT / script, *overrides], check=True)


def read_score(work: Path, epoch: int) -> float:
    """Validation Dice of an epoch, from the training log."""
    with open(next(work.glob("checkpoint/training_logs_*.csv")), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return float(rows[epoch - 1]["val_dice_coef"])


def draw_row(image: Path, probability: Path, mask: Path, options: argparse.Namespace) -> list[np.ndarray]:
    """The panels of one image: `(panel, panel, 3)` uint8 RGB of image, prediction and ground truth."""
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)[:, :, ::-1]
    chance = np.load(probability, allow_pickle=False)[:, :, options.class_index]
    truth = (cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) == options.class_value).astype(np.float32)
    panels = [center(part, options.view) for part in (pixels, tint(chance), tint(truth))]
    return [cv2.resize(part, (options.panel, options.panel), interpolation=cv2.INTER_AREA) for part in panels]


def center(array: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, (length - side) // 2) for length in array.shape[:2])
    return np.ascontiguousarray(array[top : top + side, left : left + side])


def tint(probability: np.ndarray) -> np.ndarray:
    """Dark blue at 0, pale at 1."""
    low, high = np.array([16, 32, 64], np.float32), np.array([255, 236, 179], np.float32)
    return (low + probability[:, :, None] * (high - low)).round().astype(np.uint8)


def draw_frame(rows: list[list[np.ndarray]], epoch: int, score: float, last: int, panel: int) -> Image.Image:
    width, height = 3 * panel + 4 * GAP, HEADER + len(rows) * (panel + GAP) + HEADER
    frame = Image.new("RGB", (width, height), WHITE)
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(17)
    for column, title in enumerate(("validation image", "prediction", "ground truth")):
        draw.text((GAP + column * (panel + GAP), 8), title, INK, font)
    for number, panels in enumerate(rows):
        for column, part in enumerate(panels):
            frame.paste(Image.fromarray(part), (GAP + column * (panel + GAP), HEADER + number * (panel + GAP)))
    baseline = height - HEADER + 5
    draw.text((GAP, baseline), f"epoch {epoch}", INK, font)
    draw.text((GAP + 100, baseline), f"Dice {score:.3f}", ACCENT, font)
    start, end = GAP + 220, width - GAP
    draw.rectangle((start, baseline + 7, end, baseline + 12), (225, 230, 232))
    draw.rectangle((start, baseline + 7, start + (end - start) * epoch // last, baseline + 12), ACCENT)
    return frame


def save_gif(frames: list[Image.Image], path: Path) -> None:
    """Write the frames with one palette and without dithering, so that what does not change costs nothing."""
    palette = frames[-1].quantize(COLOURS)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    path.parent.mkdir(parents=True, exist_ok=True)
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=times, loop=0, optimize=True)


if __name__ == "__main__":
    main()

"""Compare the conversion of public formats with the usual plain loops, on generated data.

    python benchmarks/preparation_formats.py --images 200 --repeats 5

COCO: each annotation becomes a mask of the whole image (`annToMask`), combined with `np.maximum`. Run-length tables: a
loop over the runs of each row, rows combined likewise. Colour masks: a comparison for each colour. Index masks and LGG:
read, relabel, write. The plain loops copy images wherever the commands do, and write masks with OpenCV; both times
include reading the annotations. The two ways take turns and the table shows medians; before that, masks are compared.
"""

import argparse
import contextlib
import csv
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import cv2
import numpy as np
from pycocotools.coco import COCO

from data_preparation import coco, index_masks, lgg, rle_csv
from utils.base import rle
from utils.base.closed_output import survive_closed_output

COCO_SIZE, RLE_SIZE, CAMVID_SIZE, LGG_SIZE = (480, 640), (768, 768), (360, 480), (256, 256)
COLOURS = [(int(r), int(g), int(b)) for r, g, b in np.random.default_rng(0).choice(256, (12, 3), replace=False)]


def scenery(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """An image that compresses like a photograph."""
    small = rng.integers(0, 256, (size[0] // 16, size[1] // 16, 3), np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def outline(rng: np.random.Generator, size: tuple[int, int], largest: float) -> np.ndarray:
    """A closed polygon `(points, 2)` around a random place, as an annotator draws it."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(12, 40)))
    radius = rng.uniform(0.03, largest) * min(size) * rng.uniform(0.7, 1, len(angles))
    centre = rng.uniform(0.1, 0.9, 2) * size[::-1]
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.clip(points, 0, np.array(size[::-1]) - 1).round(2)


def make_coco(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Images with 7 instances on average, as the COCO training set has, of 80 categories."""
    (folder / "images").mkdir(parents=True)
    images: list[dict] = []
    annotations: list[dict] = []
    for number in range(count):
        name = f"{number:012d}.jpg"
        cv2.imwrite(str(folder / "images" / name), scenery(rng, COCO_SIZE))
        images.append({"id": number, "file_name": name, "height": COCO_SIZE[0], "width": COCO_SIZE[1]})
        for _ in range(rng.integers(1, 14)):
            polygon = outline(rng, COCO_SIZE, 0.4).ravel().tolist()
            keys = {"id": len(annotations), "image_id": number, "category_id": int(rng.integers(1, 81)), "iscrowd": 0}
            annotations.append({**keys, "segmentation": [polygon]})
    categories = [{"id": number, "name": f"category {number}"} for number in range(1, 81)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(data))


def plain_coco(folder: Path, output: Path) -> None:
    """The plain loop."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(str(folder / "annotations.json"))
    for number, image in annotations.imgs.items():
        mask = np.zeros(COCO_SIZE, np.uint8)
        for annotation in annotations.loadAnns(annotations.getAnnIds(imgIds=number)):
            mask = np.maximum(mask, annotations.annToMask(annotation) * annotation["category_id"])
        write(output, folder / "images" / image["file_name"], mask)


def make_rle(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Images with 6 objects on average, a row for each."""
    (folder / "images").mkdir(parents=True)
    rows = [("ImageId", "EncodedPixels")]
    for number in range(count):
        cv2.imwrite(str(folder / f"images/{number}.jpg"), scenery(rng, RLE_SIZE))
        for _ in range(rng.integers(1, 12)):
            polygon = outline(rng, RLE_SIZE, 0.2).round().astype(np.int32)
            rows.append((f"{number}.jpg", rle.encode(cv2.fillPoly(np.zeros(RLE_SIZE, np.uint8), [polygon], 1))))
    with open(folder / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)


def plain_rle(folder: Path, output: Path) -> None:
    """The plain loop."""
    rows: dict[str, list[str]] = {}
    with open(folder / "table.csv", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["ImageId"], []).append(row["EncodedPixels"])
    for name, texts in rows.items():
        mask = np.zeros(RLE_SIZE, np.uint8)
        for text in texts:
            numbers = text.split()
            starts, lengths = (np.asarray(part, dtype=int) for part in (numbers[0::2], numbers[1::2]))
            flat = np.zeros(RLE_SIZE[0] * RLE_SIZE[1], np.uint8)
            for start, length in zip(starts - 1, lengths, strict=True):
                flat[start : start + length] = 1
            mask = np.maximum(mask, flat.reshape(RLE_SIZE[::-1]).T)
        write(output, folder / "images" / name, mask)


def make_classes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A mask of overlapping polygons."""
    mask = np.zeros(size, np.uint8)
    for _ in range(25):
        cv2.fillPoly(mask, [outline(rng, size, 0.5).astype(np.int32)], int(rng.integers(0, len(COLOURS))))
    return mask


def make_camvid(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Images with masks as class indices and as colours."""
    for kind in ("images", "index", "colours"):
        (folder / kind).mkdir(parents=True)
    (folder / "table.txt").write_text("".join("{} {} {}\n".format(*colour) for colour in COLOURS))
    for number in range(count):
        mask = make_classes(rng, CAMVID_SIZE)
        cv2.imwrite(str(folder / f"images/{number}.png"), scenery(rng, CAMVID_SIZE))
        cv2.imwrite(str(folder / f"index/{number}.png"), mask)
        cv2.imwrite(str(folder / f"colours/{number}.png"), np.array(COLOURS, np.uint8)[mask][:, :, ::-1])


def plain_index(folder: Path, output: Path) -> None:
    """The plain loop."""
    for path in sorted((folder / "index").iterdir()):
        write(output, folder / "images" / path.name, read_gray(path))


def plain_colours(folder: Path, output: Path) -> None:
    """The plain loop."""
    for path in sorted((folder / "colours").iterdir()):
        pixels = cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        for index, colour in enumerate(COLOURS):
            mask[np.all(pixels == colour, axis=-1)] = index
        write(output, folder / "images" / path.name, mask)


def make_lgg(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Slices of ten patients."""
    for number in range(count):
        patient = folder / f"TCGA_{number % 10}"
        patient.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(patient / f"{patient.name}_{number}.tif"), scenery(rng, LGG_SIZE))
        mask = np.where(make_classes(rng, LGG_SIZE) > 8, 255, 0).astype(np.uint8)
        cv2.imwrite(str(patient / f"{patient.name}_{number}_mask.tif"), mask)


def plain_lgg(folder: Path, output: Path) -> None:
    """The plain loop."""
    for path in sorted(folder.glob("*/*_mask.tif")):
        name = path.stem.removesuffix("_mask")
        image = np.asarray(cv2.imread(str(path.with_name(f"{name}.tif"))))
        cv2.imwrite(str(output / f"image_{name}.png"), image)
        mask = read_gray(path)
        cv2.imwrite(str(output / f"mask_{name}.png"), (mask > 0).astype(np.uint8))


def read_gray(path: Path) -> np.ndarray:
    """Read one channel."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def write(output: Path, image: Path, mask: np.ndarray) -> None:
    """Copy an image and write its mask."""
    shutil.copyfile(image, output / f"image_{image.name}")
    cv2.imwrite(str(output / f"mask_{image.stem}.png"), mask)


class Format(NamedTuple):
    """make: writes the data; plain: the plain loop; script: the command, with sources and options below the folder."""

    make: Callable[[Path, int, np.random.Generator], None]
    plain: Callable[[Path, Path], None]
    script: ModuleType
    sources: tuple[str, ...]
    options: tuple[str, ...] = ()


FORMATS = {
    "COCO": Format(make_coco, plain_coco, coco, ("annotations.json", "images")),
    "run-length table": Format(make_rle, plain_rle, rle_csv, ("table.csv", "images")),
    "index masks": Format(make_camvid, plain_index, index_masks, ("images", "index")),
    "colour masks": Format(make_camvid, plain_colours, index_masks, ("images", "colours"), ("--colours", "table.txt")),
    "LGG": Format(make_lgg, plain_lgg, lgg, (".",)),
}


def convert(row: Format, workers: int, folder: Path, output: Path) -> None:
    """Run the command of a format."""
    paths = [str(folder / source) for source in row.sources]
    options = [str(folder / option) if "." in option else option for option in row.options]
    row.script.main([*paths, str(output / "data"), *options, "--quiet", "--workers", str(workers), "--val", "0"])


def check_masks(name: str, plain: Path, converted: Path) -> None:
    """Both ways must give the same masks; for COCO the same foreground, as the order of instances differs."""
    written = sorted((converted / "data/train/mask").iterdir())
    assert written
    for path in written:
        expected, found = (read_gray(file) for file in (plain / f"mask_{path.stem.removeprefix('mask_')}.png", path))
        same = np.array_equal(expected > 0, found > 0) if name == "COCO" else np.array_equal(expected, found)
        assert same, f"{name}: {path.name} differs"


def measure(name: str, images: int, repeats: int) -> dict[str, float]:
    """The median time in ms per image of the plain loop ("plain") and of the command with 1 and 2 processes."""
    row = FORMATS[name]
    ways: dict[str, Callable[[Path, Path], None]] = {
        "plain": row.plain,
        "1": partial(convert, row, 1),
        "2": partial(convert, row, 2),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "source"
        row.make(folder, images, np.random.default_rng(1))
        for repeat in range(repeats + 1):
            for way, run in ways.items():
                output = Path(temporary) / way
                shutil.rmtree(output, ignore_errors=True)
                output.mkdir()
                start = time.perf_counter()
                run(folder, output)
                if repeat:  # the first run warms the cache of the disk
                    seconds[way].append(time.perf_counter() - start)
            if not repeat:
                check_masks(name, Path(temporary) / "plain", Path(temporary) / "1")
    return {way: statistics.median(runs) / images * 1000 for way, runs in seconds.items()}


@survive_closed_output()
def main() -> None:
    """Run all measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="images of each format (default 200)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way (default 5)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="default: all")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{arguments.images} images, medians of {arguments.repeats} runs\n")
    print("| format | plain loop, ms per image | 1 process | ratio | 2 processes | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.formats:
        cost = measure(name, arguments.images, arguments.repeats)
        ratios = [f"{cost[way]:.2f} | {cost['plain'] / cost[way]:.2f}" for way in ("1", "2")]
        print(f"| {name} | {cost['plain']:.2f} | {ratios[0]} | {ratios[1]} |", flush=True)


if __name__ == "__main__":
    main()

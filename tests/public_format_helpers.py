"""Small datasets in their published form, for tests of several folders."""

import json

import cv2
import numpy as np
from pycocotools import mask as coco_mask

RNG = np.random.default_rng(3)


def save(path, pixels, *options):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels, *options)
    return path


def colour(height=6, width=8):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def make_coco(folder, **changes):
    """Five images: 1 with overlapping instances, 2 empty, 3 with a crowd, 4 with runs as text, 5 with runs as list."""
    for number in range(1, 6):
        save(folder / f"train/{number:012d}.jpg", colour(20, 30))
    circle = cv2.circle(np.zeros((20, 30), np.uint8), (12, 9), 6, 1, -1)
    text = coco_mask.encode(np.asfortranarray(circle))["counts"].decode()

    def annotation(number, image, category, segmentation, crowd=0):
        keys = {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd}
        return {**keys, "segmentation": segmentation}

    data = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "height": 20, "width": 30} for n in (3, 1, 2, 5, 4)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 1, "name": "person"}, {"id": 90, "name": "tooth brush"}],
        "annotations": [
            annotation(10, 1, 1, [[2, 2, 12, 2, 12, 12, 2, 12]]),  # small, listed first, on top of the cat
            annotation(11, 1, 7, [[0, 0, 20, 0, 20, 15, 0, 15], [25, 15, 29, 15, 29, 19]]),
            annotation(12, 3, 1, {"size": [20, 30], "counts": [200, 100, 300]}, crowd=1),
            annotation(13, 3, 7, [[1, 1, 28, 1, 28, 18, 1, 18]]),
            annotation(14, 4, 7, {"size": [20, 30], "counts": text}),
            annotation(15, 5, 1, {"size": [20, 30], "counts": [0, 20, 580]}),
            annotation(16, 5, 90, []),
        ],
    }
    data = {key: changes.get(key, entries) for key, entries in data.items()}
    (folder / "train.json").write_text(json.dumps(data))
    return data, circle


def make_table(folder, rows, headings="image_id,rle", images=("a", "b", "c")):
    for name in images:
        save(folder / f"images/{name}.png", colour())
    text = "\ufeff" + "\r\n".join([headings, *rows]) + "\r\n"
    (folder / "train.csv").write_text(text, newline="")
    return [folder / "train.csv", folder / "images", folder / "data", "--val", 0]

"""Small datasets in their published form, and how tests run the commands that convert them."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from data_preparation.common.dataset_record import RECORD

PROGRESS = ("write pairs", "prepare volumes")
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


def files(folder):
    """Relative names of all files, hidden ones too, but for the record."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if name != RECORD)


def run(script, capsys, *arguments):
    """Run a script in this process; returns what it printed."""
    script.main(["--workers", "1", *map(str, arguments)])
    return capsys.readouterr().out


def refuse(script, capsys, output, *arguments):
    """Run a script on bad input; returns its one message, and sees that nothing was written in part."""
    with pytest.raises(SystemExit) as end:
        run(script, capsys, *arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2
    lines = [line for line in error.splitlines() if line.strip() and not line.startswith(PROGRESS)]
    assert len(lines) == 1 and lines[0].startswith("Error: "), error
    written = files(output) if output.exists() else []
    assert not [name for name in written if "/." in name or name.startswith(".")]
    assert written or not output.exists()  # no empty folders, no record of nothing
    pairs = [name.split("/") for name in written if not name.endswith(RECORD)]
    images = {(split, name.rsplit(".", 1)[0].replace("image_", "")) for split, kind, name in pairs if kind == "images"}
    masks = {(split, name.rsplit(".", 1)[0].replace("mask_", "")) for split, kind, name in pairs if kind == "mask"}
    assert images == masks
    return lines[0]


def make_lgg(folder, patients=4, slices=3):
    for patient in range(patients):
        name = f"TCGA_CS_49{patient}_1999"
        for index in range(1, slices + 1):
            save(folder / name / f"{name}_{index}.tif", colour())
            mask = np.zeros((6, 8), np.uint8)
            mask[1 : 1 + index, 2:5] = 255
            save(folder / name / f"{name}_{index}_mask.tif", mask)
    (folder / "data.csv").write_text("Patient\n")
    (folder / "TCGA_CS_490_1999" / "._TCGA_CS_490_1999_1.tif").write_bytes(b"\0\5\26\7")
    return folder


def make_pets(folder):
    names = [f"Abyssinian_{index}" for index in range(1, 5)] + ["pug_1", "pug_2"]
    for name in names:
        save(folder / f"images/{name}.jpg", colour())
        trimap = RNG.integers(1, 4, (6, 8), np.uint8)
        save(folder / f"annotations/trimaps/{name}.png", cv2.merge([trimap] * 3) if name == "pug_1" else trimap)
        (folder / f"annotations/trimaps/._{name}.png").write_bytes(b"\0")
    save(folder / "images/unlisted_1.jpg", colour())
    (folder / "images/Abyssinian_101.mat").write_bytes(b"MATLAB")
    lines = [f"{name} 1 1 1\r\n" for name in names]
    (folder / "annotations/trainval.txt").write_text("\ufeff" + "".join(lines[:4]), newline="")
    (folder / "annotations/test.txt").write_text("# name class species breed\r\n" + "".join(lines[4:]), newline="")
    return folder


def make_camvid(folder):
    for split in ("train", "val", "test"):
        for index in range(2):
            save(folder / f"{split}/0001TP_{split}{index}.png", colour())
            save(folder / f"{split}annot/0001TP_{split}{index}.png", np.full((6, 8), index + 10, np.uint8))
    return folder

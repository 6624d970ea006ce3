"""Write what a model predicts."""

import csv
import json
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.base import rle
from utils.base.errors import UserError
from utils.base.files import write_whole
from utils.base.pictures import displayable, legend, side_by_side
from utils.inference.class_indices import decide

LARGEST_PICTURE = 2048  # pixels; pictures to look at of larger images are smaller

CONNECTIVITY = 8


class PredictionWriter:
    """Write masks, pictures to look at and tables of predictions into a folder.

    Args:
        folder: gets `masks`, `pictures`, `probabilities`, `predictions.csv`, `rle.csv` and `coco_results.json`.
        cfg: the config; PREDICT and SHOW_CENTER_CHANNEL_IMAGE are read.
        names: list of str, a name per class, the background first.
        postprocess: function labels -> labels, of an image or a volume; or None.
    """

    def __init__(self, folder, cfg, names, postprocess=None):
        self.folder, self.options, self.names = Path(folder), cfg.PREDICT, names
        self.center_channel = cfg.SHOW_CENTER_CHANNEL_IMAGE
        self.postprocess = postprocess
        self.series, self.tables, self.pieces, self.shown = None, None, 0, 0
        self.written = f"masks, pictures and predictions.csv in {self.folder}"

    def __enter__(self):
        self.stack = ExitStack()
        return self

    def __exit__(self, kind, *error):
        if kind is None and self.tables and "coco" in self.tables:
            self.tables["coco"].write("\n]\n")
        self.stack.__exit__(kind, *error)  # tables appear now, or not at all

    def begin(self):
        """Make room in the folder, and begin the tables: not before there is something to write."""
        prepare_folder(self.folder, self.options.OVERWRITE)
        self.tables = {"rows": csv.writer(self.open_table("predictions.csv"))}
        areas = [f"area_{name}" for name in self.names]
        self.tables["rows"].writerow(["file", "index", "height", "width", *areas, "confidence"])
        if self.options.RLE:
            self.tables["rle"] = csv.writer(self.open_table("rle.csv"))
            several = ["ClassId"] if len(self.names) > 2 else []
            self.tables["rle"].writerow(["ImageId", *several, "EncodedPixels"])
        if self.options.COCO:
            self.tables["coco"] = self.open_table("coco_results.json")
            self.tables["coco"].write("[")

    def open_table(self, name):
        temporary = self.stack.enter_context(write_whole(self.folder / name))
        return self.stack.enter_context(open(temporary, "w", newline="", encoding="utf-8"))

    def write(self, source, index, image, truth, probability, thresholds=None):
        """Take the prediction for one image; a series is written when its last image has come.

        Args:
            source: of `data_preparation.common.sources`, open.
            index: int, which image of it; they come in order.
            image: `(height, width, channels)` uint8 or uint16.
            truth: `(height, width)` class indices, or None.
            probability: `(height, width, classes)` float32, of the size that is written.
            thresholds: see `class_indices`.
        """
        if self.tables is None:
            self.begin()
        if index == 0 or self.series is None:
            self.series = {"labels": [], "confidence": [], "truth": [], "probability": None}
        labels, confidence = decide(probability, thresholds)
        self.series["labels"].append(labels)
        self.series["confidence"].append(confidence)
        self.series["truth"].append(truth)
        if self.options.PROBABILITIES or self.options.COCO:
            self.keep(source, index, probability)
        if index == source.frames - 1:
            self.finish(source, image)
            self.series = None

    def keep(self, source, index, probability):
        if not source.is_series:
            self.series["probability"] = probability[:, :, None]
            return
        if self.series["probability"] is None:
            from utils.inference.sliding_window import zeros

            height, width, classes = probability.shape
            self.series["probability"] = zeros((height, width, source.frames, classes))
        self.series["probability"][:, :, index] = probability

    def finish(self, source, image):
        """Write everything of one source."""
        labels = self.series["labels"]
        if self.postprocess:
            labels = list(np.moveaxis(self.postprocess(np.stack(labels, axis=-1)), -1, 0))
            labels = [np.ascontiguousarray(label) for label in labels]
        path = self.folder / "masks" / f"{source.name}{source.ending}"
        if source.is_series:
            source.save(path, labels)
        else:
            write_png(path, labels[0])
        for index, label in enumerate(labels):
            name = f"{source.name}_{index}" if source.is_series else source.name
            areas = np.bincount(label.ravel(), minlength=len(self.names)).tolist()
            place = index if source.is_series else ""
            confidence = f"{self.series['confidence'][index]:.4f}"
            self.tables["rows"].writerow([source.path, place, *label.shape, *areas, confidence])
            if self.options.RLE:
                self.write_rle(name, label)
            if self.options.COCO:
                self.write_coco(name, label, self.series["probability"][:, :, index])
            if self.options.PICTURES:
                shown = source.look(index) if source.is_series else image
                self.write_picture(name, shown, self.series["truth"][index], label)
        if self.options.PROBABILITIES:
            self.write_probabilities(source)

    def write_picture(self, name, image, truth, label):
        shrink = max(1, -(-max(label.shape) // LARGEST_PICTURE))
        image, label = image[::shrink, ::shrink], label[::shrink, ::shrink]
        truth = None if truth is None else truth[::shrink, ::shrink]
        image = displayable(image / np.float32(np.iinfo(image.dtype).max), self.center_channel)
        picture = side_by_side(image, truth, label)
        picture = np.vstack([picture, legend(self.names, picture.shape[1])])
        write_png(self.folder / "pictures" / f"{name}.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if self.shown < self.options.SHOW and has_screen():
            Image.fromarray(picture).show(title=name)
        self.shown += 1

    def write_rle(self, name, label):
        for index in range(1, len(self.names)):
            several = [index] if len(self.names) > 2 else []
            self.tables["rle"].writerow([name, *several, rle.encode(label == index)])

    def write_coco(self, name, label, probability):
        """One entry for each connected piece; its score is the mean probability of its class."""
        from pycocotools import mask as coco

        image_id = int(name) if name.isdigit() else name
        for index in range(1, len(self.names)):
            count, pieces, boxes, _ = cv2.connectedComponentsWithStats(
                (label == index).astype(np.uint8), connectivity=CONNECTIVITY
            )
            channel = probability[..., index if probability.shape[-1] > 1 else 0]
            for piece in range(1, count):
                area = pieces == piece
                runs = coco.encode(np.asfortranarray(area.astype(np.uint8)))
                entry = {
                    "image_id": image_id,
                    "category_id": index,
                    "bbox": boxes[piece, :4].tolist(),
                    "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                    "score": round(float(channel[area].mean()), 6),
                }
                self.tables["coco"].write((",\n" if self.pieces else "\n") + json.dumps(entry))
                self.pieces += 1

    def write_probabilities(self, source):
        folder, probability = self.folder / "probabilities", self.series["probability"]
        if source.spacing is not None:
            source.save_array(folder / f"{source.name}.nii.gz", probability)
            return
        array = np.moveaxis(probability, 2, 0) if source.is_series else probability[:, :, 0]
        with write_whole(folder / f"{source.name}.npy") as temporary:
            np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)


class LabelWriter:
    """Write `labels.csv`: for each image the likeliest class and the probability of each.

    Args:
        folder: to write to.
        names: list of class names, in the order of the model's output.
        overwrite: PREDICT.OVERWRITE.
    """

    def __init__(self, folder, names, overwrite=False):
        self.names, self.overwrite = names, overwrite
        self.path = Path(folder) / "labels.csv"
        self.rows = []
        self.written = f"labels in {self.path}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is not None or not self.rows:
            return
        prepare_folder(self.path.parent, self.overwrite)
        with write_whole(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["image", "label", *self.names], *self.rows])

    def write(self, source, index, image, truth, probability, thresholds=None):
        """Note the prediction for one image: probability `(classes,)`. One class stands for the second name."""
        if len(probability) == 1:
            probability = np.array([1 - probability[0], probability[0]])
        label = self.names[int(probability.argmax())]
        self.rows.append([source.path, label, *(f"{value:.6f}" for value in probability)])


def has_screen():
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def prepare_folder(folder, overwrite):
    """Keep the folder of an earlier run under the name `<folder>.previous<n>`, or with `overwrite` remove it."""
    if folder.is_dir() and any(folder.iterdir()):
        if overwrite:
            shutil.rmtree(folder)
        else:
            number = 1
            while (previous := folder.with_name(f"{folder.name}.previous{number}")).exists():
                number += 1
            folder.replace(previous)
    folder.mkdir(parents=True, exist_ok=True)


def write_png(path, picture):
    """Write a PNG that appears only when whole."""
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise UserError(f"Cannot write {path}: OpenCV could not encode a picture of shape {picture.shape}.")
    with write_whole(path) as temporary:
        temporary.write_bytes(encoded.tobytes())

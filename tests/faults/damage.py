"""Damage every kind of file that the project reads, in the many ways that a seeded random generator finds.

    python tests/faults/damage.py        # prints the table of docs/explanation/faults.md, files and settings

A damaged file may be refused with a `UserError`, or read if the damage does no harm (a changed pixel). Any other
exception counts as lost; so does a file that cannot be read again after the good one was put back. TensorFlow is
imported only where weights are read.
"""

import json
import random
import sys
import tempfile
from argparse import Namespace
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # helpers of other tests
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import cv2
import nibabel as nib
import numpy as np
import tifffile
from foreign_helpers import drawn_layout, write_keras2, write_legacy, write_safetensors, write_torch
from PIL import Image
from public_format_helpers import make_coco, make_table
from scan_helpers import make_decathlon, write_seg, write_series
from scan_helpers import scan as scan_voxels

from data_generators.files.class_labels import find_labelled_images
from data_generators.files.pairing import find_pairs
from data_generators.files.preparation import read_preparation, write_preparation
from data_generators.files.tfrecord_index import read_shard
from data_generators.files.volume_slices import find_spacing
from data_generators.reading.decoding import read_image
from data_generators.reading.masks import read_mask
from data_generators.reading.samples import ReadSettings
from data_preparation import coco, rle_csv
from data_preparation.scans.labelled_scans import LabelledScan, read_labelled_scan
from data_preparation.scans.slices import SliceSettings
from data_preparation.tfrecord import write_shards
from data_preparation.volumes import find_decathlon
from utils.base.errors import UserError
from utils.base.files import read_list
from utils.checkpoints import load_weights, read_config, save_config, save_weights
from utils.checkpoints.foreign.convert import read_foreign
from utils.config import load_config
from utils.config.schema import SCHEMA
from utils.export.model_card import score_tables
from utils.inference.image_sources import StackSource

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 255, (40, 30, 3), np.uint8)
CLASSES = np.eye(40, dtype=np.uint8)
VOXELS = RNG.integers(-1000, 1000, (16, 12, 5)).astype(np.int16)


def truncated(data, count, seed):
    """Copies truncated to a random length; the first is empty."""
    random_ = random.Random(seed)
    yield b""
    for _ in range(count - 1):
        yield data[: random_.randrange(len(data))]


def mutated(data, count, seed):
    """Copies with some bytes changed, repeated or removed."""
    random_ = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(random_.choice((1, 4, 32))):
            place = random_.randrange(max(len(damaged), 1))
            kind = random_.choice(("change", "repeat", "drop"))
            if kind == "change" and damaged:
                damaged[place] = random_.randrange(256)
            elif kind == "repeat":
                damaged[place:place] = damaged[place : place + random_.randrange(1, 64)]
            else:
                del damaged[place : place + random_.randrange(1, 64)]
        yield bytes(damaged)


def count_outcomes(path, read, copies):
    """Read damaged copies of a file, and the good file again.

    Returns:
        Counter of "read", "refused" and "lost: ..."; see `outcome_of`.
    """
    whole, outcomes = path.read_bytes(), Counter()
    try:
        for damaged in copies:
            path.write_bytes(damaged)
            outcomes[outcome_of(lambda: read(path))] += 1
    finally:
        path.write_bytes(whole)
    read(path)
    return outcomes


def outcome_of(read):
    """ "read", "refused", or "lost: " with the exception that a user would have seen."""
    try:
        read()
    except UserError as error:
        return "refused" if str(error).strip() else "lost: no message"
    except Exception as error:
        return f"lost: {type(error).__name__}: {str(error)[:80]}"
    return "read"


def picture(ending, pixels=COLOURS):
    def make(folder):
        path = folder / f"picture{ending}"
        assert cv2.imwrite(str(path), pixels)
        return path, (lambda path: read_image(path, 3)) if pixels is COLOURS else read_mask

    return make


def encoded_picture(kind, **options):
    """A picture that Pillow writes."""

    def make(folder):
        path = folder / "picture.png"  # the ending decides nothing
        image = Image.fromarray(COLOURS)
        (image.quantize(16) if kind == "GIF" else image).save(path, kind, **options)
        return path, lambda path: read_image(path, 3)

    return make


def raster(**options):
    """A TIFF file of five bands of 16 bit."""

    def make(folder):
        path = folder / "raster.tif"
        bands = np.moveaxis(np.dstack([COLOURS, COLOURS[:, :, :2]]).astype(np.uint16) * 200, -1, 0)
        tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="separate", metadata=None, **options)
        return path, lambda path: read_image(path, 5)

    return make


def palette_mask(folder):
    image = Image.fromarray(CLASSES, "P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(folder / "mask.png")
    return folder / "mask.png", read_mask


def stack(folder):
    path = folder / "stack.tif"
    assert cv2.imwritemulti(str(path), [CLASSES] * 3)

    def read(path):
        source = StackSource(path)
        settings = ReadSettings(height=None, width=None, channels=1, resize=False, divide_mask_by=1)
        source.open(Namespace(images=settings))
        for index in range(source.frames):
            source.read(index)

    return path, read


def scan(ending):
    """A volume with its segmentation, as NIfTI."""

    def make(folder):
        volume, labels = folder / f"volume-0{ending}", folder / f"segmentation-0{ending}"
        nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), volume)
        nib.save(nib.Nifti1Image((VOXELS > 0).astype(np.uint8), np.eye(4)), labels)
        return volume, lambda path: read_all(LabelledScan("0", volume, labels))

    return make


def read_all(paths):
    """Read every slice of a scan and its segmentation."""
    for volume in read_labelled_scan(paths)[:2]:
        for index in range(volume.voxels.shape[2]):
            volume.slice(index)


def dicom(folder):
    voxels = scan_voxels()
    write_series(folder / "series", voxels)
    write_seg(folder / "seg.dcm", (voxels > 0).astype(np.uint8))
    return folder / "series/000.dcm", lambda path: read_all(LabelledScan("0", folder / "series", folder / "seg.dcm"))


def dicom_seg(folder):
    _, read = dicom(folder)
    return folder / "seg.dcm", read


def shard(folder):
    for kind, pixels in (("images", COLOURS), ("mask", CLASSES[:, :30])):
        (folder / kind).mkdir()
        for number in range(3):
            cv2.imwrite(str(folder / kind / f"{kind[:5].rstrip('s')}_{number}_0.png"), pixels)
    (path,) = write_shards(folder / "images", folder / "mask", folder / "shards", "train", 1)

    def read(path):
        for image, mask in read_shard(str(path)):
            read_image(image, 3), read_mask(mask)

    return path, read


def image_list(folder):
    path = folder / "list.txt"
    path.write_text("\n".join(f"images/ä{number}.png" for number in range(20)), encoding="utf-8")
    return path, read_list


def fold_list(folder):
    """A list that a fold consists of, as training reads it: the pictures it names have to be there."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
        for number in range(4):
            cv2.imwrite(str(folder / kind / f"ä{number}.png"), CLASSES)
        text = "".join(f"{folder}/{kind}/ä{number}.png\n" for number in range(4))
        for split in ("train", "val"):
            (folder / f"fold0_{split}_{kind}.txt").write_text(text, encoding="utf-8")

    def read(path):
        find_pairs(load_config([f"WORK_DIR={folder}", f"DATASET.FOLDS={folder}", "DATASET.FOLD=0"]), "train")

    return folder / "fold0_train_images.txt", read


def label_table(folder):
    for number in range(4):
        cv2.imwrite(str(folder / f"ä{number}.png"), CLASSES)
    path = folder / "labels.csv"
    path.write_text("image,label\n" + "".join(f"ä{number}.png,{'ab'[number % 2]}\n" for number in range(4)))
    cfg = load_config([f"WORK_DIR={folder}", "MODEL.TYPE=classifier", "DATASET.TRAIN.IMAGES_PATH=labels.csv"])
    return path, lambda path: find_labelled_images(cfg, "train")


def in_process(script):
    """Run the preparation of a script up to the masks; `SystemExit(2)` is its one line."""

    def run(*arguments):
        try:
            script.main(["--workers", "1", "--quiet", *map(str, arguments)])
        except SystemExit as end:
            raise UserError("refused") from None if end.code == 2 else end

    return run


def run_length_table(folder):
    path, images, data, *options = make_table(folder, ["a.png,1 3 8 2", "b,7 1", "c,2 2"])
    return path, lambda path: in_process(rle_csv)(path, images, data, *options)


def coco_annotations(folder):
    make_coco(folder)
    arguments = (folder / "{split}.json", folder / "{split}", folder / "data")
    return folder / "train.json", lambda path: in_process(coco)(*arguments)


def decathlon(folder):
    make_decathlon(folder)
    return folder / "dataset.json", lambda path: find_decathlon(folder)


def manifest(folder):
    path = folder / "train/manifest/volume-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"complete": True, "spacing_mm": [1.0, 1.0, 2.0], "images": {}, "masks": {}}))
    cfg = load_config()
    return path, lambda path: find_spacing(cfg, folder / "train/images/image_0_0.png")


def preparation(folder):
    settings = SliceSettings(None, None, "resize", -100.0, 300.0, "window", "as_stored", 0)
    write_preparation(folder, settings.record("volumes", ["background", "liver"]))
    return folder / "prepared.json", lambda path: read_preparation(path.parent)


def config_of_weights(folder):
    save_config(load_config(), folder / "m.weights.h5")
    return folder / "m.yaml", read_config


def policy(folder):
    from data_generators.augmentation.albumentations_engine import AlbumentationsAugmentation
    from data_generators.augmentation.policy_files import POLICIES

    path = folder / "policy.yaml"
    path.write_bytes((POLICIES / "mapping_challenge.yaml").read_bytes())
    read = AlbumentationsAugmentation.from_config
    return path, lambda path: read(load_config([f"AUGMENTATION.ALBUMENTATIONS={path}"]))


def weights(folder):
    import keras

    cfg = load_config([f"WORK_DIR={folder}", "MODEL.WEIGHTS_FILE_NAME=m", "CALLBACKS.MODEL_CHECKPOINT.PATH=."])
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Conv2D(2, 3, name="c")(image))
    path = folder / "m.weights.h5"
    save_weights(network, path)
    good = [value.copy() for value in network.get_weights()]

    def read(path):
        load_weights(network, cfg)
        # The checksum in the file: what is read is what was written.
        assert all(map(np.array_equal, good, network.get_weights())), "other weights than were written"

    return path, read


def state(folder):
    from utils.training.state import read_state

    path = folder / "m.state.npz"
    config = b'{"RUN": "a1", "HYPER_PARAMETERS": {"EPOCHS": 2}}'
    about = b'{"epoch": 1, "step": 0, "finished": false, "config": %b, "callbacks": {}}' % config
    with open(path, "wb") as file:
        np.savez(file, about=np.frombuffer(about, np.uint8), v0=np.arange(100.0))

    def read(path):
        found = read_state(path)
        if found is None:
            raise UserError("left out, with a warning")
        assert np.array_equal(found[1][0], np.arange(100.0)), "another state than was written"

    return path, read


def evaluation(folder):
    path = folder / "evaluation.json"
    split = {"images": 3, "scores": {"dice": 0.5, "iou": 0.4}}
    path.write_text(json.dumps({"weights_sha256": "0" * 64, "splits": {"val": split, "test": split}}))
    return path, lambda path: score_tables(path, "0" * 64)


def training_log(folder):
    from utils.training.compare_curves import read_log

    path = folder / "training_logs_m.csv"
    path.write_text("epoch,loss,val_loss\n0,0.5,0.75\n1,0.25,nan\n")
    return path, read_log


# Kind of file -> function (folder) -> (a good file, function (path) that reads it as a command does)
def foreign(write, ending, names):
    """Weights of another program: arrays of a network that is known."""

    def make(folder):
        path = folder / f"weights{ending}"
        write(path, drawn_layout(names))
        return path, read_foreign

    return make


FILES = {
    "PNG": picture(".png"),
    "JPEG": picture(".jpg"),
    "TIFF": picture(".tif"),
    "TIFF, LZW": encoded_picture("TIFF", compression="tiff_lzw"),
    "TIFF, JPEG": encoded_picture("TIFF", compression="jpeg"),
    "TIFF of five bands": raster(rowsperstrip=8),
    "TIFF of five bands, tiles, Zstandard": raster(tile=(16, 16), compression="zstd", predictor=True),
    "BMP": picture(".bmp"),
    "GIF": encoded_picture("GIF"),
    "WebP": encoded_picture("WEBP"),
    "JPEG 2000": encoded_picture("JPEG2000"),
    "mask, PNG": picture(".png", CLASSES),
    "mask with a palette, PNG": palette_mask,
    "stack, TIFF": stack,
    "NIfTI": scan(".nii"),
    "NIfTI, compressed": scan(".nii.gz"),
    "DICOM": dicom,
    "DICOM SEG": dicom_seg,
    "TFRecord shard": shard,
    "list of images": image_list,
    "list of a fold": fold_list,
    "CSV of labels": label_table,
    "CSV of run-length codes": run_length_table,
    "COCO, JSON": coco_annotations,
    "Decathlon, JSON": decathlon,
    "manifest, JSON": manifest,
    "settings of a preparation, JSON": preparation,
    "config of weights, YAML": config_of_weights,
    "augmentation policy, YAML": policy,
    "weights": weights,
    "weights of torch": foreign(write_torch, ".pt", "mateuszbuda"),
    "weights of torch before 1.6": foreign(write_legacy, ".pth", "mateuszbuda"),
    "weights, safetensors": foreign(write_safetensors, ".safetensors", "mateuszbuda"),
    "weights of Keras 2": foreign(write_keras2, ".h5", "unet3plus"),
    "state": state,
    "evaluation.json": evaluation,
    "log of a training, CSV": training_log,
}

VALUES = ("", "nan", "-1", "1e99", "null", "[]", "[1,a]", "{a: 1}", "true", "'x y'", "0.5", "[[1]]", "..", "${A}", "\\")


def mutated_overrides(count, seed=0):
    """Texts KEY=VALUE with values of other kinds, and keys with a letter changed or left out."""
    random_, keys = random.Random(seed), [key for key, _ in SCHEMA.leaves() if "." in key]
    for _ in range(count):
        key = random_.choice(keys)
        if random_.random() < 0.3:
            place = random_.randrange(len(key))
            key = key[:place] + random_.choice(["", "x", ".", "=", "["]) + key[place + 1 :]
        yield f"{key}={random_.choice(VALUES)}"


def rows(lengths, mutations, settings):
    """Yield (fault, Counter) of all files and of the settings."""
    for name, make in FILES.items():
        for kind, copies, count in (("cut off", truncated, lengths), ("bytes changed", mutated, mutations)):
            with tempfile.TemporaryDirectory() as folder:
                path, read = make(Path(folder))
                yield f"{name}, {kind}", count_outcomes(path, read, copies(path.read_bytes(), count, name))
    yield "settings", Counter(outcome_of(lambda text=text: load_config([text])) for text in mutated_overrides(settings))


def print_table(found):
    print("| fault | tried | read or did no harm | refused with a clear message | lost |")
    print("| --- | --- | --- | --- | --- |")
    totals = Counter()
    for name, outcomes in found:
        lost = {kind: count for kind, count in outcomes.items() if kind.startswith("lost")}
        counts = [outcomes.total(), outcomes["read"], outcomes["refused"], sum(lost.values())]
        totals.update(dict(enumerate(counts)))
        print(f"| {name} | {' | '.join(map(str, counts))} |", flush=True)
        for kind in lost:
            print(f"  {kind}", file=sys.stderr)
    print(f"| all | {' | '.join(str(totals[number]) for number in range(4))} |")


if __name__ == "__main__":
    print_table(rows(lengths=10, mutations=100, settings=200))

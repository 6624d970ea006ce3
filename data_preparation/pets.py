"""Convert Oxford-IIIT Pet: `images/*.jpg`, `annotations/trimaps/*.png` and the lists `annotations/{trainval,test}.txt`.

    python data_preparation/pets.py oxford-iiit-pet data
    python data_preparation/pets.py tfds data              # downloads with tensorflow_datasets, if that is installed

Trimaps of 1 (pet), 2 (background) and 3 (outline) become classes 0, 1 and 2. The published test list becomes the test
split; --val is a share of the published trainval list.
"""

import io
import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np
from PIL import Image

from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, NewPair, write_together
from data_preparation.common.image_files import list_images, raise_problems
from data_preparation.common.png import encode_png
from data_preparation.common.splits import assign_splits, existing_path
from utils.base.errors import UserError

LISTS = {"trainval": "trainval.txt", "test": "test.txt"}
CLASSES = ("pet", "background", "outline")  # trimap values 1, 2, 3


def collect(options: Namespace) -> Conversion:
    """Find the listed images and their trimaps."""
    if options.test:
        raise UserError("--test: the test split is published; leave it out.")
    source = Path(options.source)
    if options.source == "tfds":
        source = export_tfds(options.output / "tfds")
    image_files, skipped = list_images(existing_path(source / "images"))
    trimap_files, skipped_trimaps = list_images(existing_path(source / "annotations" / "trimaps"))
    images, trimaps = ({path.stem: path for path in paths} for paths in (image_files, trimap_files))
    splits = read_splits(source, options.val, options.seed)
    raise_problems(
        [f"{name} is listed, but there is no {source}/images/{name}.jpg." for name in splits if name not in images]
        + [
            f"{name} is listed, but there is no {source}/annotations/trimaps/{name}.png."
            for name in splits
            if name not in trimaps
        ]
    )
    skipped += skipped_trimaps + [(images[name], "in neither list") for name in sorted(images.keys() - splits)]
    pairs = [
        NewPair(splits[name], images[name], name, name, trimaps[name], (trimaps[name],)) for name in sorted(splits)
    ]
    return Conversion(pairs, read_trimap, skipped, CLASSES)


def read_splits(source: Path, val: float, seed: int) -> dict[str, str]:
    """`{name: split}` of the published lists; `val` is drawn from the trainval list."""
    names = {kind: read_names(existing_path(source / "annotations" / file)) for kind, file in LISTS.items()}
    both = sorted(set(names["trainval"]) & set(names["test"]))
    if both:
        raise UserError(f"{source}: {both[0]} is in trainval.txt and in test.txt. Remove it from one.")
    return {**assign_splits(names["trainval"], val, 0, seed), **dict.fromkeys(names["test"], "test")}


def read_names(path: Path) -> list[str]:
    """The first word of each line that is neither empty nor a comment.

    Raises:
        UserError: a name that is listed twice.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: {twice} is listed twice.")
    return names


def read_trimap(pair: NewPair, height: int, width: int) -> np.ndarray:
    """1, 2 and 3, in one or three equal channels, become 0, 1 and 2."""
    mask = read_mask(pair.annotation)
    if mask.min() < 1 or mask.max() > len(CLASSES):
        values = np.unique(mask)[:10].tolist()
        raise UserError(f"{pair.annotation}: contains the values {values}; a trimap has 1, 2 and 3.")
    return mask - np.uint8(1)


def export_tfds(folder: Path) -> Path:
    """Write the dataset of tensorflow_datasets in its published form, once, and return the folder."""
    lists = {kind: folder / "annotations" / file for kind, file in LISTS.items()}
    if all(path.exists() for path in lists.values()):
        return folder
    try:
        import tensorflow_datasets as tfds  # imports TensorFlow, which no other preparation needs
    except ImportError:
        raise UserError("tfds needs tensorflow_datasets: pip install tensorflow-datasets, or give a folder.") from None
    for name in ("images", "annotations/trimaps"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for kind, split in (("trainval", "train"), ("test", "test")):
        names = []
        for sample in tfds.as_numpy(tfds.load("oxford_iiit_pet:4.*.*", split=split)):
            name = Path(sample["file_name"].decode()).stem
            image = io.BytesIO()
            Image.fromarray(sample["image"]).save(image, "png")
            trimap = encode_png(np.ascontiguousarray(sample["segmentation_mask"][:, :, 0]))
            write_together(
                {folder / f"images/{name}.png": image.getvalue(), folder / f"annotations/trimaps/{name}.png": trimap}
            )
            names.append(name)
        write_together({lists[kind]: "\n".join(names).encode()})
    return folder


main = dataset_command(__doc__, {"source": "folder with images/ and annotations/, or the word tfds"}, collect)

if __name__ == "__main__":
    main()

"""Oxford-IIIT Pet: `images/*.jpg`, `annotations/trimaps/*.png` and the lists `annotations/{trainval,test}.txt`.

    python data_preparation/pets.py oxford-iiit-pet data
    python data_preparation/pets.py tfds data              # through tensorflow_datasets, where that is installed

Trimaps of 1 (pet), 2 (background) and 3 (outline) become classes 0, 1 and 2. The published test list becomes the test
split; --val is a share of the published trainval list.
"""

import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np

from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import command
from data_preparation.common.dataset_writer import Item, Plan, put
from data_preparation.common.listing import list_pictures, refuse
from data_preparation.common.png import encode_png
from data_preparation.common.splits import assign_splits, existing
from utils.base.errors import UserError

LISTS = {"trainval": "trainval.txt", "test": "test.txt"}
CLASSES = 3  # trimap values 1, 2, 3


def plan(options):
    if options.test:
        raise UserError("--test: the test split is published; leave it out.")
    source = Path(options.source)
    if options.source == "tfds":
        source = export_tfds(options.output / "tfds")
    images, skipped = list_pictures(existing(source / "images"))
    trimaps, hidden = list_pictures(existing(source / "annotations" / "trimaps"))
    images, trimaps = ({path.stem: path for path in paths} for paths in (images, trimaps))
    names = {kind: read_names(existing(source / "annotations" / file)) for kind, file in LISTS.items()}
    both = sorted(set(names["trainval"]) & set(names["test"]))
    if both:
        raise UserError(f"{source}: {both[0]} is in trainval.txt and in test.txt. Remove it from one.")
    splits = {**assign_splits(names["trainval"], options.val, 0, options.seed), **dict.fromkeys(names["test"], "test")}
    problems = [
        f"{name} is listed, but there is no {source}/images/{name}.jpg." for name in splits if name not in images
    ]
    problems += [
        f"{name} is listed, but there is no {source}/annotations/trimaps/{name}.png."
        for name in splits
        if name not in trimaps
    ]
    refuse(problems)
    skipped += hidden + [(images[name], "in neither list") for name in sorted(images.keys() - splits)]
    items = [Item(splits[name], images[name], name, name, trimaps[name], (trimaps[name],)) for name in sorted(splits)]
    return Plan(items, read_trimap, skipped)


def read_names(path):
    """The first word of each line that is not empty or a comment.

    Raises:
        UserError: a name that comes twice.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: {twice} is listed twice.")
    return names


def read_trimap(item, height, width):
    """1, 2, 3, grey or as three equal channels -> 0, 1, 2."""
    mask = read_mask(item.detail)
    if mask.min() < 1 or mask.max() > CLASSES:
        raise UserError(f"{item.detail}: holds the values {np.unique(mask)[:10].tolist()}; a trimap has 1, 2 and 3.")
    return mask - np.uint8(1)


def export_tfds(folder):
    """Write what tensorflow_datasets downloads in the published form, once, and return the folder."""
    lists = {kind: folder / "annotations" / file for kind, file in LISTS.items()}
    if all(path.exists() for path in lists.values()):
        return folder
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise UserError("tfds needs tensorflow_datasets: pip install tensorflow-datasets, or give a folder.") from None
    from PIL import Image

    for name in ("images", "annotations/trimaps"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for kind, split in (("trainval", "train"), ("test", "test")):
        names = []
        for sample in tfds.as_numpy(tfds.load("oxford_iiit_pet:4.*.*", split=split)):
            name = Path(sample["file_name"].decode()).stem
            picture = io.BytesIO()
            Image.fromarray(sample["image"]).save(picture, "png")
            trimap = encode_png(np.ascontiguousarray(sample["segmentation_mask"][:, :, 0]))
            put({folder / f"images/{name}.png": picture.getvalue(), folder / f"annotations/trimaps/{name}.png": trimap})
            names.append(name)
        put({lists[kind]: "\n".join(names).encode()})
    return folder


main = command(__doc__, {"source": "folder with images/ and annotations/, or tfds"}, plan)

if __name__ == "__main__":
    main()

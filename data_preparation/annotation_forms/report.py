"""Print what was found: the form, each class with its objects and images, images without."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_preparation.annotation_forms.classes import IGNORED, Classes
from data_preparation.common.dataset_writer import NewPair
from utils.base.errors import printable
from utils.base.palette import hex_color
from utils.base.wording import counted

SHOWN = 3  # names of images


def print_found(title: str, pairs: Sequence[NewPair], classes: Classes, unlisted: Sequence[Path]) -> None:
    """Print it.

    Args:
        title: of the form.
        pairs: of all images.
        classes: of all pairs.
        unlisted: images that no annotation names.
    """
    objects: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for pair in pairs:
        found = {(shape.class_name, shape.group or shape.where) for shape, _ in pair.annotation.shapes}
        names = [name for name, _ in found]
        objects.update(names)
        images.update(set(names))
    empty = [pair.image for pair in pairs if not pair.annotation.shapes]
    print(f"{title}: {counted(len(pairs), 'image')}, {counted(sum(objects.values()), 'object')}")
    width = max(len(name) for name in [*classes.names, *classes.values, "class"])
    print(f"  value  {'class':{width}}  objects  images  colour")
    unused = [name for name in classes.values if not objects[name]]
    colours = dict(zip(classes.names, classes.colours, strict=True))
    for name, value in sorted(classes.values.items(), key=lambda entry: entry[1]):
        if name in unused:
            continue
        red, green, blue = colours.get(name, (0, 0, 0))
        shown = "ignored" if value == IGNORED else hex_color((red, green, blue))
        print(printable(f"  {value:5}  {name:{width}}  {objects[name]:7}  {images[name]:6}  {shown}"))
    if any(value == IGNORED for value in classes.values.values()):
        print(f"  Pixels without a class are {IGNORED}: train with DATASET.IGNORE_LABEL={IGNORED}.")
    if unused:
        print(printable(f"  no objects: {', '.join(f'{classes.values[name]} {name}' for name in unused)}"))
    for files, text in (
        (empty, "without objects (--empty skip leaves them out)"),
        (unlisted, "that no annotation names, left out (--unlisted empty takes them as images without objects)"),
    ):
        if files:
            more = ", ..." if len(files) > SHOWN else ""
            print(
                printable(
                    f"  {counted(len(files), 'image')} {text}: {', '.join(file.name for file in files[:SHOWN])}{more}"
                )
            )

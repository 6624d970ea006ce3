"""Which class is which value, and its colour."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_generators.files.preparation import is_name
from data_preparation.annotation_forms.records import BACKGROUND_NAMES, AnnotatedImage, Colour, Found
from data_preparation.common.coco_files import Id, choose_categories
from data_preparation.common.objects import ObjectMasks
from utils.base.class_bits import MOST_CLASSES
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.palette import BACKGROUND, CLASS_COLORS, class_color

IGNORED = 255
COLOURS = "classes.csv"


class Classes(NamedTuple):
    """values: of each class name, IGNORED for those without a class; names: of values 0, 1, ...; colours: likewise."""

    values: dict[str, int]
    names: list[str]
    colours: list[Colour]


def choose_classes(found: Sequence[Found], images: Sequence[AnnotatedImage], options: Namespace) -> Classes:
    """The classes of all images: as the tool lists them, then others by the alphabet; or those of --categories.

    Raises:
        UserError: a class that there is none of, a name that none can have, more classes than values.
    """
    used = {shape.class_name for image in images for shape in image.shapes}
    ignored = set(options.ignore).union(*(part.ignored for part in found))
    listed = list(dict.fromkeys(name for part in found for name in part.class_names))
    listed += sorted(used - set(listed))
    background = [name for name in listed if name.lower() in BACKGROUND_NAMES]
    names = [name for name in listed if name not in ignored and name not in background]
    for name in names:
        if not is_name(name):
            raise UserError(f"{options.source}: {name[:60]!r} cannot be the name of a class. Rename it in the tool.")
    entries: dict[Id, dict] = {number: {"name": name} for number, name in enumerate(names, start=1)}
    chosen = choose_categories(Path(options.source), entries, options.categories)
    most = MOST_CLASSES if options.multi_label else IGNORED - 1
    if len(chosen) > most:
        raise UserError(f"{options.source}: has {len(chosen)} classes; at most {most} fit. Choose: --categories.")
    values = {entries[number]["name"]: value for number, value in chosen.items()}
    ordered = ["background", *values]
    known = {name: colour for part in found for name, colour in part.colours.items()}
    values |= dict.fromkeys(background, 0) | dict.fromkeys(ignored & used, IGNORED)
    if (
        options.multi_label
        and len(chosen) == MOST_CLASSES
        and (IGNORED in values.values() or options.crowd == "ignore")
    ):
        raise UserError(
            f"{options.source}: {IGNORED} is the value of {MOST_CLASSES} overlapping classes and of ignored pixels. "
            "Choose fewer: --categories."
        )
    ordered = ObjectMasks.from_options(options, len(ordered), IGNORED - 1).class_names(ordered)
    if len(set(ordered)) < len(ordered):
        raise UserError(f"{options.source}: has a class {ordered[-1]}, as --border-class calls its own. Rename it.")
    return Classes(values, ordered, distinct_colours(ordered, known))


def distinct_colours(names: Sequence[str], known: dict[str, Colour]) -> list[Colour]:
    """A colour of its own for each class: that of the tool, else one of the project's that is still free."""
    colours: list[Colour] = [BACKGROUND]
    for index, name in enumerate(names[1:], start=1):
        free = [class_color(index), *CLASS_COLORS, *((index, 255 - index, shade) for shade in range(256))]
        wanted = [known[name]] if name in known else []
        colours.append(next(colour for colour in [*wanted, *free] if colour not in colours))
    return colours


def write_colours(folder: Path, classes: Classes) -> None:
    """Write the table of classes, as `data_preparation.common.colour_tables` reads it."""
    rows = [
        ",".join([str(index), f'"{name}"' if set(name) & set(',"#;\t') else name, *map(str, colour)])
        for index, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    ]
    text = "\n".join(["id,name,red,green,blue", *rows]) + "\n"
    with atomic_write(folder / COLOURS) as temporary:
        temporary.write_text(text, encoding="utf-8")

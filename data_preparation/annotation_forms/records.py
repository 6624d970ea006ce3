"""What every reader of a form returns: images with their shapes, the classes with their colours, what was left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_preparation.annotation_forms.shapes import Part
from data_preparation.common.image_files import Skipped

Colour = tuple[int, ...]  # red, green, blue

VOID = "__ignore__"  # what labelme calls pixels without a class; other forms' are given this name
BACKGROUND_NAMES = {"background", "_background_", "__background__"}


class Shape(NamedTuple):
    """An object, or a part of one.

    where: file and entry, for messages; parts: their pixels together; order: in the tool, the highest on top; group:
    shapes of the same one are one object, None: it is alone; is_crowd: it lies below all others.
    """

    where: str
    class_name: str
    parts: Sequence[Part]
    order: int = 0
    group: str | None = None
    is_crowd: bool = False


class AnnotatedImage(NamedTuple):
    """An image as an annotation file describes it.

    where: file and entry, for messages; names: of the image, the likeliest first, relative to `folder`; size: height
    and width, None if the file does not say; keys: where in the JSON file `sources[0]` the image itself is; split:
    "train" | "val" | "test", None if none is published; file: the image where the form leaves no choice.
    """

    where: str
    names: Sequence[str]
    folder: Path
    shapes: Sequence[Shape]
    sources: tuple[Path, ...]
    size: tuple[int, int] | None = None
    keys: tuple[str | int, ...] | None = None
    split: str | None = None
    file: Path | None = None


class Found(NamedTuple):
    """What a reader found. class_names: those that the form lists, in its order; ignored: classes without a value."""

    images: Sequence[AnnotatedImage]
    class_names: Sequence[str] = ()
    colours: dict[str, Colour] = {}
    skipped: Sequence[Skipped] = ()
    ignored: frozenset[str] = frozenset()

"""QuPath: GeoJSON in pixels of the full image, a file per image with the same name.

The class is `classification.name`; QuPath ignores classes whose name ends with *, and so does this. QuPath fills
polygons with Java2D: a pixel belongs to a polygon by its centre, as here.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

from data_preparation.annotation_forms.geometries import features_of, polygons_of, properties_of
from data_preparation.annotation_forms.records import AnnotatedImage, Colour, Found, Shape
from data_preparation.annotation_forms.source import Source, any_json, json_of_form, not_of_form
from data_preparation.annotation_forms.values import colour_of
from data_preparation.common.image_files import Skipped

TITLE = "QuPath GeoJSON"
MARKS = {"objectType", "object_type", "isLocked", "measurements"}
UNCLASSIFIED = "unclassified"


def is_form(content: Any) -> bool:
    """Whether the content of a JSON file is QuPath's."""
    return any(
        MARKS & set(properties) or isinstance(properties.get("classification"), dict)
        for properties in map(properties_of, features_of(content)[:20])
    )


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any_json(source, is_form)


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images: list[AnnotatedImage] = []
    skipped: list[Skipped] = []
    colours: dict[str, Colour] = {}
    ignored = set()
    for path, content in json_of_form(source, is_form):
        if content is None:
            skipped.append(not_of_form(path, TITLE))
            continue
        shapes = read_features(path, content, colours, skipped)
        ignored |= {shape.class_name for shape in shapes if shape.class_name.endswith("*")}
        images.append(AnnotatedImage(str(path), [path.stem, path.name.split(".")[0]], path.parent, shapes, (path,)))
    return Found(images, colours=colours, skipped=skipped, ignored=frozenset(ignored))


def read_features(path: Path, content: Any, colours: dict[str, Colour], skipped: list[Skipped]) -> list[Shape]:
    """The shapes of a file; colours of classes are added to `colours`, what encloses nothing to `skipped`."""
    shapes = []
    for number, feature in enumerate(features_of(content)):
        where = f"{path}: feature {number}"
        found = properties_of(feature).get("classification")
        classification = found if isinstance(found, dict) else {}
        name = str(classification.get("name") or UNCLASSIFIED)
        colour = colour_of(classification.get("color", classification.get("colorRGB")))
        if colour:
            colours[name] = colour
        polygons, reason = polygons_of(feature, where)
        if reason:
            skipped.append((f"{where} ({name})", reason))
        else:
            shapes.append(Shape(where, name, polygons, number))
    return shapes

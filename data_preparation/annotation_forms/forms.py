"""The table of forms: what each is called, how it is recognised, and its reader.

To add one, write a file with `recognise(source) -> bool` and `read(source, options) -> Found`, and a row here.
"""

from argparse import Namespace
from collections.abc import Callable
from typing import NamedTuple

from data_preparation.annotation_forms import (
    coco,
    cvat,
    geojson,
    label_studio,
    labelme,
    qupath,
    supervisely,
    via,
    voc,
    yolo,
)
from data_preparation.annotation_forms.records import Found
from data_preparation.annotation_forms.source import Source, content_of
from data_preparation.common.raw_data import refuse_raw
from utils.base.errors import UserError


class Form(NamedTuple):
    """title: for people; known_by: how `recognise` tells it; read: function of the source and the options; has_objects:
    whether it tells objects of a class apart."""

    title: str
    known_by: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source, Namespace], Found]
    has_objects: bool = True


FORMS = {
    "labelme": Form("labelme JSON", "JSON with shapes and imagePath", labelme.recognise, labelme.read),
    "coco": Form("COCO JSON", "JSON with images, annotations and categories", coco.recognise, coco.read),
    "cvat": Form("CVAT for images 1.1", "XML whose root is annotations", cvat.recognise, cvat.read),
    "via": Form("VGG VIA JSON", "JSON with filename and regions per image", via.recognise, via.read),
    "supervisely": Form("Supervisely", "JSON with objects and size", supervisely.recognise, supervisely.read),
    "label_studio": Form(
        "Label Studio JSON", "JSON list of tasks with annotations", label_studio.recognise, label_studio.read
    ),
    "qupath": Form("QuPath GeoJSON", "GeoJSON with objectType or classification", qupath.recognise, qupath.read),
    "geojson": Form("GeoJSON over GeoTIFF", "any other GeoJSON", geojson.recognise, geojson.read),
    "voc": Form("Pascal VOC masks", "PNG in SegmentationClass", voc.recognise, voc.read, has_objects=False),
    "yolo": Form("YOLO segmentation", "text of numbers, or data.yaml", yolo.recognise, yolo.read),
}


def find_form(source: Source) -> str:
    """The name of the one form that a source has.

    Raises:
        UserError: it has none, or several; or it is data that another command prepares, which is named.
    """
    found = [name for name, form in FORMS.items() if form.recognise(source)]
    if len(found) > 1:
        raise UserError(f"{source.path}: has the forms {', '.join(found)}. Choose one: --form {found[0]}.")
    if not found:
        refuse_raw(source.path, besides=["annotations.py"])
        for path in source.ending(".json", ".geojson")[:1]:
            content_of(path)  # says what is wrong with it
        known = "; ".join(f"{form.title} ({form.known_by})" for form in FORMS.values())
        raise UserError(f"{source.path}: holds annotations of no known form: {known}.")
    return found[0]

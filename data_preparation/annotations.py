"""Convert annotations: labelme, COCO, CVAT, VGG VIA, Supervisely, Label Studio, QuPath, GeoJSON, Pascal VOC, YOLO.

    python data_preparation/annotations.py labelme_folder data
    python data_preparation/annotations.py export/annotations.xml data --images photos --val 0.1
    python data_preparation/annotations.py 'pets/{split}' data --categories cat dog

SOURCE is a folder or an annotation file; the form is found by its contents. Images are looked up below SOURCE and below
--images, nowhere else. Large objects are drawn first, so that small ones stay visible. `{split}` stands for train, val
and test; a split that the form has itself is kept; otherwise --val and --test draw one.

--objects keeps the objects as label images (shapes of a group are one), --border N a border of N pixels between those
that touch, --border-class as a class of its own.

Class 0 is the background; the others are 1, 2, ... in the order of the tool, else of the alphabet. OUTPUT/classes.csv
lists them with their colours, as `index_masks.py --colours` reads them.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

from data_preparation.annotation_forms.classes import Classes, choose_classes, write_colours
from data_preparation.annotation_forms.drawing import Drawing, draw_mask
from data_preparation.annotation_forms.forms import FORMS, find_form
from data_preparation.annotation_forms.placing import Placed, place_empty, place_images, unlisted_images
from data_preparation.annotation_forms.records import VOID, Found
from data_preparation.annotation_forms.report import print_found
from data_preparation.annotation_forms.source import ImageIndex, open_source
from data_preparation.common.command_line import check_options, errors_in_one_line, make_parser
from data_preparation.common.dataset_writer import Conversion, NewPair, write_dataset
from data_preparation.common.groups import group_of
from data_preparation.common.image_files import Skipped
from data_preparation.common.objects import OBJECT_OPTIONS
from data_preparation.common.splits import existing_path, paths_by_split, with_splits
from utils.base.errors import UserError
from utils.base.progress import Task

SOURCES = {"source": "annotation file or folder of any of these forms, may contain {split}"}
OPTIONS: dict[str, Mapping[str, Any]] = {
    "--form": {"choices": tuple(FORMS), "help": "the form, where the contents do not tell it"},
    "--images": {"type": Path, "nargs": "+", "help": "folders of the images (default: SOURCE)"},
    "--categories": {"nargs": "+", "help": "classes in the order of their numbers (default: all)"},
    "--ignore": {"nargs": "+", "default": [VOID], "help": f"classes whose pixels become 255 (default {VOID})"},
    "--class-attribute": {"help": "attribute that holds the class, in VIA and GeoJSON"},
    "--order": {
        "choices": ("size", "file"),
        "default": "size",
        "help": "what is on top: the smaller object (default), or the later one in the file, by z_order in CVAT",
    },
    "--crowd": {
        "choices": ("include", "skip", "ignore"),
        "default": "include",
        "help": "crowd regions of COCO: below the others (default), left out, or 255",
    },
    "--multi-label": {"action": "store_true", "help": "classes may overlap: a bit of the mask's value each"},
    "--missing": {
        "choices": ("error", "skip"),
        "default": "error",
        "help": "images that are annotated and not found (default error)",
    },
    "--empty": {"choices": ("keep", "skip"), "default": "keep", "help": "images without objects (default keep)"},
    "--unlisted": {
        "choices": ("skip", "empty"),
        "default": "skip",
        "help": "images that no annotation names: left out (default), or without objects",
    },
    "--stored": {
        "action": "store_true",
        "help": "coordinates are those of the stored pixels where EXIF turns an image (default: as viewers show it)",
    },
    "--group": {"help": "regular expression whose first group names the images that stay together (default: none)"},
    **OBJECT_OPTIONS,
}


def collect(options: Namespace) -> tuple[Conversion, Classes]:
    """Find the form, its images and the classes, and print them."""
    for folder in options.images or []:
        existing_path(folder)
    placed: list[Placed] = []
    found: list[Found] = []
    skipped: list[Skipped] = []
    unlisted: list[Path] = []
    with Task("read annotations", quiet=options.quiet, leave=False, announce=False):
        for split, (path,) in paths_by_split(options.source).items():
            source = open_source(path)
            name = options.form or find_form(source)
            if not FORMS[name].has_objects and (options.objects or options.border):
                raise UserError(
                    f"{path}: {FORMS[name].title} hold classes, not objects, which --objects and --border need. For "
                    "SegmentationObject: index_masks.py JPEGImages SegmentationObject OUTPUT --numbers --objects."
                )
            part = FORMS[name].read(source, options)
            index = ImageIndex(options.images or [source.folder])
            images, left_out = place_images(part.images, index, options, split)
            others = unlisted_images(index, images)
            if options.unlisted == "empty":
                images += place_empty(others, options, split)
            else:
                unlisted += others
            placed += images
            found.append(part)
            skipped += [*part.skipped, *left_out]
        if not placed:
            raise UserError(f"{options.source}: {FORMS[name].title}, but no image with annotations was found.")
        classes = choose_classes(found, [entry.described for entry in placed], options)
        pairs = make_pairs(placed, classes, options, skipped)
    if not options.quiet:
        print_found(FORMS[name].title, pairs, classes, unlisted)
    return Conversion(pairs, draw_mask, skipped, classes.names, options.multi_label, options.objects), classes


def make_pairs(placed: Sequence[Placed], classes: Classes, options: Namespace, skipped: list[Skipped]) -> list[NewPair]:
    """The pairs of all images, each with its split; what is left out is added to `skipped`."""
    pairs = []
    kept = []
    for entry in placed:
        drawing = Drawing.of(entry, classes, options, skipped)
        if drawing.shapes or options.empty == "keep":
            kept.append(entry)
            name = entry.image.stem
            pairs.append(NewPair(entry.described.split, entry.image, name, name, drawing, entry.described.sources))
        else:
            skipped.append((entry.image, "no objects of the classes"))
    if not any(pair.annotation.shapes for pair in pairs):
        raise UserError(f"{options.source}: no image has an object to draw, so that every mask would be empty.")
    if len({(pair.split, pair.name) for pair in pairs}) < len(pairs):
        pairs = [pair._replace(name=name, mask_name=name) for pair, name in zip(pairs, long_names(kept), strict=True)]
    if not all(pair.split for pair in pairs):
        pairs = [pair._replace(split=None) for pair in pairs]
    return with_splits(pairs, [group_of(pair.name, options.group) for pair in pairs], options)


def long_names(placed: Sequence[Placed]) -> list[str]:
    """Names of images with the folders below the one that all have in common, where their own are there twice."""
    parts = [entry.image.parent.absolute().parts for entry in placed]
    shared = next((level for level, names in enumerate(zip(*parts, strict=False)) if len(set(names)) > 1), None)
    start = min(map(len, parts)) if shared is None else shared
    return ["_".join([*folders[start:], entry.image.stem]) for folders, entry in zip(parts, placed, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; `arguments` as typed, None for those of this process."""
    parser = make_parser(__doc__, SOURCES, OPTIONS)
    with errors_in_one_line():
        options = parser.parse_args(arguments)
        check_options(options)
        conversion, classes = collect(options)
        write_dataset(conversion, options, SOURCES)
        write_colours(options.output, classes)


if __name__ == "__main__":
    main()

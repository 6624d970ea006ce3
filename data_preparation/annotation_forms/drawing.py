"""Draw the shapes of an image into its mask."""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.reading.headers import read_whole
from data_generators.reading.orientation import orientation_of, turn_as_shown
from data_preparation.annotation_forms.classes import IGNORED, Classes
from data_preparation.annotation_forms.placing import Placed
from data_preparation.annotation_forms.records import Shape
from data_preparation.annotation_forms.shapes import CocoSegmentation, Polygon
from data_preparation.common.coco_segmentations import COVERS_NOTHING, covers_no_pixel
from data_preparation.common.dataset_writer import MadeMask, NewPair
from data_preparation.common.image_files import Skipped
from data_preparation.common.objects import ObjectMasks
from data_preparation.common.painting import Painted, paint, rank_by_size
from utils.base.class_bits import bit_of
from utils.base.errors import UserError


class Drawing(NamedTuple):
    """What a mask is drawn from.

    where: file and entry, for messages; size: height and width that the file says, or None; shapes: with their values;
    by_size: whether large objects lie below small ones; multi_label: whether values are bits; stored: see `Placed`;
    chosen: what becomes of single objects.
    """

    where: str
    size: tuple[int, int] | None
    shapes: list[tuple[Shape, int]]
    by_size: bool
    multi_label: bool
    stored: ImageFile | None
    chosen: ObjectMasks

    @classmethod
    def of(cls, placed: Placed, classes: Classes, options: Namespace, skipped: list[Skipped]) -> Drawing:
        """The drawing of an image; shapes that are left out are added to `skipped`, but for other classes."""
        image = placed.described
        shapes = []
        for shape in image.shapes:
            value = classes.values.get(shape.class_name)
            if value is None:
                continue
            if shape.is_crowd and options.crowd == "skip":
                skipped.append((shape.where, "crowd region"))
            elif is_outside(shape, image.size):
                skipped.append((f"{shape.where} ({shape.class_name})", COVERS_NOTHING))
            else:
                value = IGNORED if shape.is_crowd and options.crowd == "ignore" else value
                is_bit = options.multi_label and value not in (0, IGNORED)
                shapes.append((shape, bit_of(value, shape.where) if is_bit else value))
        chosen = ObjectMasks.from_options(options, len(classes.names) - options.border_class)
        by_size = options.order == "size"
        return cls(image.where, image.size, shapes, by_size, options.multi_label, placed.stored, chosen)


def is_outside(shape: Shape, size: tuple[int, int] | None) -> bool:
    """Whether no part of a shape covers a pixel of an image of this size; False if the file does not say the size."""
    if size is None:
        return False
    for part in shape.parts:
        if isinstance(part, Polygon) and not part.shares:
            segmentation = [part.outer]
        elif isinstance(part, CocoSegmentation):
            segmentation = part.segmentation
        else:
            return False
        if not covers_no_pixel(segmentation, *size, shape.where):
            return False
    return True


def draw_mask(pair: NewPair, height: int, width: int) -> np.ndarray | MadeMask:
    """The mask of an image: uint8 `(height, width)`, and its label image where that is asked for.

    Shapes of one group count as one object: they lie together, by their size together. Crowds, ignored pixels and the
    background are none.
    """
    drawing: Drawing = pair.annotation
    data = None if drawing.stored is None else read_whole(drawing.stored)
    if data is not None and orientation_of(data) >= 5:
        height, width = width, height
    if drawing.size not in (None, (height, width)) and drawing.size is not None:
        raise UserError(
            f"{pair.image}: is {height}x{width} pixels, but {drawing.size[0]}x{drawing.size[1]} according to "
            f"{drawing.where}. Is it another copy of the image?"
        )
    regions = [
        (shape, value, part.draw(height, width, shape.where)) for shape, value in drawing.shapes for part in shape.parts
    ]
    pixels: dict[str, int] = {}
    for shape, _, region in regions:
        key = shape.group or shape.where
        pixels[key] = pixels.get(key, 0) + int(np.count_nonzero(region.pixels))
    painted = [
        Painted(
            region,
            value,
            rank_by_size(shape.is_crowd, pixels[shape.group or shape.where] if drawing.by_size else -shape.order),
        )
        for shape, value, region in regions
    ]
    if drawing.multi_label:  # what is ignored lies below; a class is added to the others
        painted = [one._replace(rank=(one.label != IGNORED, *one.rank)) for one in painted]
    mask = paint(painted, height, width, drawing.multi_label, IGNORED if drawing.multi_label else -1)
    mask = mask if data is None else turn_as_shown(mask, data)
    if drawing.chosen.is_plain:
        return mask
    number_of = {key: number for number, key in enumerate(pixels, start=1)}
    numbers = [
        0 if shape.is_crowd or value in (0, IGNORED) else number_of[shape.group or shape.where]
        for shape, value, _ in regions
    ]
    numbered = [one._replace(label=number) for one, number in zip(painted, numbers, strict=True)]
    objects = paint(numbered, height, width, dtype=np.int32)
    return drawing.chosen.finish(mask, objects if data is None else turn_as_shown(objects, data), pair.image)

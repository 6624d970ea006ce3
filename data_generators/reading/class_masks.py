"""DATASET.CLASS_MASKS: masks with a plane for each class, as pages, bands, an array or files of their own."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np
from tifffile import TiffFile

from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.reading.channels import OPENCV_ORDER
from data_generators.reading.decoding import decode
from data_generators.reading.headers import check_whole, read_bytes
from data_generators.reading.mask_values import STORED, read_values
from data_generators.reading.orientation import turn_as_shown
from data_generators.reading.tiff import MAX_PIXELS, TIFF_STARTS, spread, stored_values
from data_generators.reading.tiff_file import check_same_size, errors_named, full_page, pages_with_images
from utils.base.class_bits import pack
from utils.base.errors import UserError
from utils.base.ignored_classes import with_ignored

NPY_START, ZIP_START = b"\x93NUMPY", b"PK\x03\x04"
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
DAMAGED_ARRAY = "{}: cannot be read; the array file is damaged. Save it again with numpy.save or numpy.savez."


def read_class_masks(
    file: ImageFile, names: Sequence[str], ignore_label: int | None = None, form: str = STORED, turned: bool = False
) -> np.ndarray:
    """Read a mask with a plane for each class as bits.

    Args:
        file: a stack, or an `ImageParts` with a file for each class.
        names: of the classes.
        ignore_label: value of pixels of a plane of whose class nothing is known, or None.
        form, turned: see `data_generators.reading.mask_values.read_values`.

    Returns:
        uint8 `(height, width)`, bits as in `utils.base.class_bits`; of several classes with `ignore_label` uint16, as
        in `utils.base.ignored_classes`.

    Raises:
        UserError: see `read_planes`; or a plane holds two values besides 0 and `ignore_label`.
    """
    planes = read_planes(file, names, form, turned)
    ignored = [np.zeros(plane.shape, bool) if ignore_label is None else plane == ignore_label for plane in planes]
    present = []
    for plane, left_out, name in zip(planes, ignored, names, strict=True):
        is_class = (plane != 0) & ~left_out
        check_two_values(file, plane[is_class], name, ignore_label)
        present.append(is_class)
    labels = pack(np.stack(present, axis=-1))
    if ignore_label is None:
        return labels
    labels[np.logical_and.reduce(ignored)] = ignore_label
    return labels if len(planes) == 1 else with_ignored(labels, np.stack(ignored, axis=-1))


def check_two_values(file: ImageFile, values: np.ndarray, name: str, ignore_label: int | None) -> None:
    """Raise a UserError if the pixels of a class have several values: then it is not a mask of one class."""
    if not values.size or values.min() == values.max():
        return
    found = np.unique(values).tolist()
    shown = ", ".join(f"{value:g}" for value in found[:5]) + (", ..." if len(found) > 5 else "")
    ignored, unlabelled = f" and DATASET.IGNORE_LABEL={ignore_label}", ""
    if ignore_label is None:
        ignored, unlabelled = "", " a value that is not labelled is DATASET.IGNORE_LABEL (plan.py: --ignore);"
    raise UserError(
        f"{file}: the mask of the class {name} holds {shown}; a mask of DATASET.CLASS_MASKS has 0 and one other "
        f"value{ignored}. Save it without loss;{unlabelled} masks whose values are classes are read without "
        "CLASS_MASKS."
    )


def read_planes(file: ImageFile, names: Sequence[str], form: str = STORED, turned: bool = False) -> list[np.ndarray]:
    """The values of a mask for each class, `(height, width)` each, as stored.

    Raises:
        UserError: it cannot be read, has another number of planes than there are classes, or planes of other sizes.
    """
    if isinstance(file, ImageParts):
        planes = [read_values(part, form, turned) for part in file.parts]
        for part, plane in zip(file.parts, planes, strict=True):
            if plane.shape != planes[0].shape:
                sizes = ["x".join(map(str, found.shape)) for found in (plane, planes[0])]
                raise UserError(
                    f"{part}: is {sizes[0]} (height x width), {file.parts[0]} of the same image {sizes[1]}. The masks "
                    "of all classes need one size."
                )
        return planes
    if form != STORED:
        raise UserError(f"{file}: PREPROCESS_DATA.MASK_FORM={form} is for masks in one picture, not for a stack.")
    data = read_bytes(file)
    if data.startswith(NPY_START):
        return planes_of_array(file, read_npy(file, io.BytesIO(data), len(data), len(names)), len(names))
    if data.startswith(ZIP_START):
        return read_npz(file, data, names)
    check_whole(file, data)
    planes = read_tiff(file, data, len(names)) if data.startswith(TIFF_STARTS) else read_bands(file, data)
    check_count(file, len(planes), len(names), "pages or bands")
    return [turn_as_shown(plane, data) for plane in planes] if turned else planes


def check_count(file: ImageFile, found: int, classes: int, what: str) -> None:
    """Raise a UserError if a stack has another number of planes than there are classes."""
    if found != classes:
        raise UserError(
            f"{file}: has {found} {what}, OUTPUT.CLASSES={classes}. DATASET.CLASS_MASKS=stack needs one for each "
            "class, without the background."
        )


def read_bands(file: ImageFile, data: bytes) -> list[np.ndarray]:
    """The bands of a picture that is no TIFF file, in the order of the file: red is the first."""
    pixels = decode(file, data)
    bands = pixels.shape[2]
    return [np.ascontiguousarray(pixels[:, :, place]) for place in OPENCV_ORDER.get(bands, range(bands))]


def read_tiff(file: ImageFile, data: bytes, classes: int) -> list[np.ndarray]:
    """The pages of a TIFF file, or the bands of its only page."""
    with errors_named(file), TiffFile(io.BytesIO(data)) as tiff:
        pages = [full_page(tiff, number) for number in pages_with_images(tiff)]
        check_same_size(file, pages)
        check_count(file, len(pages) * pages[0].samplesperpixel, classes, "pages or bands")
        found = [np.ascontiguousarray(spread(page, stored_values(page))) for page in pages]
        return [np.ascontiguousarray(values[:, :, band]) for values in found for band in range(values.shape[2])]


def read_npz(file: ImageFile, data: bytes, names: Sequence[str]) -> list[np.ndarray]:
    """The masks in an .npz file: an array for each class under its name, or a single array with all."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            wanted = list(members) if len(members) == 1 else list(names)
            if not set(wanted) <= set(members):
                raise UserError(
                    f"{file}: has the arrays {', '.join(list(members)[:8])}; it needs one for each class, "
                    f"{', '.join(names)}, or a single array with all of them."
                )
            arrays = []
            for name in wanted:
                with archive.open(members[name]) as stream:
                    arrays.append(read_npy(file, stream, members[name].file_size, len(names)))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError):
        raise UserError(DAMAGED_ARRAY.format(file)) from None
    if len(members) == 1:
        return planes_of_array(file, arrays[0], len(names))
    for name, array in zip(wanted, arrays, strict=True):
        if array.ndim != 2 or array.shape != arrays[0].shape:
            raise UserError(
                f"{file}: the array {name} has the shape {array.shape}, {wanted[0]} {arrays[0].shape}. Each needs "
                "(height, width)."
            )
    return arrays


def read_npy(file: ImageFile, stream: IO[bytes], size: int, classes: int) -> np.ndarray:
    """An array of whole numbers or truth values, whose header is checked before memory is taken; never an object.

    Args:
        file: names it in errors.
        stream: at its beginning.
        size: bytes of the stream.
        classes: how many planes it may have.
    """
    try:
        read_header = NPY_HEADERS[np.lib.format.read_magic(stream)]
        shape, by_columns, dtype = read_header(stream)
    except (ValueError, KeyError, EOFError, SyntaxError):
        raise UserError(DAMAGED_ARRAY.format(file)) from None
    if dtype.kind not in "bui":
        raise UserError(f"{file}: holds values of the type {dtype}; masks are whole numbers or truth values.")
    count = int(np.prod(shape, dtype=object))
    if count == 0 or count > MAX_PIXELS * classes:
        raise UserError(f"{file}: promises an array of the shape {shape} and is not read.")
    if stream.tell() + count * dtype.itemsize != size:
        raise UserError(DAMAGED_ARRAY.format(file))
    values = np.frombuffer(stream.read(), dtype)
    return values.reshape(shape, order="F" if by_columns else "C")


def planes_of_array(file: ImageFile, array: np.ndarray, classes: int) -> list[np.ndarray]:
    """The planes of an array `(classes, height, width)` or `(height, width, classes)`; of a class `(height, width)`."""
    if array.ndim == 2 and classes == 1:
        return [array]
    axes = [axis for axis in (0, 2) if array.ndim == 3 and array.shape[axis] == classes]
    if len(axes) == 2:
        raise UserError(
            f"{file}: of the shape {array.shape} the first axis or the last may be that of the classes. Save an .npz "
            "file with an array for each class."
        )
    if not axes:
        raise UserError(
            f"{file}: has the shape {array.shape}; OUTPUT.CLASSES={classes} needs ({classes}, height, width) or "
            f"(height, width, {classes})."
        )
    return [np.ascontiguousarray(plane) for plane in np.moveaxis(array, axes[0], 0)]

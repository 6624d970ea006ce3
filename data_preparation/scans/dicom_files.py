"""Read single DICOM files: each its frames, which have a position, a scale and pixels."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from data_preparation.scans.file_kinds import DICOM_SUFFIXES, is_dicom
from utils.base.errors import UserError
from utils.base.files import refuse_unreadable

MAX_VOXELS = 400_000_000  # of a file; one whose header declares more is not decoded
NOT_SQUARE = 1e-2  # by which the directions of rows and columns may differ from unit vectors at right angles


@contextlib.contextmanager
def explain_damage(path: Path, what: str = "is incomplete or damaged") -> Iterator[None]:
    """Turn whatever a damaged file raises, in pydicom or where its values are used, into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refuse_unreadable(path, error)
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: {what}: {cause}") from None


class Frame(NamedTuple):
    """One slice: a file, or one frame of a file with several.

    position: mm `(left, back, head)` of the first pixel; along_row, along_column: unit vectors; distances: mm between
    columns and between rows; thickness: mm or None; intensity = pixel * slope + intercept; number: of the frame in
    `data`, None for a file with one image.
    """

    path: Path
    data: pydicom.Dataset
    number: int | None
    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    distances: tuple[float, float]
    thickness: float | None
    slope: float
    intercept: float

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name if self.number is None else f"frame {self.number + 1} of {self.path.name}"


def open_file(path: Path) -> pydicom.Dataset:
    """The data set of a DICOM file, also of one without the preamble.

    Raises:
        InvalidDicomError: not DICOM.
    """
    try:
        return pydicom.dcmread(path)
    except InvalidDicomError:
        if not is_dicom(path):
            raise
    data = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in data.file_meta:  # as read: the pixels are not compressed
        implicit, little = data.original_encoding
        plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
    return data


def read_image_file(path: Path) -> tuple[pydicom.Dataset | None, str]:
    """`(data set, "")` of a file with pixels, `(None, why it is left out)` of any other.

    Raises:
        UserError: a file that is damaged, or that should have pixels and has none.
    """
    with explain_damage(path):
        try:
            data = open_file(path)
        except InvalidDicomError:
            if path.name.lower().endswith(DICOM_SUFFIXES) or not path.stat().st_size:
                raise UserError(
                    f"{path}: is not DICOM, or its beginning is lost. Copy it again, or remove it."
                ) from None
            return None, "not DICOM"
        if "PixelData" in data:
            return data, ""
        stored = data.file_meta.get("MediaStorageSOPClassUID") or data.get("SOPClassUID")
        if "Rows" in data or (stored is not None and "Image Storage" in stored.name):
            raise UserError(f"{path}: is an image without pixels: cut short, or of a kind that is not read.")
        return None, "no pixels"


def frames_of(path: Path, data: pydicom.Dataset) -> list[Frame]:
    """The frames of a file with pixels.

    Raises:
        UserError: no position, size of pixels or orientation; colour; a scale that is empty or none.
    """
    kind = str(data.get("PhotometricInterpretation", ""))
    if int(data.get("SamplesPerPixel") or 1) != 1 or not kind.startswith("MONOCHROME"):
        raise UserError(
            f"{path}: is {kind or 'of an unknown kind'}; a slice must be one grayscale image (MONOCHROME2)."
        )
    if data.get("ModalityLUTSequence"):
        raise UserError(f"{path}: has its intensities in a table (ModalityLUTSequence), which is not read.")
    groups = data.get("PerFrameFunctionalGroupsSequence")
    count = int(data.get("NumberOfFrames") or 1)
    if groups is None:
        if count > 1:
            raise UserError(f"{path}: has {count} frames without positions, so it is no volume.")
        return [one_frame(path, None, data, [data] * 4)]
    if len(groups) != count:
        raise UserError(f"{path}: has {count} frames, but positions of {len(groups)}.")
    shared = data.SharedFunctionalGroupsSequence[0] if data.get("SharedFunctionalGroupsSequence") else None
    sequences = ("PlanePosition", "PlaneOrientation", "PixelMeasures", "PixelValueTransformation")
    frames = []
    for number, group in enumerate(groups):
        holders = [functional_group(shared, group, f"{name}Sequence") for name in sequences]
        frames.append(one_frame(path, number, data, holders))
    return frames


def functional_group(shared: pydicom.Dataset | None, group: pydicom.Dataset, sequence: str) -> pydicom.Dataset:
    """The item of a sequence for one frame; values that all frames have may be in the shared group."""
    for holder in (group, shared):
        if holder is not None and holder.get(sequence):
            return holder[sequence].value[0]
    return pydicom.Dataset()


def one_frame(path: Path, number: int | None, data: pydicom.Dataset, holders: list[Any]) -> Frame:
    """A frame from the data sets that hold position, orientation, size of pixels, and scale; see `frames_of`."""
    place, turn, measures, scale = holders
    for holder, key in ((place, "ImagePositionPatient"), (turn, "ImageOrientationPatient"), (measures, "PixelSpacing")):
        if not holder.get(key):
            raise UserError(f"{path}: has no {key}, so the position of the slice is unknown.")
    directions = np.array(turn.ImageOrientationPatient, float).reshape(2, 3)
    position = np.array(place.ImagePositionPatient, float).reshape(3)
    between_rows, between_columns = map(float, measures.PixelSpacing)
    square = np.abs(directions @ directions.T - np.eye(2)).max() <= NOT_SQUARE
    if not square or not np.isfinite(position).all() or not min(between_rows, between_columns) > 0:
        raise UserError(f"{path}: its position, orientation or PixelSpacing is no geometry of a slice.")
    thickness = measures.get("SliceThickness")
    slope, intercept = (
        scale_value(path, scale, key, usual) for key, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not slope:
        raise UserError(f"{path}: RescaleSlope is 0, so its intensities are unknown.")
    along_row, along_column = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    distances = (between_columns, between_rows)
    thick = float(thickness) if thickness else None
    return Frame(path, data, number, position, along_row, along_column, distances, thick, slope, intercept)


def scale_value(path: Path, holder: pydicom.Dataset, key: str, usual: float) -> float:
    """The value of RescaleSlope or RescaleIntercept; `usual` if the file has none."""
    if key not in holder:
        return usual
    value = holder[key].value
    if value in (None, "") or not math.isfinite(float(value)):
        raise UserError(
            f"{path}: {key} is empty or no number, so its intensities are unknown. Fill it in, or remove the element "
            f"if it is {usual:g}."
        )
    return float(value)


def read_pixels(path: Path, data: pydicom.Dataset) -> np.ndarray:
    """The stored values of a file `([frames, ]rows, columns)`.

    Raises:
        UserError: more than MAX_VOXELS, a compression that no installed package reads, or damage.
    """
    check_size(path, data)
    with explain_damage(path, "its pixels cannot be decoded"):
        check_codec(path, data)
        return data.pixel_array


def check_codec(path: Path, data: pydicom.Dataset) -> None:
    """Raise a UserError that names the packages if none that reads this compression is installed."""
    syntax = data.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    if not decoder.is_available:
        options = "; ".join(text.split(" - ")[-1] for text in decoder.missing_dependencies)
        raise UserError(
            f"{path}: is compressed as {syntax.name}, and no package that reads it is installed. Install one "
            f"({options}), such as: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        )


def check_size(path: Path, data: pydicom.Dataset) -> None:
    """Raise a UserError, before decoding, if the header declares more than MAX_VOXELS."""
    shape = [int(data.get(key) or 1) for key in ("NumberOfFrames", "Rows", "Columns")]
    if math.prod(shape) > MAX_VOXELS:
        raise UserError(f"{path}: declares {shape} pixels, more than {MAX_VOXELS:,}, and is not read.")

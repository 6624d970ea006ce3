"""What stands for an image on disk or in a shard, and what its name says."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ImageFile(Protocol):
    """An encoded image: a `pathlib.Path`, a page of a TIFF file (`TiffPageFile`) or a `ShardEntry` of a TFRecord shard.

    `str(file)` names it in messages.
    """

    @property
    def name(self) -> str: ...

    @property
    def stem(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def parent(self) -> Path: ...

    def read_bytes(self) -> bytes: ...


@dataclass(frozen=True)
class ImageParts:
    """An image whose channels are spread over several files, used like an `ImageFile`: DATASET.CHANNELS, SLICES_AROUND.

    `data_generators.reading.decoding.read_image` joins the channels. Code that needs the bytes of files goes through
    `parts_of`.

    Attributes:
        parts: the files, in the order of their channels. A file may occur twice.
        stem: name of the case, to which the name of the mask belongs.
        parent: folder that stands for the one of the images.
        shown: the file that names the image in messages.
    """

    parts: tuple[ImageFile, ...]
    stem: str
    parent: Path
    shown: ImageFile

    def __str__(self) -> str:
        return str(self.shown)

    @property
    def suffix(self) -> str:
        return self.shown.suffix

    @property
    def name(self) -> str:
        return self.stem + self.suffix

    def read_bytes(self) -> bytes:
        """Of the file that is shown: whether it is there, and what it is; not the image."""
        return self.shown.read_bytes()


def composed(name: str) -> str:
    """A name as Linux and Windows write it: macOS writes an accent as a character of its own.

    >>> composed("Blu\\u0308te") == "Bl\\u00fcte"
    True
    """
    return unicodedata.normalize("NFC", name)


def parts_of(file: ImageFile) -> tuple[ImageFile, ...]:
    """The files that an image is read from: itself, or its parts.

    >>> parts_of(Path("a.png"))
    (PosixPath('a.png'),)
    """
    return file.parts if isinstance(file, ImageParts) else (file,)


def volume_and_slice(path: ImageFile | str) -> tuple[str, int] | None:
    """Volume and slice that a name stands for, or None if it does not end in `_<number>`.

    The number after the last underscore is the slice; what precedes it, without a leading `image_`, is the volume.

    >>> volume_and_slice("image_28_5.png")
    ('28', 5)
    """
    stem = Path(path).stem if isinstance(path, str) else path.stem
    match = re.fullmatch(r"(?:image_)?(.+)_(\d+)", stem)
    return (match.group(1), int(match.group(2))) if match else None

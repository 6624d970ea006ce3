"""Images that are no file of their own: turned upright, or kept inside an annotation file."""

import base64
import binascii
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from data_generators.files.image_file import ImageFile
from data_generators.reading.decoding import decode
from data_generators.reading.headers import PNG_START, read_whole
from data_generators.reading.orientation import turn_as_shown
from data_preparation.common.png import encode_png
from utils.base.errors import UserError
from utils.base.text_files import read_json

DATA_URL = "data:"  # data:image/png;base64,...


class MadeImage(ABC):
    """See `data_generators.files.image_file.ImageFile`.

    Attributes:
        path: the file on disk that it is made from.
    """

    path: Path

    @abstractmethod
    def read_bytes(self) -> bytes:
        """The encoded image."""

    def start(self) -> bytes:
        """Its first bytes, which tell the format."""
        return self.read_bytes()[:8]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> Path:
        return self.path.parent


@dataclass(frozen=True)
class UprightImage(MadeImage):
    """An image with an EXIF orientation as viewers show it, as PNG."""

    image: ImageFile
    path: Path

    def __str__(self) -> str:
        return str(self.image)

    def read_bytes(self) -> bytes:
        data = read_whole(self.image)
        return encode_png(turn_as_shown(decode(self.image, data), data))

    def start(self) -> bytes:
        return PNG_START


@dataclass(frozen=True)
class EmbeddedImage(MadeImage):
    """An image inside a JSON file, as base64 or data URL.

    Attributes:
        path: the JSON file.
        keys: where in its content the text is.
    """

    path: Path
    keys: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.path}: image in {'.'.join(map(str, self.keys))}"

    @property
    def stem(self) -> str:
        """That of the file, with the number of the image if there are several."""
        return "_".join([self.path.stem, *(str(key) for key in self.keys if isinstance(key, int))])

    @property
    def name(self) -> str:
        return self.stem + self.suffix

    def read_bytes(self) -> bytes:
        content = read_json(self.path)
        for key in self.keys:
            content = content[key]
        return decode_base64(content, str(self))


def decode_base64(text: object, where: str) -> bytes:
    """The bytes that a text in base64 or a data URL stands for.

    Raises:
        UserError: it is no such text.

    >>> decode_base64("data:image/png;base64,aGk=", "a.json")
    b'hi'
    """
    if not isinstance(text, str):
        raise UserError(f"{where}: {str(text)[:40]!r} stands where a text in base64 belongs.")
    payload = text.partition(",")[2] if text.startswith(DATA_URL) else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{where}: is not base64, it is damaged. Export it again.") from None

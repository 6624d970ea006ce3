"""What stands for an image on disk or in a shard."""

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

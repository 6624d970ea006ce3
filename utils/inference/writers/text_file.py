"""The base of writers that write one text file, line by line."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from utils.base.files import atomic_write
from utils.base.text_files import SHOWN
from utils.inference.writers import AnyPrediction, Writer, WriterSettings


class TextFileWriter(Writer[AnyPrediction]):
    """Writes `self.file`, which appears under its name when the block ends without an error."""

    file_name: ClassVar[str]

    def __init__(self, folder: Path, settings: WriterSettings) -> None:
        super().__init__(folder, settings)
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        temporary = self.stack.enter_context(atomic_write(self.folder / self.file_name))
        self.file = self.stack.enter_context(open(temporary, "w", newline="", encoding="utf-8", errors=SHOWN))
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
        self.stack.__exit__(kind, error, traceback)

    def begin(self) -> None:
        """Write what stands at the beginning."""

    def end(self) -> None:
        """Write what stands at the end."""

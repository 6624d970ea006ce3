"""The files that a reader may read: those below the folders that the user named, and no others.

An annotation file is written by strangers. What it calls an image is only looked up among the images that were listed
there, so no name leads elsewhere.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from data_generators.files.found_files import IMAGE_SUFFIXES
from data_generators.files.image_file import composed
from data_preparation.common.image_files import Skipped, list_images
from utils.base.errors import UserError
from utils.base.listing import kind_at, list_folder
from utils.base.text_files import check_file_name, read_json

MAX_BYTES = 2_000_000_000  # of an annotation file; the largest of COCO has 0.5 GB
MAX_DEPTH = 50  # of XML elements
MASK_FOLDERS = ("segmentationclass", "segmentationobject", "masks_machine", "masks_human")  # begin so, in lower case
SAMPLE = 8  # files that are read to tell the form


class Source(NamedTuple):
    """SOURCE: its folder, and the files below it."""

    path: Path
    folder: Path
    files: Sequence[Path]

    def ending(self, *endings: str) -> list[Path]:
        """The files with these endings, in lower case."""
        return [path for path in self.files if path.name.lower().endswith(endings)]


def open_source(path: Path) -> Source:
    """List a folder, or take the one file.

    Raises:
        UserError: see `utils.base.listing.list_folder`.
    """
    if kind_at(path) == "file":
        return Source(path, path.parent, [path])
    return Source(path, path, list_folder(path, recursive=True).files)


def content_of(path: Path) -> Any:
    """The content of a JSON file, which nobody may change.

    Raises:
        UserError: see `read_json`; or it is too large.
    """
    refuse_large(path)
    status = path.stat()
    return kept_content(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=SAMPLE)
def kept_content(path: Path, size: int, changed: int) -> Any:
    """`content_of` a file of this size and time of change: those that told the form are not read twice."""
    return read_json(path)


def refuse_large(path: Path) -> None:
    """Raise a UserError for an annotation file that is larger than any tool writes."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path}: has {size:,} bytes; annotation files of more than {MAX_BYTES:,} are not read.")


def any_json(source: Source, is_form: Callable[[Any], bool]) -> bool:
    """Whether one of the first JSON files is of a form; those that cannot be read are of none."""
    for path in source.ending(".json", ".geojson")[:SAMPLE]:
        try:
            if is_form(content_of(path)):
                return True
        except UserError:
            continue
    return False


def json_of_form(source: Source, is_form: Callable[[Any], bool]) -> Iterator[tuple[Path, Any]]:
    """Each JSON file of a form with its content; None for a file of another form."""
    for path in source.ending(".json", ".geojson"):
        content = content_of(path)
        yield path, content if is_form(content) else None


def not_of_form(path: Path, title: str) -> Skipped:
    """What is said of a file that lies among those of a form."""
    return path, f"is no {title}"


def read_xml(path: Path) -> Element:
    """The root of an XML file.

    Raises:
        UserError: it is not XML, too large or too deep, or declares a document type, in which entities grow without
            limit or name other files.
    """
    refuse_large(path)
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UserError(f"{path}: is nested deeper than {MAX_DEPTH} levels.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse_document_type(*_: object) -> None:
        raise UserError(f"{path}: declares a document type (<!DOCTYPE), which no annotation tool writes. Remove it.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse_document_type
    try:
        with open(path, "rb") as file:
            parser.ParseFile(file)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UserError(f"{path}: is not a complete XML file ({error}). Copy it again.") from None
    return builder.close()


class ImageIndex:
    """The images below some folders, found by what annotation files call them; not the masks that tools export."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = list(folders)
        self.paths: dict[str, Path] = {}
        self.named: dict[str, list[Path]] = {}
        self.stems: dict[str, list[Path]] = {}
        for folder in self.folders:
            for path in list_images(folder, recursive=True)[0]:
                key = key_of(path)
                if key not in self.paths and not path.parent.name.lower().startswith(MASK_FOLDERS):
                    self.paths[key] = path
                    self.named.setdefault(composed(path.name), []).append(path)
                    self.stems.setdefault(composed(path.stem), []).append(path)

    def find(self, names: Sequence[str], folder: Path, where: str) -> Path | None:
        """The image that one of these names means, relative to a folder or by the end of its path; None: there is none.

        Raises:
            UserError: a name that no file can have, or several images that it could mean.
        """
        for name in names:
            text = composed(check_file_name(name, where).replace("\\", "/"))
            exact = self.paths.get(key_of(folder / text))
            if exact is not None:
                return exact
            parts = [part for part in PurePosixPath(text).parts if part not in ("/", "..")]
            if parts:
                has_suffix = parts[-1].lower().endswith(IMAGE_SUFFIXES)
                found = self.named.get(parts[-1], []) or ([] if has_suffix else self.stems.get(parts[-1], []))
                if found:
                    return self.best(found, parts, f"{where}: the image {name}")
        return None

    def best(self, found: Sequence[Path], parts: Sequence[str], where: str) -> Path:
        """The path that shares most of its end with the parts of a name."""
        lengths = [shared_end([composed(part) for part in path.parts], parts) for path in found]
        longest = [path for path, length in zip(found, lengths, strict=True) if length == max(lengths)]
        if len(longest) > 1:
            raise UserError(f"{where} could be {longest[0]} or {longest[1]}. Name the folder of one: --images.")
        return longest[0]


def key_of(path: Path) -> str:
    """A path without `..`, as text that does not depend on the system's form of accents."""
    return composed(os.path.abspath(path))


def shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths have in common at their ends; that of the name itself may lack its ending."""
    count = 1
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count

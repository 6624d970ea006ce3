"""List folders and expand patterns. The one place that decides which files below a folder count, and which never do.

Hidden files and folders, and those that systems and tools leave behind (`__MACOSX`, `@eaDir`, `Thumbs.db`), are copies
and thumbnails, never data; links that lead nowhere are data that was not fetched; a folder that may not be read could
contain anything. So the first are left out, and the others are errors. A folder that the user names is always searched.
"""

import errno
import fnmatch
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from utils.base.errors import UserError
from utils.base.text_files import check_file_name

# Names, in lower case, of what is not hidden by a dot and yet never data: who leaves it behind.
GENERATED = {
    "__macosx": "macOS in zip archives",
    "icon\r": "macOS",
    "thumbs.db": "Windows",
    "ehthumbs.db": "Windows",
    "desktop.ini": "Windows",
    "$recycle.bin": "Windows",
    "system volume information": "Windows",
    "lost+found": "Linux",
    "@eadir": "Synology",
    "@tmp": "Synology",
    "#recycle": "Synology",
    "#snapshot": "Synology",
    "@recycle": "QNAP",
    "@recently-snapshot": "QNAP",
    "__pycache__": "Python",
}


class Listing(NamedTuple):
    """What a folder contains; each list in the order of the paths.

    Attributes:
        files: those with the endings that were asked for.
        others: files with other endings, and what is neither file nor folder.
        folders: the folders right below it; empty if they were searched too.
        hidden: files and folders that are hidden or generated.
    """

    files: list[Path]
    others: list[Path]
    folders: list[Path]
    hidden: list[Path]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never data.

    >>> is_hidden(".ipynb_checkpoints"), is_hidden("._image.png"), is_hidden("Thumbs.db"), is_hidden("image.png")
    (True, True, True, False)
    """
    return name.startswith(".") or name.lower() in GENERATED


def list_folder(
    folder: Path, endings: Sequence[str] = (), recursive: bool = False, besides: Collection[str] = ()
) -> Listing:
    """List a folder.

    Args:
        folder: to list.
        endings: of the files asked for, in lower case; none for all files.
        recursive: search its subfolders too, and folders elsewhere that links below it lead to.
        besides: paths to leave out of the lists.

    Raises:
        UserError: there is no such folder, it or one below may not be read, or links to what was asked for lead
            nowhere.
    """
    listing = Listing([], [], [], [])
    dangling: list[Path] = []
    wanted = tuple(endings) or ("",)
    found = (one for one in walk(folder, os.path.realpath(folder), recursive) if one[0].path not in besides)
    # Paths compare as slowly as Python; of one folder, names are enough.
    in_order = sorted(found, key=lambda one: one[0].path.split(os.sep) if recursive else one[0].name)
    for entry, kind in in_order:
        path = Path(entry.path)
        if kind == "hidden":
            listing.hidden.append(path)
        elif kind == "folder":
            listing.folders.append(path)
        elif kind == "nothing" and (recursive or entry.name.lower().endswith(wanted)):
            dangling.append(path)  # in a search, whatever its name is: it may have been a folder
        elif kind == "file" and entry.name.lower().endswith(wanted):
            listing.files.append(path)
        else:
            listing.others.append(path)
    refuse_dangling(folder, dangling)
    if endings:
        refuse_control_characters(listing.files)
    return listing


Entry = tuple["os.DirEntry[str]", Literal["file", "folder", "other", "nothing", "hidden"]]  # nothing: a dangling link


def walk(folder: Path | str, root: str, recursive: bool) -> Iterator[Entry]:
    """The entries of a folder; or of it and all folders below it, which are then no entries themselves."""
    for entry, kind in scan(folder):
        if not recursive or kind != "folder":
            yield entry, kind
        elif leads_on(entry, root):
            yield from walk(entry.path, root, recursive)


def leads_on(entry: "os.DirEntry[str]", root: str) -> bool:
    """Whether a search of the real folder `root` goes on in a folder below it.

    A link to a folder that is searched anyway would yield its files twice, or never end.
    """
    if not entry.is_symlink():
        return True
    path = os.path.realpath(entry.path)
    return os.path.commonpath([path, root]) not in (path, root)


def scan(folder: Path | str) -> list[Entry]:
    """The entries of a folder.

    Raises:
        UserError: it does not exist, or may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [(entry, kind_of(entry)) for entry in entries]
    except FileNotFoundError:
        raise UserError(f"{folder}: there is no such folder.") from None
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read: {error.strerror}.") from None


def kind_of(entry: "os.DirEntry[str]") -> Literal["file", "folder", "other", "nothing", "hidden"]:
    """What an entry is, its link followed."""
    if is_hidden(entry.name):
        return "hidden"
    try:
        if entry.is_file():  # without a call of the system unless it is a link
            return "file"
        if entry.is_dir():
            return "folder"
        return "nothing" if entry.is_symlink() and not os.path.exists(entry.path) else "other"
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return "nothing"
        raise


def refuse_dangling(folder: Path | str, links: Collection[Path]) -> None:
    """Raise a UserError that counts links that lead nowhere and shows one, if there are any."""
    if links:
        first = min(links)
        count = "1 link leads" if len(links) == 1 else f"{len(links)} links lead"
        raise UserError(
            f"{folder}: {count} nowhere, such as {first} to {os.readlink(first)}. Fetch the data (git annex get, "
            "dvc pull, mount the disk), or remove the links."
        )


def refuse_control_characters(paths: Iterable[Path]) -> None:
    """Raise a UserError for a name with line breaks or escape sequences, which lists and terminals would obey."""
    for path in paths:
        check_file_name(path.name, str(path.parent))


def has_wildcard(text: object) -> bool:
    return any(wildcard in str(text) for wildcard in "*?[")


def expand_pattern(path: Path) -> list[Path]:
    """The files and folders that a path with wildcards matches, in the order of their paths.

    Args:
        path: parts with `*`, `?` and `[...]`, or `**` for any number of folders; those that exist as they are written
            have no wildcards. Hidden and generated names match only a part that begins with a dot, or has no wildcard.

    Raises:
        UserError: a folder on the way may not be read, or links that match lead nowhere.
    """
    parts = path.parts
    given = next((end for end in range(len(parts), 0, -1) if kind_at(Path(*parts[:end]))), 0)
    folder, rest = Path(*parts[:given]), parts[given:]
    if not rest:
        return [path]
    found = sorted(set(match_parts(folder, rest, os.path.realpath(folder))))
    refuse_dangling(folder, [path for path in found if not path.exists()])
    refuse_control_characters(found)
    return found


def match_parts(folder: Path, parts: Sequence[str], root: str) -> Iterator[Path]:
    """The paths below a folder whose parts match, in any order; links that lead nowhere where a folder is needed too.

    Args:
        folder: where the parts begin.
        parts: of the pattern.
        root: real path of the folder where the whole pattern begins.
    """
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from match_parts(folder, rest or ("*",), root)
        for entry, kind in scan(folder):
            if kind == "folder" and leads_on(entry, root):
                yield from match_parts(folder / entry.name, parts, root)
    elif not has_wildcard(first):
        path, found = folder / first, kind_at(folder / first)
        if found and (not rest or found == "nothing"):
            yield path
        elif found == "folder":
            yield from match_parts(path, rest, root)
    else:
        for entry, kind in scan(folder):
            if (kind == "hidden" and not first.startswith(".")) or not fnmatch.fnmatchcase(entry.name, first):
                continue
            if not rest or kind == "nothing":
                yield folder / entry.name
            elif kind_at(folder / entry.name) == "folder":
                yield from match_parts(folder / entry.name, rest, root)


def kind_at(path: Path) -> Literal["file", "folder", "nothing"] | None:
    """What is at a path, its link followed; "nothing" is a dangling link, None not even that.

    Raises:
        UserError: its folder may not be entered.
    """
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "file"
    except (NotADirectoryError, ValueError):  # ValueError: a name with a NUL
        return None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return "nothing" if path.is_symlink() else None
        raise UserError(f"{path.parent}: cannot be read: {error.strerror}.") from None

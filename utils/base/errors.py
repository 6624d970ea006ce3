"""Errors that users see as a single line."""

import re
from collections.abc import Iterable
from pathlib import PurePath

# What a terminal obeys instead of showing it; messages name files and values that others chose.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: object) -> str:
    """A text for the terminal: control characters, and bytes of names that are not UTF-8, as escapes; lines stay.

    >>> printable("a\\x1b[31m.png")
    'a\\\\x1b[31m.png'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def join_equal(problems: Iterable[str]) -> list[str]:
    """The problems, those that differ only in the files that they name as one, with their number and three names.

    >>> print(*join_equal(["/d/a.png: is empty.", "/d/b.png: is empty.", "/d/c.png: is damaged."]), sep="\\n")
    2 times (a.png, b.png): /d/a.png: is empty.
    /d/c.png: is damaged.
    """
    equal: dict[str, list[tuple[str, str]]] = {}
    for problem in problems:
        file, colon, _ = problem.partition(": ")
        if not colon or not file.startswith("/"):
            file = found[0].rstrip(".,:") if (found := re.search(r"\S*/\S*", problem)) else ""
        path = PurePath(file)
        equal.setdefault(without_names(problem, path), []).append((path.name, problem))
    return [joined([name for name, _ in found], found[0][1]) for found in equal.values()]


def without_names(problem: str, path: PurePath) -> str:
    """What is left of a problem without the paths in it, the name of its file, and names with the end of that one."""
    if not path.stem:
        return problem
    end = re.escape(path.stem.rpartition("_")[2])
    kind = problem.replace(str(path), "/").replace(path.stem, "/")
    return re.sub(rf"\S*/\S*|\b\w+_{end}(_\w+)?\b", "/", kind)


def joined(names: list[str], first: str) -> str:
    if len(names) == 1:
        return first
    shown = ", ".join(filter(None, dict.fromkeys(names[:3]))) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} times ({shown}): {first}"


class UserError(Exception):
    """Bad input: the message says what is wrong, in which file or key, and what to do.

    The commands print it without a traceback and exit with `exit_code`.
    """

    exit_code = 2

    def __str__(self) -> str:
        return printable(super().__str__())


class PartlyDone(UserError):
    """Some of the input was bad; the rest is done."""

    exit_code = 1

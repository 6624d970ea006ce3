"""Errors that users see as a single line."""

import re

# What a terminal obeys instead of showing it; messages name files and values that others chose.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: object) -> str:
    """A text for the terminal: control characters, and bytes of names that are not UTF-8, as escapes; lines stay.

    >>> printable("a\\x1b[31m.png")
    'a\\\\x1b[31m.png'
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


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

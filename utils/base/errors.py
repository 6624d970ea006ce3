"""Errors that users see as a single line."""


class UserError(Exception):
    """Bad input: the message says what is wrong, in which file or key, and what to do.

    The commands print it without a traceback and exit with `exit_code`.
    """

    exit_code = 2


class PartlyDone(UserError):
    """Some of the input was bad; the rest is done."""

    exit_code = 1

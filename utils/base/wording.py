"""How numbers and names read in a line or a table."""

LONGEST_NAME = 17  # characters of a class in a table; longer names are cut, numbers never


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `plural` of all but one, by default with an s.

    >>> counted(1, "image"), counted(12345, "image"), counted(0, "class", "classes")
    ('1 image', '12,345 images', '0 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def cut(name: str) -> str:
    """A name that is not too long for a table.

    >>> cut("a very long class name")
    'a very long cl...'
    """
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."

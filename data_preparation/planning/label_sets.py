"""DATASET.LABEL_SETS, mask values that stand for several classes: of --label-sets, and of data that is recognised."""

import re
from collections.abc import Sequence

from data_generators.files.preparation import is_name
from utils.base.class_bits import bit_of
from utils.base.errors import UserError
from utils.config.label_sets import LabelSets

OPTION = "--label-sets"
EXAMPLE = f"{OPTION} 1=liver 2=liver,tumour"

# The regions of brain tumours, one in another. BraTS numbers its labels differently from year to year and the Decathlon
# differently from both, so that values and sequences tell the data, but the regions only where the values are unique.
CONTRAST, FLAIR = ("t1ce", "t1gd", "t1c"), ("flair", "t2f")  # sequences that these data sets have, in their spellings
TUMOURS: dict[tuple[int, ...], dict[str, str]] = {
    (0, 1, 2, 4): {"BraTS until 2021": "1=whole,core 2=whole 4=whole,core,enhancing"},
    (0, 1, 2, 3): {
        "BraTS from 2023 on": "1=whole,core 2=whole 3=whole,core,enhancing",
        "Decathlon Task01": "1=whole 2=whole,core 3=whole,core,enhancing",
    },
}


def parse_label_sets(texts: Sequence[str] | None) -> dict[int, list[str]] | None:
    """`{value: names of its classes}` of --label-sets, no name for a value of no class (`3=`); None without it.

    Raises:
        UserError: a text that is not VALUE=NAME,NAME, a value that is given twice, no name, or too many.

    >>> parse_label_sets(["1=liver", "2=liver,tumour", "3="])
    {1: ['liver'], 2: ['liver', 'tumour'], 3: []}
    """
    if texts is None:
        return None
    sets: dict[int, list[str]] = {}
    for text in texts:
        match = re.fullmatch(r"(\d{1,5})=(.*)", text)
        names = [name.strip() for name in match[2].split(",") if match[2]] if match else []
        if not match or int(match[1]) > 65535 or not all(is_name(name) and not name.isdigit() for name in names):
            raise UserError(f"{OPTION} {text}: a value of masks and the names of its classes, such as {EXAMPLE}.")
        if int(match[1]) in sets:
            raise UserError(f"{OPTION}: the value {match[1]} is given twice. Name all its classes at once.")
        sets[int(match[1])] = names
    names = names_of_sets(sets)
    if not names:
        raise UserError(f"{OPTION}: no value has a class, as in {EXAMPLE}.")
    bit_of(len(names), OPTION)
    return sets


def names_of_sets(sets: dict[int, list[str]]) -> list[str]:
    """The classes, in the order in which they are named first.

    >>> names_of_sets({1: ["whole", "core"], 2: ["whole"], 4: ["whole", "core", "enhancing"]})
    ['whole', 'core', 'enhancing']
    """
    return list(dict.fromkeys(name for names in sets.values() for name in names))


def bits_of_sets(sets: dict[int, list[str]]) -> LabelSets:
    """The value and the bits of its classes of each set; the value 0 is of no class unless it is named.

    >>> bits_of_sets({1: ["liver"], 2: ["liver", "tumour"]})
    ((0, 0), (1, 1), (2, 3))
    """
    names = names_of_sets(sets)
    bits = {value: sum(1 << names.index(name) for name in set(of_value)) for value, of_value in sets.items()}
    return tuple(({0: 0} | bits).items())


def known_sets(values: Sequence[int], sequences: Sequence[str] | None) -> list[str]:
    """What to type for the regions of brain tumours, with the data that it is for; empty if the data is none of these.

    Args:
        values: sorted, of all masks.
        sequences: names of the channels, if known.

    >>> known_sets([0, 1, 2, 4], ["t1", "t1ce", "t2", "flair"])
    ['--label-sets 1=whole,core 2=whole 4=whole,core,enhancing (BraTS until 2021)']
    """
    named = " ".join(sequences or ()).lower()
    if not all(any(part in named for part in spellings) for spellings in (CONTRAST, FLAIR)):
        return []
    return [f"{OPTION} {text} ({data})" for data, text in TUMOURS.get(tuple(values), {}).items()]


def region_notes(values: Sequence[int], sequences: Sequence[str] | None) -> list[str]:
    """A line on the regions that `known_sets` knows for masks whose values are classes, if any."""
    known = known_sets(values, sequences)
    return [f"Regions, one in another, in place of a class for each value: {' or '.join(known)}"] if known else []

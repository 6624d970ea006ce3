"""DATASET.LABEL_SETS: values of masks that stand for sets of classes, as region training needs them."""

from collections.abc import Sequence

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.config.class_names import mask_class_names

LabelSets = tuple[tuple[int, int], ...]  # (stored value, bits of its classes as in utils.base.class_bits), 0 first

EXAMPLE = "{1:[liver],2:[liver,tumour]}"


def label_sets_of(cfg: DictConfig) -> LabelSets | None:
    """The classes of each stored value, or None; the value 0 is of no class unless it is named.

    Raises:
        UserError: a value is no whole number from 0 to 65535, or its classes are no list of names or numbers.

    >>> from utils.config import load_config
    >>> classes = ["OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[background,liver,tumour]"]
    >>> label_sets_of(load_config([*classes, "DATASET.LABEL_SETS={1:[liver],2:[liver,tumour]}"]))
    ((0, 0), (1, 1), (2, 3))
    """
    sets = cfg.DATASET.LABEL_SETS
    if sets is None:
        return None
    names, found = mask_class_names(cfg), {0: 0}
    for value, classes in sets.items():
        if type(value) is not int or not 0 <= value <= 65535:
            raise UserError(f"DATASET.LABEL_SETS: {value} is no value of a mask, a whole number from 0 to 65535.")
        if isinstance(classes, str) or not isinstance(classes, Sequence):
            raise UserError(f"DATASET.LABEL_SETS: {value} needs a list of classes, as in {EXAMPLE}, not {classes}.")
        found[value] = sum({1 << class_index(cfg, names, name) - 1 for name in classes})
    return tuple(found.items())


def class_index(cfg: DictConfig, names: Sequence[str], name: object) -> int:
    """The number of a class, from 1, that is given by its name or its number."""
    if type(name) is int and 1 <= name < len(names):
        return name
    if name in names[1:]:
        return names.index(str(name), 1)
    there = f"its classes are {', '.join(names[1:])}, or 1 to {len(names) - 1}"
    if cfg.OUTPUT.CLASS_NAMES is None and isinstance(name, str):
        used = dict.fromkeys(str(one) for classes in cfg.DATASET.LABEL_SETS.values() for one in classes or ())
        there = f"OUTPUT.CLASS_NAMES=[background,{','.join(used)}] names them in order"
    raise UserError(f"DATASET.LABEL_SETS: {name} is no class; {there}.")


def labels_of_bits(sets: LabelSets) -> list[int]:
    """The value to store for each combination of classes, `2 ** classes` of them: the first that stands for it.

    A network may find combinations that no value stands for, such as a tumour without its liver. The rarest of the
    classes, that of the fewest values, then decides: its smallest set. For nested regions that is the innermost one.

    >>> labels_of_bits(((0, 0), (1, 1), (2, 3)))
    [0, 1, 2, 2]
    """
    classes = max(bits for _, bits in sets).bit_length()
    counts = [sum(bits >> index & 1 for _, bits in sets) for index in range(classes)]

    def label(found: int) -> int:
        exact = [value for value, bits in sets if bits == found]
        if exact:
            return exact[0]
        rarest = min((index for index in range(classes) if found >> index & 1), key=lambda index: counts[index])
        return min((entry for entry in sets if entry[1] >> rarest & 1), key=lambda entry: entry[1].bit_count())[0]

    return [label(found) for found in range(2**classes)]

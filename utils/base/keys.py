"""How a key of the config is declared: its type, what it may be, and its roles. `utils.config.schema` has all keys."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import Any, Union, get_args, get_origin

from utils.base.registry import load_object


class Role(Flag):
    """What a key means to a run, beyond its value. A group passes its roles on to the keys below it."""

    NONE = 0
    ARCHITECTURE = auto()  # fixed by the weights: another value cannot load them
    RESUMABLE = auto()  # may change when an interrupted run is continued
    PER_COMMAND = auto()  # each command uses its own value, not the one saved beside the weights
    SHARED = auto()  # does not tell the jobs of a sweep apart: it is not in the names of their folders
    PREPARATION = auto()  # how the training data was prepared: read from the data, fixed by weights trained on it
    OUTPUT = auto()  # a path that the run writes to: jobs of a sweep and folds get folders of their own below it


@dataclass(frozen=True)
class Key:
    """One key of the config.

    Attributes:
        type: the type of its value: `int`, `float | None`, `list[str]`, ...; int passes for float. With choices it need
            not be given.
        low, high: smallest and largest number, of the value or of each entry of a list.
        choices: the values there are, or "module:TABLE" of a table whose names they are.
        length: number of entries of a list.
        ascending: whether the entries of a list must not decrease.
        roles: see `Role`.
    """

    type: Any = str
    low: float | None = None
    high: float | None = None
    choices: tuple | str | None = None
    length: int | None = None
    ascending: bool = False
    roles: Role = Role.NONE

    def __post_init__(self) -> None:
        if isinstance(self.choices, tuple) and get_origin(self.type) is not list:
            kinds = dict.fromkeys(type(choice) for choice in self.choices)
            object.__setattr__(self, "type", Union[tuple(kinds)])  # noqa: UP007, the members are only known here

    @property
    def types(self) -> tuple[type, ...]:
        """The types of the value, `list` without that of its entries: `int | None` -> `(int, NoneType)`."""
        return tuple(get_origin(member) or member for member in self._members)

    @property
    def entry_types(self) -> tuple[type, ...]:
        """The types of the entries of a list, a number of any kind for float."""
        entries = [entry for member in self._members if get_origin(member) is list for entry in get_args(member)]
        return tuple(kind for entry in entries for kind in ((int, float) if entry is float else (entry,)))

    @property
    def _members(self) -> tuple[Any, ...]:
        is_union = not isinstance(self.type, type) and get_origin(self.type) is not list
        return get_args(self.type) if is_union else (self.type,)

    def allowed(self) -> tuple | None:
        """The values there are, or None where any value within the range will do."""
        return tuple(load_object(self.choices)) if isinstance(self.choices, str) else self.choices

    def with_roles(self, roles: Role) -> "Key":
        return replace(self, roles=self.roles | roles)


class Group:
    """Keys by name, in the order of `configs/config.yaml`.

    Args:
        roles: what all keys below have, beside their own.
        keys: Key or Group by name.

    >>> group = Group(Role.RESUMABLE, PATIENCE=Key(int, low=0))
    >>> dict(group.leaves())["PATIENCE"].roles
    <Role.RESUMABLE: 2>
    """

    def __init__(self, roles: Role = Role.NONE, /, **keys: "Key | Group") -> None:
        self.roles = roles
        self.keys: dict[str, Key | Group] = {name: key.with_roles(roles) for name, key in keys.items()}

    def with_roles(self, roles: Role) -> "Group":
        return Group(self.roles | roles, **self.keys)

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Key]]:
        """All keys below, with their dotted names."""
        for name, key in self.keys.items():
            if isinstance(key, Key):
                yield f"{prefix}{name}", key
            else:
                yield from key.leaves(f"{prefix}{name}.")


class OptionalKeys(Group):
    """A group that may hold any of its keys; none is required."""

    def with_roles(self, roles: Role) -> "OptionalKeys":
        return OptionalKeys(self.roles | roles, **self.keys)

"""Files that belong together by two patterns: each `*` stands for the same text in both."""

import re
from pathlib import Path

from utils.base.errors import UserError
from utils.base.listing import expand_pattern


def name_matches(source: Path, pattern: str) -> dict[str, Path]:
    """`{name: path}` of what matches a pattern below a folder; the name is what each `*` stands for.

    Raises:
        UserError: the pattern has no `*` or another wildcard, or two files would have one name.
    """
    if "*" not in pattern or any(wildcard in pattern for wildcard in "[]?"):
        raise UserError(f"The pattern {pattern} needs a * for the part that differs; ? and [ ] are not supported.")
    expression = re.compile("(.*)".join(re.escape(part) for part in re.split(r"\*+", pattern)))
    named: dict[str, Path] = {}
    for path in expand_pattern(source / pattern):
        match = expression.fullmatch(path.relative_to(source).as_posix())
        if match is None:
            continue
        name = re.sub(r"[^\w.-]", "_", "_".join(filter(None, match.groups())))
        if name in named:
            raise UserError(f"{named[name]} and {path} would both be called {name}.")
        named[name] = path
    return named


def without(named: dict[str, Path], taken: dict[str, Path]) -> dict[str, Path]:
    """The matches of a pattern that no match of the other one is: `*_gt.nii` is a segmentation, also for `*.nii`."""
    paths = set(taken.values())
    return {name: path for name, path in named.items() if path not in paths}

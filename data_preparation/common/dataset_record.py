"""The record of a dataset, `OUTPUT/prepared.json`: which pairs were written, from which sources and options."""

import json
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from data_preparation.common.splits import SPLITS
from utils.base.errors import UserError
from utils.base.files import atomic_write, refuse_unreadable
from utils.base.text_files import read_json

RECORD = "prepared.json"

TARGET = re.compile(rf"({'|'.join(SPLITS)})/(images|mask)/[^/\0]+\.(png|jpg)")  # the files of a pair

Record = dict[str, list]  # image file -> [mask file, signature], paths relative to OUTPUT


def read_record(output: Path, origin: Mapping[str, str]) -> Record:
    """The record of an earlier run into the same folder; empty if there was none.

    Raises:
        UserError: the earlier run had other sources.
    """
    path = output / RECORD
    if not path.exists():
        return {}
    try:
        path.open("rb").close()
    except OSError as error:
        refuse_unreadable(path, error)
    try:
        record = read_json(path)
        earlier, files = record["origin"], record["files"]
        texts = all(isinstance(name, str) for name in earlier.values())
        damaged = not texts or not all(is_entry(target, entry) for target, entry in files.items())
    except (UserError, KeyError, TypeError, AttributeError):
        damaged = True
    if damaged:
        raise UserError(f"{path} is damaged. Remove it and the folders beside it, then try again.")
    if earlier != origin:
        raise UserError(
            f"{output} already contains a dataset prepared from {', '.join(earlier.values())}. Choose another OUTPUT, "
            "or remove that folder."
        )
    return files


def is_entry(target: str, entry: Any) -> bool:
    """Whether an entry of a record names an image and its mask as this module writes them, and nothing elsewhere.

    Pairs that are no longer wanted are removed, so a record must not be able to name files of others.
    """
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], str | None)
        and TARGET.fullmatch(target) is not None
        and TARGET.fullmatch(entry[0]) is not None
    )


def write_record(
    output: Path, origin: Mapping[str, str], record: Record, files: Record, targets: Container[str]
) -> None:
    """Record the finished pairs, and as unfinished the pairs of the earlier run that may be half replaced."""
    unfinished = {
        target: [mask, None] for target, (mask, _) in record.items() if target in targets and target not in files
    }
    with atomic_write(output / RECORD) as temporary:
        temporary.write_text(json.dumps({"origin": origin, "files": {**unfinished, **files}}, indent=0))

"""DATASET.VERIFIED_PATH: what verification found in each pair, kept so that the next run reads only changed files.

A file holds the pairs of a split without problems, as lines of JSON. A pair whose files have another size or time than
its line says is read again, and so is one whose line is damaged.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_generators.files.cloud import is_remote
from data_generators.files.image_file import parts_of
from data_generators.files.pairing import Pair
from data_generators.reading.cache import names_of, stamp_of
from data_preparation.common.fingerprint import QUANTILES, ImageFacts
from data_preparation.common.pair_check import IMAGE_PROPERTIES, MASK_FORMS, PairCheck
from utils.base.errors import UserError
from utils.base.files import atomic_write, resolve_path

FORMAT = 2  # of the lines; with another number, all files are read again
FEWEST = 1000  # pairs: fewer are read in a second, and leave no file behind
MAX_LINE = 10_000  # bytes
PROPERTIES = [*IMAGE_PROPERTIES, *MASK_FORMS]
DAMAGED = (ValueError, TypeError, LookupError, OverflowError, RecursionError)


class KnownChecks:
    """What earlier runs found in the pairs of a split.

    Args:
        cfg: config; DATASET.VERIFIED_PATH is read.
        pairs: of the split.
        settings: text that changes with everything that a check depends on, besides the files.
    """

    def __init__(self, cfg: DictConfig, pairs: Sequence[Pair], settings: str) -> None:
        self.path: Path | None = None
        self.places: dict[str, int] = {}
        if cfg.DATASET.VERIFIED_PATH is None or len(pairs) < FEWEST:
            return
        parents = {file.parent for pair in pairs for file in pair if file is not None}
        folders = sorted({str(parent.absolute()) for parent in parents})
        name = hashlib.sha256(json.dumps([FORMAT, settings, folders]).encode()).hexdigest()
        self.path = resolve_path(cfg, cfg.DATASET.VERIFIED_PATH) / f"{name[:32]}.jsonl"
        # Taken before the files are read: if one changes meanwhile, it is read again next time.
        self.places = {key: index for index, pair in enumerate(pairs) if (key := key_of(pair)) is not None}

    def read(self) -> dict[int, PairCheck]:
        """`{position of the pair: its check}` of the pairs whose files are as they were."""
        if self.path is None:
            return {}
        found = {}
        for line in lines_of(self.path):
            try:
                key, row = line.split(b"\t")
                if (place := self.places.get(key.decode())) is not None:
                    found[place] = from_row(json.loads(row))
            except DAMAGED:
                continue
        return found

    def write(self, checks: Sequence[PairCheck]) -> None:
        """Keep the checks of all pairs, in their order; a note if that is not possible."""
        if self.path is None:
            return
        try:
            with atomic_write(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
                for key, place in self.places.items():
                    if not checks[place].problems:
                        file.write(f"{key}\t{json.dumps(to_row(checks[place]), separators=(',', ':'))}\n")
        except OSError as error:
            print(
                f"Note: DATASET.VERIFIED_PATH: {self.path.parent} cannot be written: {error.strerror}. The next run "
                "reads all images again.",
                file=sys.stderr,
            )


def key_of(pair: Pair) -> str | None:
    """A digest of the names, sizes and times of the files of a pair; None if they are not known."""
    files = [file for file in pair if file is not None]
    if any(is_remote(part) for file in files for part in parts_of(file)):
        return None
    try:
        identity = [names_of(file, absolute=True) for file in files], stamp_of(files)
    except UserError:
        return None
    return hashlib.blake2b(repr(identity).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file up to one that is too long; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            while 0 < len(line := file.readline(MAX_LINE + 1)) <= MAX_LINE:
                yield line
    except OSError:
        return


def to_row(check: PairCheck) -> list[Any]:
    """A check without problems, as values of JSON."""
    values = np.flatnonzero(check.labels)
    facts = None if check.facts is None else [*check.facts[:-1], check.facts.intensities.tolist()]
    return [
        list(zip(values.tolist(), check.labels[values].tolist(), strict=True)),
        None if check.known is None else check.known.tolist(),
        [PROPERTIES.index(name) for name in check.properties],
        check.contents,
        facts,
    ]


def from_row(row: list[Any]) -> PairCheck:
    """The check of a row.

    Raises:
        ValueError, TypeError, LookupError, OverflowError: it is damaged.

    >>> check = PairCheck(labels=np.array([3, 0, 1]), contents=7)
    >>> to_row(check)[0], from_row(to_row(check)).labels.tolist()
    ([(0, 3), (2, 1)], [3, 0, 1])
    """
    counts, known, properties, contents, facts = row
    labels = np.zeros(256, np.int64)
    for value, count in counts:
        labels[value] = count
    check = PairCheck(labels=labels[: counts[-1][0] + 1 if counts else 0].copy())  # the values are in order
    check.known = None if known is None else np.array(known, np.int64)
    check.properties = tuple(PROPERTIES[index] for index in properties)
    check.contents = None if contents is None else int(contents)
    if facts is not None:
        height, width, bits, channels, intensities = facts
        values = np.array(intensities, np.float64).reshape(-1, len(QUANTILES))
        check.facts = ImageFacts(int(height), int(width), int(bits), str(channels), values)
    return check

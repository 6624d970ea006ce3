"""Names of MR sequences, by which scans without a unit are known."""

import re
from collections.abc import Collection
from pathlib import Path

SEQUENCES = {
    "t1", "t1w", "t1n", "t1c", "t1ce", "t1gd", "t1post", "t2", "t2w", "t2f", "t2star", "flair", "dwi", "adc", "pd",
    "pdw", "swi", "stir", "dce", "mr", "mri",
}  # fmt: skip


def words_of(name: str) -> list[str]:
    """The words of a name.

    >>> words_of("BraTS_001_T1ce.nii.gz")
    ['brats', '001', 't1ce', 'nii', 'gz']
    """
    return re.findall(r"[a-z0-9]+", name.lower())


def sequence_of(path: Path) -> str | None:
    """The sequence that the last word of a file name says, as it is written, or None.

    >>> sequence_of(Path("a/BraTS_001_flair.nii.gz")), sequence_of(Path("t1/case.nii.gz"))
    ('flair', None)
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    word = re.split(r"[^A-Za-z0-9]", stem)[-1]
    return word if word.lower() in SEQUENCES else None


def are_sequences(names: Collection[str] | None) -> bool:
    """Whether all names of channels are those of MR sequences, alone or beside other words.

    >>> are_sequences(["T1w", "FLAIR"]), are_sequences(["red", "t2"]), are_sequences(None)
    (True, False, False)
    """
    return bool(names) and all(SEQUENCES.intersection(words_of(name)) for name in names or ())

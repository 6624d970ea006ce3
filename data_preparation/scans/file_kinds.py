"""What kind of scan a file is, told from its name and its first bytes; no package that reads it is imported."""

from pathlib import Path

NIFTI_SUFFIXES = (".nii", ".nii.gz")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def scan_name(path: Path) -> str:
    """The file name of a scan without its ending, in capitals or not."""
    for ending in (".nii.gz", *NIFTI_SUFFIXES, *DICOM_SUFFIXES):
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.name[: -len(ending)]
    return path.name


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: the letters DICM follow a preamble of 128 bytes, or it starts with a data element.

    Some programs write files without the preamble. They start with an element of group 2 or 8, little endian: the
    group, the element, then two letters that name a type, or a length.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError:
        return False
    if start[128:] == b"DICM":
        return True
    if len(start) < 132 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    length = int.from_bytes(start[4:8], "little")
    return (start[4:6].isalpha() and start[4:6].isupper()) or length <= 1024


def is_gzip(path: Path) -> bool:
    """Whether a file is compressed with gzip, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"

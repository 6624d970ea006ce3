"""Find what prediction reads: the files and DICOM folders that PREDICT.INPUT names, or the images of DATASET.VAL."""

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from data_generators.files.channels import common_folder, find_cases
from data_generators.files.found_files import IMAGE_SUFFIXES, list_images
from data_generators.files.neighbours import with_neighbours
from data_generators.files.pairing import find_pairs, list_problems
from data_generators.reading.tiff_pages import pages_of
from data_preparation.scans.file_kinds import NIFTI_SUFFIXES, is_dicom, is_nifti
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path, where_looked
from utils.base.listing import expand_pattern, has_wildcard, list_folder, refuse_dangling
from utils.base.wording import counted
from utils.inference.image_sources import ImageSource, StackSource
from utils.inference.sources import Source, VolumeSource

STACK_SUFFIXES = (".tif", ".tiff")


def find_sources(cfg: DictConfig, images: str | Sequence[str] | None = None) -> list[Source]:
    """The sources that PREDICT.INPUT names, or the images of DATASET.VAL, in the order of names or of the list.

    Args:
        cfg: the config.
        images: replaces DATASET.VAL.IMAGES_PATH, for images without masks.

    Raises:
        UserError: nothing found, or two sources that would be written under one name.
    """
    paths = cfg.DATASET.VAL
    if cfg.PREDICT.INPUT is None and images is None and paths.MASK_PATH is not None:
        sources: list[Source] = [ImageSource(pair.image, pair.mask) for pair in find_pairs(cfg, "val")]
    else:
        value, key = cfg.PREDICT.INPUT, "PREDICT.INPUT"
        if value is None:
            value, key = paths.IMAGES_PATH if images is None else images, "DATASET.VAL.IMAGES_PATH"
        if cfg.DATASET.CHANNELS is not None:
            sources = case_sources(cfg, value, key)
        else:
            paths = list(dict.fromkeys(list_sources(cfg, value, key)))
            sources = scan_sources(paths, cfg.DATA_PREPARATION.CHANNELS or ())
        if not sources:
            raise UserError(f"{key}={value} is an empty list.")
        add_neighbours(sources, cfg.DATASET.SLICES_AROUND)
    check_names(sources)
    return sources


def case_sources(cfg: DictConfig, value: object, key: str) -> list[Source]:
    """The images of several files, DATASET.CHANNELS, below a folder or in a list.

    Raises:
        UserError: files are missing, or there twice.
    """
    images, _, problems = list_images(cfg, value, key)
    if problems:
        raise UserError(f"{key} has images without all their channels:\n{list_problems(problems)}")
    return [ImageSource(image) for image in images]


def scan_sources(paths: Sequence[Path], channels: Sequence[str]) -> list[Source]:
    """The sources at paths; the files of the sequences of a scan, DATA_PREPARATION.CHANNELS, are one.

    Raises:
        UserError: a scan lacks a sequence.
    """
    scans = [path for path in paths if is_nifti(path)]
    if not channels or not scans:
        return [make_source(path) for path in paths]
    cases = find_cases(scans, channels, common_folder(scans))
    if len(cases.others) == len(scans):  # each file holds all sequences on a fourth axis
        return [make_source(path) for path in paths]
    if cases.problems:
        raise UserError(f"scans lack sequences:\n{list_problems(cases.problems)}")
    if cases.others:
        skipped = counted(len(cases.others), "file")
        print(f"Note: skipped {skipped} of no sequence, such as {cases.others[0]}.", file=sys.stderr)
    sources: list[Source] = []
    for image in cases.images:
        first, *others = (Path(str(part)) for part in image.parts)
        sources.append(VolumeSource(first, None, tuple(others), image.stem))
    return sources


def add_neighbours(sources: Sequence[Source], around: int) -> None:
    """Give the images among the sources their neighbours, DATASET.SLICES_AROUND; volumes and stacks have theirs.

    Raises:
        UserError: an image is no slice, or a neighbour is missing.
    """
    slices = [source for source in sources if isinstance(source, ImageSource)]
    images, problems = with_neighbours([source.path for source in slices], around)
    if problems:
        raise UserError(f"these slices cannot be predicted:\n{list_problems(problems)}")
    for source, image in zip(slices, images, strict=True):
        source.path = image


def check_names(sources: Sequence[Source]) -> None:
    """Raise a UserError if two sources would be written under one name."""
    seen: dict[str, Source] = {}
    for source in sources:
        other = seen.setdefault(source.name, source)
        if other is not source:
            raise UserError(
                f"{other.path} and {source.path} would both be written as {source.name}. Rename one, or predict "
                "them in two runs, each with a PREDICT.INPUT and a PREDICT.OUTPUT_PATH of its own."
            )


def list_sources(cfg: DictConfig, value: str | Sequence[str] | None, key: str) -> list[Path]:
    """The files and DICOM folders that the value of a config key names: a list, a list file, or one entry."""
    if isinstance(value, (list, ListConfig)):
        return [path for entry in value for path in expand(cfg, entry, key)]
    if value is not None and is_list_file(value):
        return read_list(resolve_path(cfg, str(value)))
    return expand(cfg, value, key)


def expand(cfg: DictConfig, value: object, key: str) -> list[Path]:
    """The files and DICOM folders that one entry names: a pattern, a folder or a file."""
    path = resolve_path(cfg, str(value))
    if has_wildcard(value) and not path.exists():
        found = expand_pattern(path) or expand_pattern(Path(str(value)))
        if not found:
            raise UserError(f"{key}={value}: nothing matches the pattern {path}.")
        return without_labels(found, key)
    if path.is_dir():
        return expand_folder(path, key)
    if not path.exists():
        raise UserError(
            f"{key}={value}: there is no such file or folder ({where_looked(cfg, str(value))}). Set {key}, or WORK_DIR."
        )
    return [path]


def expand_folder(path: Path, key: str) -> list[Path]:
    """The images and scans in a folder, the folder itself if it is a DICOM series, or the DICOM folders in it."""
    found = list_folder(path, (*IMAGE_SUFFIXES, *NIFTI_SUFFIXES))
    scans = [file for file in found.files if is_nifti(file)]
    # A picture beside the slices of a series does not hide it: reading the series names what it leaves out.
    if not scans and any(is_dicom(file) for file in found.others):
        return [path]
    if found.files:
        return without_labels(found.files, key)
    refuse_dangling(path, [link for link in found.others if link.is_symlink()])  # they may have been folders
    series = [folder for folder in found.folders if any(is_dicom(file) for file in list_folder(folder).files)]
    if not series:
        raise UserError(
            f"{key}: the folder {path} contains no images ({' '.join(IMAGE_SUFFIXES)}), NIfTI or DICOM files. "
            f"Subfolders are not searched; use a pattern such as '{path / '*/*.nii.gz'}'."
        )
    return series


def without_labels(paths: list[Path], key: str) -> list[Path]:
    """The paths without each `segmentation-N.nii` whose `volume-N.nii` is also there: labels are not scans."""
    volumes = {path.with_name(path.name.removesuffix(".gz")) for path in paths if path.name.startswith("volume-")}
    labels = []
    for path in paths:
        kind, _, rest = path.name.removesuffix(".gz").partition("-")
        if kind == "segmentation" and rest.endswith(".nii") and path.with_name(f"volume-{rest}") in volumes:
            labels.append(path)
    if labels:
        print(
            f"Note: {key}: skipped {counted(len(labels), 'file')}, the labels of volumes beside them, such as "
            f"{labels[0]}. To predict them anyway, list the files.",
            file=sys.stderr,
        )
    return [path for path in paths if path not in labels]


def make_source(path: Path, mask: Path | None = None) -> Source:
    """The source at a path, by its name alone, and its truth: a damaged file is reported when it is read."""
    is_picture = path.name.lower().endswith(IMAGE_SUFFIXES)
    if path.is_dir() or is_nifti(path) or (not is_picture and is_dicom(path)):
        return VolumeSource(path, mask)
    if path.suffix.lower() in STACK_SUFFIXES and path.is_file() and is_stack(path):
        return StackSource(path, mask)
    return ImageSource(path, mask)


def is_stack(path: Path) -> bool:
    """Whether a TIFF file has several pages."""
    try:
        return len(pages_of(path)) > 1
    except UserError:
        return True  # opening it reports the damage; the file may be truncated after the first page

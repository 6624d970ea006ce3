"""Data that has to be prepared first, given to a command that reads prepared data: which command takes it.

TABLE is the one place that knows: a row for each form. Only names are looked at, and the first bytes of a few files.
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from data_generators.files.cloud import is_remote
from data_generators.files.found_files import IMAGE_SUFFIXES
from data_generators.files.pairing import is_mask_name
from data_preparation.common.mr_sequences import sequence_of
from data_preparation.common.raw_files import Seen, pair_patterns
from data_preparation.scans.file_kinds import DICOM_SUFFIXES, NIFTI_SUFFIXES, is_dicom
from utils.base.errors import UserError
from utils.base.files import is_list_file, resolve_path
from utils.base.text_files import read_json

OUTPUT = "data"
ANNOTATIONS = (".json", ".geojson", ".xml", ".txt", ".yaml")
OTHER_PICTURES = (".gif", ".ppm", ".pgm", ".pnm", ".webp", ".jp2")
SEGMENTATION = re.compile(r"(?<![a-z])(seg(mentations?)?|masks?|labels?(tr)?|gt|manual|truth|roi)(?![a-z])")
DRIVE = re.compile(r"\d+_(training|test|manual1)(_mask)?\.(gif|tif)")
SAMPLE = 10  # files without a known ending whose first bytes are read
Arguments = Sequence[str | Path] | None  # what to type after the name of a command; None: it is another form


class Row(NamedTuple):
    """form: what was found, for people; command: in data_preparation; arguments: of `(images, masks)`, None if the data
    has another form. masks are those paths again where one path was typed for both."""

    form: str
    command: str
    arguments: Callable[[Seen, Seen], Arguments]


def of_decathlon(images: Seen, masks: Seen) -> Arguments:
    """A folder with dataset.json, or one of those beside it."""
    folder = next((path for path in (images.real, images.real.parent) if (path / "dataset.json").is_file()), None)
    if folder is None or not images.ending(*NIFTI_SUFFIXES):
        return None
    try:
        content = read_json(folder / "dataset.json")
        modalities = list(content["modality"].values())
        return content["training"] and [images.as_typed(folder), OUTPUT, *mr_options(len(modalities), modalities)]
    except (UserError, KeyError, TypeError, AttributeError):
        return None


def mr_options(number: int, modalities: Sequence[object]) -> list[str]:
    """Options for scans of so many sequences; those of MR keep 16 bit."""
    return ["--channels"] * (number > 1) + ["--depth", "16"] * (modalities != ["CT"])


def of_nifti(images: Seen, masks: Seen) -> Arguments:
    """NIfTI files in one folder or two, or in a folder for each case."""
    return of_scans(images, masks, images.ending(*NIFTI_SUFFIXES), masks.ending(*NIFTI_SUFFIXES))


def of_dicom(images: Seen, masks: Seen) -> Arguments:
    """Folders of DICOM files, with other labels too."""
    scans = dicom_series(images)
    if not scans:
        return None
    labels = masks.ending(*NIFTI_SUFFIXES)
    return of_scans(images, masks, [*scans, *images.ending(*NIFTI_SUFFIXES)], [*dicom_series(masks), *labels])


def dicom_series(seen: Seen) -> list[Path]:
    """The folders that hold DICOM files, and a file that was typed itself or is a segmentation, as a SEG."""
    known = seen.ending(*DICOM_SUFFIXES)
    labels = Counter(file.parent for file in known if is_segmentation(file.name))
    single = [file for file in known if file == seen.real or (is_segmentation(file.name) and labels[file.parent] == 1)]
    folders = {file.parent for file in known if file not in single}
    nameless = [file for file in seen.files if not re.fullmatch(r"\.[a-z]+\w*", file.suffix.lower())]
    for folder in sorted({file.parent for file in nameless})[:SAMPLE]:
        if is_dicom(next(file for file in nameless if file.parent == folder)):
            folders.add(folder)
    return sorted([*folders, *single])


def is_segmentation(name: str) -> bool:
    """Whether a name, or a path, says so.

    >>> is_segmentation("a/Liver_Mask.nii.gz"), is_segmentation("unmasked.nii")
    (True, False)
    """
    return SEGMENTATION.search(name.lower()) is not None


def of_scans(images: Seen, masks: Seen, scans: Sequence[Path], labels: Sequence[Path]) -> Arguments:
    """What to type for volumes; where their names do not pair, patterns to fill in."""
    if not scans or images.has_pictures:
        return None
    if masks.real == images.real or not labels:
        labels = [path for path in scans if is_segmentation(str(path.relative_to(images.real)))]
        scans = [path for path in scans if path not in labels]
    sequences = {path: sequence_of(path) for path in scans}
    names = list(dict.fromkeys(filter(None, sequences.values())))
    options: list[str] = ["--depth", "16"] if names else []
    one = [path for path in scans if sequences[path] == names[0]] if names else scans
    found = pair_patterns(one, labels) if one and labels else None
    if found is None:
        volumes, segmentations = "*/IMAGE.nii.gz", "*/LABEL.nii.gz"
        return [images.typed, OUTPUT, "--volumes", volumes, "--segmentations", segmentations]
    folder, volumes, segmentations = found
    if len(names) > 1:
        start, _, end = volumes.rpartition(names[0])
        volumes, options = f"{start}{{}}{end}", ["--channels", *names, *options]
    if volumes.rpartition("/")[2].startswith("volume-"):  # LiTS
        options += ["--window", "-200", "250"]
    given = ["--volumes", volumes, "--segmentations", segmentations]
    return [images.as_typed(folder), OUTPUT, *given, *options]


def of_nuclei(images: Seen, masks: Seen) -> Arguments:
    """`<id>/images/<id>.png` with `<id>/masks/*.png`."""
    for file in (*images.files, *masks.files):
        case = file.parent.parent
        kind = file.parent.name
        if (
            kind in ("images", "masks")
            and (case / "masks").is_dir()
            and (case / "images" / f"{case.name}.png").is_file()
        ):
            return [images.as_typed(case.parent), OUTPUT, "--border", "1", "--objects"]
    return None


def of_drive(images: Seen, masks: Seen) -> Arguments:
    """`images`, `1st_manual` and `mask`, or one of these folders."""
    if masks.real != images.real and masks.has_pictures:
        return None  # of masks that were converted
    for file in (*images.files, *masks.files):
        folder = file.parent.parent
        if DRIVE.fullmatch(file.name) and (folder / "1st_manual").is_dir():
            return [images.as_typed(folder), OUTPUT, "--val", "0.25"]
    return None


def of_lgg(images: Seen, masks: Seen) -> Arguments:
    """`<patient>/<name>_<n>.tif` with `<name>_<n>_mask.tif`."""
    found = [file for file in images.ending("_mask.tif") if re.search(r"_\d+_mask\.tif$", file.name)]
    names = set(images.files)
    paired = any(file.with_name(file.name.replace("_mask.", ".")) in names for file in found)
    return [images.typed, OUTPUT, "--val", "0.1"] if paired and not images.has_pictures else None


def of_annotations(images: Seen, masks: Seen) -> Arguments:
    """Files of an annotation tool in place of masks, or beside the images."""
    files = masks.ending(*ANNOTATIONS)
    if masks.real == images.real:
        stems = {file.stem for file in images.ending(*IMAGE_SUFFIXES)}
        whole = [file for file in files if file.suffix != ".txt"] if not images.has_pictures else []
        if any(map(is_mask_name, stems)) or not (whole or any(file.stem in stems for file in files)):
            return None
        return [masks.typed, OUTPUT]
    return [masks.typed, OUTPUT, "--images", images.typed] if files and not masks.has_pictures else None


def of_run_lengths(images: Seen, masks: Seen) -> Arguments:
    """A table of runs in place of masks."""
    tables = masks.ending(".csv")
    return [masks.as_typed(tables[0]), images.typed, OUTPUT] if tables and not masks.has_pictures else None


def of_single_files(images: Seen, masks: Seen) -> Arguments:
    """A stack of pages, or a single picture, typed itself."""
    both = images != masks and all(
        seen.files == [seen.real] and seen.ending(*IMAGE_SUFFIXES) for seen in (images, masks)
    )
    return [images.typed, masks.typed, OUTPUT] if both else None


def of_other_pictures(images: Seen, masks: Seen) -> Arguments:
    """Pictures with an ending that training does not list."""
    endings = (*IMAGE_SUFFIXES, *OTHER_PICTURES)
    if masks.real == images.real or not (images.ending(*OTHER_PICTURES) or masks.ending(*OTHER_PICTURES)):
        return None
    found = pair_patterns(images.ending(*endings), masks.ending(*endings)) if masks.ending(*endings) else None
    if found is None:
        return None
    return [*(images.as_typed(found[0] / pattern) for pattern in found[1:]), OUTPUT]


# The first row that fits is taken.
TABLE = (
    Row("a task of the Medical Segmentation Decathlon", "volumes.py", of_decathlon),
    Row("DICOM files", "volumes.py", of_dicom),
    Row("NIfTI volumes", "volumes.py", of_nifti),
    Row("an image and a mask file for each nucleus", "nuclei.py", of_nuclei),
    Row("retina images with GIF masks (DRIVE)", "drive.py", of_drive),
    Row("slices and masks in a folder for each patient (LGG)", "lgg.py", of_lgg),
    Row("annotations in place of masks", "annotations.py", of_annotations),
    Row("a table of run lengths in place of masks", "rle_csv.py", of_run_lengths),
    Row("pictures in a single file", "index_masks.py", of_single_files),
    Row("pictures of other formats", "index_masks.py", of_other_pictures),
)


def refuse_raw(images: str | Path, masks: str | Path | None = None, besides: Collection[str] = ()) -> None:
    """Raise a UserError that names the command for raw data, if the paths hold some; to be called on bad input only.

    Args:
        images, masks: folders or files as typed; one for both if masks is None.
        besides: commands that are no answer.

    Raises:
        UserError: the form and the command, ready to copy.
    """
    seen = Seen.at(images)
    seen_masks = seen if masks is None else Seen.at(masks)
    for row in TABLE:
        arguments = row.arguments(seen, seen_masks) if row.command not in besides else None
        if arguments:
            where = seen_masks if "in place of masks" in row.form else seen
            command = shlex.join(["python", f"data_preparation/{row.command}", *map(str, arguments)])
            raise UserError(f"{where.typed}: holds {row.form}. Prepare the data first: {command}")


def refuse_raw_split(cfg: DictConfig, split: str) -> None:
    """`refuse_raw` of DATASET.TRAIN, VAL or TEST; lists of files and cloud storage are left to other messages."""
    paths = [path for key in ("IMAGES_PATH", "MASK_PATH") if (path := cfg.DATASET[split.upper()][key]) is not None]
    if not paths or any(not isinstance(path, str) or is_list_file(path) or is_remote(path) for path in paths):
        return
    # Relative paths are below WORK_DIR: one that the command would not find is written in full.
    found = [resolve_path(cfg, path) for path in paths]
    refuse_raw(*(path if file == Path(path).absolute() else str(file) for path, file in zip(paths, found, strict=True)))

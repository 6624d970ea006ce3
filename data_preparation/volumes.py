"""Convert volumes to slices: Medical Segmentation Decathlon, other NIfTI files, DICOM.

    python data_preparation/volumes.py Task03_Liver data --window -200 250
    python data_preparation/volumes.py scans data --volumes '*/ct.nii.gz' --segmentations '*/liver.nii.gz'
    python data_preparation/volumes.py patients data --volumes '*/CT' --segmentations '*/segmentation.dcm'

SOURCE contains a dataset.json with imagesTr and labelsTr (Decathlon; imagesTs has no labels and is skipped), or files
and folders that two patterns match: a volume and a segmentation belong together if `*` stands for the same, and what
matches both patterns is a segmentation. A folder is a DICOM series; a segmentation is NIfTI, a DICOM series or a binary
DICOM SEG (no RTSTRUCT). Whole volumes go to training or validation, with --group all of a patient. The red, green and
blue channel of an image are the slice below, the slice itself and the slice above. With --channels an image is a TIFF
file with a band for each sequence, without neighbours:

    python data_preparation/volumes.py Task01_BrainTumour data --channels
    python data_preparation/volumes.py brats data --channels t1 t2 --volumes '*/*_{}.nii' --segmentations '*/*_seg.nii'
"""

import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

from data_generators.files.preparation import is_name
from data_preparation.common.command_line import check_options, errors_in_one_line, make_parser
from data_preparation.common.dataset_record import RECORD
from data_preparation.common.dataset_writer import print_skipped
from data_preparation.common.groups import group_of
from data_preparation.common.image_files import HIDDEN, Skipped, raise_problems
from data_preparation.common.patterns import name_matches, without
from data_preparation.common.splits import SPLITS, assign_splits, existing_path
from data_preparation.scans.labelled_scans import LabelledScan
from data_preparation.scans.slices import WHOLE_CT, SliceSettings
from data_preparation.scans.volume_writer import VolumeJob, prepare_volumes
from utils.base.errors import UserError
from utils.base.listing import list_folder
from utils.base.text_files import path_inside, read_json
from utils.base.wording import counted

CT_WINDOW = (-200.0, 250.0)
SOURCES = {"source": "folder with a dataset.json, or the folder that the patterns start from"}
OPTIONS: dict[str, dict[str, Any]] = {
    "--volumes": {"help": "pattern of the volumes below SOURCE, such as '*/ct.nii.gz'"},
    "--segmentations": {"help": "pattern of their segmentations"},
    "--window": {
        "type": float,
        "nargs": 2,
        "metavar": ("LOW", "HIGH"),
        "help": "intensities that become 0 and 255 (default: -200 250 if dataset.json says CT, otherwise the 0.5th "
        "and 99.5th percentile of each volume)",
    },
    "--depth": {
        "type": int,
        "choices": (8, 16),
        "default": 8,
        "help": "bits of the values: with 16, PREPROCESS_DATA chooses while training what the network sees, and the "
        "default of --window is the whole range, of CT -1024 3071.9375 (default: 8)",
    },
    "--size": {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH"), "help": "of the slices (default: unchanged)"},
    "--crop": {"action": "store_true", "help": "crop or pad to --size around the centre instead of resizing"},
    "--foreground": {"action": "store_true", "help": "all labels above 0 become class 1 (default: unchanged)"},
    "--values": {"type": int, "nargs": "+", "help": "label of each class, such as 0 205 500 (default: 0, 1, 2, ...)"},
    "--group": {
        "help": "regular expression whose first group names the volumes that stay together, such as those of a patient "
        "(default: no groups)"
    },
    "--resample-labels": {
        "action": "store_true",
        "help": "resample a segmentation that covers the space of its scan with other voxels (nearest voxel)",
    },
    "--labels-in-scan-order": {
        "action": "store_true",
        "help": "the segmentations have wrong headers: their voxels lie on those of the scans in the order stored",
    },
    "--modality": {"type": int, "help": "which image of files with several (four axes), from 0"},
    "--channels": {
        "nargs": "*",
        "metavar": "NAME",
        "help": "sequences that become the channels of an image: the images of files with four axes, in their order "
        "(Decathlon: no names are needed), or a file for each name, which stands for {} in --volumes",
    },
    "--resample-channels": {
        "action": "store_true",
        "help": "resample sequences on other voxels than the first (linearly); masks belong to the first",
    },
}


class Found(NamedTuple):
    """The scans of a source. skipped: (file, reason); is_ct: whether intensities are Hounsfield units; class_names: of
    the labels, background first, if they are known; channels: of the images of a file."""

    scans: list[LabelledScan]
    skipped: list[Skipped]
    is_ct: bool = False
    class_names: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None


def prepare(options: Namespace) -> tuple[dict[str, dict], list[Skipped]]:
    """Prepare the volumes.

    Returns:
        `(summary, skipped)`; the summary as of `prepare_volumes`.
    """
    check_options(options)
    check_volume_options(options)
    source = existing_path(Path(options.source))
    found = find_by_pattern(source, options) if options.volumes else find_decathlon(source)
    groups = {scan.name: group_of(scan.name, options.group) for scan in found.scans}
    split_of = assign_splits(groups.values(), options.val, options.test, options.seed)
    splits = {name: split_of[group] for name, group in groups.items()}
    check_output(options.output, set(splits.values()))
    settings, jobs = slice_settings(options, found), []
    names = None if options.foreground or options.values else found.class_names
    for scan in found.scans:
        images, masks = (options.output / splits[scan.name] / name for name in ("images", "mask"))
        jobs.append(VolumeJob(splits[scan.name], scan, images, masks, settings, "volumes", names))
    return prepare_volumes(jobs, options.workers, options.quiet), found.skipped


def check_volume_options(options: Namespace) -> None:
    """Raise a UserError for options that are out of range or do not go together."""
    if options.window and not options.window[0] < options.window[1]:
        raise UserError(f"--window {options.window[0]:g} {options.window[1]:g}: the first must be below the second.")
    if (options.size and min(options.size) < 1) or (options.crop and not options.size):
        raise UserError("--size must be at least 1 1, and --crop needs it.")
    if options.values and (options.foreground or len(set(options.values)) < len(options.values)):
        raise UserError("--values lists the label of each class once, and excludes --foreground.")
    if options.resample_labels and options.labels_in_scan_order:
        raise UserError("--resample-labels and --labels-in-scan-order exclude each other.")
    if options.channels is not None and options.modality is not None:
        raise UserError("--channels takes all images of a file, --modality one. Leave one out.")
    if options.resample_channels and options.channels is None:
        raise UserError("--resample-channels needs --channels.")
    if "{}" in (options.volumes or "") and not options.channels:
        raise UserError(f"--volumes {options.volumes}: {{}} stands for each name of --channels. Give --channels.")
    if bool(options.volumes) != bool(options.segmentations):
        raise UserError("--volumes and --segmentations go together.")


def slice_settings(options: Namespace, found: Found) -> SliceSettings:
    """The settings of the slices."""
    ct_window = CT_WINDOW if options.depth == 8 else WHOLE_CT
    low, high = options.window or (ct_window if found.is_ct else (None, None))
    height, width = options.size or (None, None)
    label_grid = "resample" if options.resample_labels else "scan" if options.labels_in_scan_order else "own"
    return SliceSettings(
        height=height,
        width=width,
        resize_method="crop_or_pad" if options.crop else "resize",
        low=low,
        high=high,
        scaling="window",
        labels="foreground" if options.foreground else "as_stored",
        modality=options.modality,
        label_grid=label_grid,
        channels=channel_names(options, found),
        resample_channels=options.resample_channels,
        values=tuple(options.values) if options.values else None,
        depth=options.depth,
    )


def channel_names(options: Namespace, found: Found) -> tuple[str, ...] | None:
    """The names of the sequences, None without --channels."""
    if options.channels is None:
        return None
    names = tuple(options.channels) or found.channels
    if not names:
        raise UserError("--channels needs names, such as --channels t1 t2: there is no dataset.json that has them.")
    if len(set(names)) < len(names) or not all(map(is_name, names)):
        raise UserError(f"--channels {' '.join(names)}: the names must differ.")
    return names


def check_output(output: Path, splits: Collection[str]) -> None:
    """Raise a UserError for a folder with another dataset, or with volumes in a split that now gets none."""
    if (output / RECORD).exists():
        raise UserError(f"{output} already contains another dataset. Choose another OUTPUT, or remove that folder.")
    for split in SPLITS:
        if split not in splits and any((output / split / "manifest").glob("*.json")):
            raise UserError(
                f"{output / split} contains volumes of an earlier split. Remove it, or choose another OUTPUT."
            )


def find_decathlon(source: Path) -> Found:
    """The training volumes in a folder of the Medical Segmentation Decathlon."""
    path = source / "dataset.json"
    if not path.is_file():
        raise UserError(f"{source}: has no dataset.json. Give --volumes and --segmentations for other layouts.")
    try:
        data = read_json(path)
        entries = [(entry["image"], entry["label"]) for entry in data["training"]]
        modalities = list(data["modality"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is not the dataset.json of a Decathlon task ({type(error).__name__}: {error})."
        ) from None
    pairs = [[path_inside(source, name, str(path)) for name in names] for names in entries]
    scans = [LabelledScan(name_of(volume), volume, segmentation) for volume, segmentation in pairs]
    files = [file for scan in scans for file in (scan.volume, scan.segmentation)]
    raise_problems([f"{path} lists {file}, which does not exist." for file in files if not file.is_file()])
    names = [scan.name for scan in scans]
    raise_problems([f"{path} lists {name} twice." for name in sorted(set(names)) if names.count(name) > 1])
    if not scans:
        raise UserError(f"{path}: lists no training volumes.")
    skipped = unlisted_files(source, {file.resolve() for file in files})
    named = tuple(modalities) if all(isinstance(name, str) for name in modalities) else None
    return Found(scans, skipped, modalities == ["CT"], class_names(data), named)


def class_names(data: dict) -> tuple[str, ...] | None:
    """The names in a dataset.json, if they are those of the labels 0, 1, 2, ...; None otherwise.

    >>> class_names({"labels": {"0": "background", "1": "liver"}})
    ('background', 'liver')
    """
    labels = data.get("labels")
    if not isinstance(labels, dict) or not 2 <= len(labels) <= 256:
        return None
    names = [labels.get(str(index)) for index in range(len(labels))]
    usable = [name for name in names if isinstance(name, str) and is_name(name)]
    return tuple(usable) if len(usable) == len(set(usable)) == len(labels) else None


def unlisted_files(source: Path, listed: Collection[Path]) -> list[Skipped]:
    """The files of a Decathlon task that are not used, with the reason."""
    skipped: list[Skipped] = []
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        if not (source / folder).is_dir():
            continue
        found, why = list_folder(source / folder), "no labels are published"
        if folder != "imagesTs":
            why = "not in dataset.json"
        skipped += [(file, HIDDEN) for file in found.hidden]
        skipped += [(file, why) for file in found.files if file.resolve() not in listed]
    return skipped


def find_by_pattern(source: Path, options: Namespace) -> Found:
    """Volumes and segmentations that match the two patterns with the same text for each `*`."""
    patterns = [options.volumes]
    if "{}" in options.volumes:
        patterns = [options.volumes.replace("{}", name) for name in options.channels]
    segmentations = name_matches(source, options.segmentations)
    volumes, *others = [without(name_matches(source, pattern), segmentations) for pattern in patterns]
    for pattern, found in zip(patterns, (volumes, *others), strict=True):
        if not found:
            raise UserError(f"{source}: nothing matches the pattern {pattern}.")
    raise_problems(
        [
            f"{path} has no partner that matches {pattern}."
            for pattern, found in zip(patterns[1:], others, strict=True)
            for name, path in volumes.items()
            if name not in found
        ]
        + [
            f"{path} has no partner that matches {patterns[0]}."
            for found in others
            for name, path in found.items()
            if name not in volumes
        ]
    )
    raise_problems(
        [f"{path} has no segmentation." for name, path in volumes.items() if name not in segmentations]
        + [f"{path} has no volume." for name, path in segmentations.items() if name not in volumes]
    )
    scans = [
        LabelledScan(name, volumes[name], segmentations[name], tuple(found[name] for found in others))
        for name in sorted(volumes)
    ]
    return Found(scans, [])


def name_of(path: Path) -> str:
    """The file name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the volumes and print how many each split has."""
    options = make_parser(__doc__, SOURCES, OPTIONS).parse_args(arguments)
    with errors_in_one_line():
        summary, skipped = prepare(options)
    if not options.quiet:
        for split, done in summary.items():
            print(
                f"{split}: {counted(done['written'], 'volume')} written, {done['skipped']} unchanged, "
                f"{counted(done['slices'], 'slice')}, {done['slices_with_liver']} with foreground, "
                f"in {options.output / split}"
            )
        print_skipped(skipped)


if __name__ == "__main__":
    main()

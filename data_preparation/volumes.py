"""Volumes -> slices, as preprocess_data.py does it for LiTS: Medical Segmentation Decathlon, NIfTI pairs, DICOM.

    python data_preparation/volumes.py Task03_Liver data --window -200 250
    python data_preparation/volumes.py scans data --volumes '*/ct.nii.gz' --segmentations '*/liver.nii.gz'
    python data_preparation/volumes.py patients data --volumes '*/CT' --segmentations '*/segmentation.dcm'

SOURCE holds a dataset.json with imagesTr and labelsTr (Decathlon; imagesTs has no labels and is skipped), or files and
folders that two patterns match: the n-th volume goes with the n-th segmentation, which share what `*` stands for. A
folder is a DICOM series; a segmentation may be NIfTI, a DICOM series or a binary DICOM SEG (no RTSTRUCT). Whole volumes
go to training or validation. An image holds the slice below, the slice and the slice above as red, green and blue.
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

from data_preparation.common.command_line import check_options, errors_in_one_line, make_parser
from data_preparation.common.dataset_writer import RECORD, print_skipped
from data_preparation.common.listing import refuse
from data_preparation.common.splits import SPLITS, assign_splits, existing
from data_preparation.scans.labelled_scans import LabelledScan
from data_preparation.scans.slices import SliceSettings
from data_preparation.scans.volume_writer import VolumeJob, prepare_volumes
from utils.base.errors import UserError

CT_WINDOW = (-200.0, 250.0)
SOURCES = {"source": "folder with a dataset.json, or below which the patterns look"}
OPTIONS = {
    "--volumes": {"help": "pattern of the volumes below SOURCE, such as '*/ct.nii.gz'"},
    "--segmentations": {"help": "pattern of their segmentations"},
    "--window": {
        "type": float,
        "nargs": 2,
        "metavar": ("LOW", "HIGH"),
        "help": "values that become 0 and 255 (default: "
        "-200 250 where dataset.json says CT, else what 99 percent of a volume lie between)",
    },
    "--size": {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH"), "help": "of the slices (default: as they are)"},
    "--crop": {"action": "store_true", "help": "cut or fill up to --size around the centre, instead of resizing"},
    "--foreground": {"action": "store_true", "help": "all labels above 0 become class 1 (default: as they are)"},
    "--modality": {"type": int, "default": 0, "help": "which image of a file that holds several (default 0)"},
}


def prepare(options):
    """Prepare the volumes; returns `(summary, skipped)`, the summary as `preprocess_data` does."""
    check_options(options)
    if options.window and not options.window[0] < options.window[1]:
        raise UserError(f"--window {options.window[0]:g} {options.window[1]:g}: the first must be below the second.")
    if (options.size and min(options.size) < 1) or (options.crop and not options.size):
        raise UserError("--size must be at least 1 1, and --crop needs it.")
    source = existing(Path(options.source))
    if bool(options.volumes) != bool(options.segmentations):
        raise UserError("--volumes and --segmentations go together.")
    cases, skipped, is_ct = find_by_pattern(source, options) if options.volumes else find_decathlon(source)
    low, high = options.window or (CT_WINDOW if is_ct else (None, None))
    height, width = options.size or (None, None)
    settings = SliceSettings(
        height=height,
        width=width,
        resize_method="crop_or_pad" if options.crop else "resize",
        low=low,
        high=high,
        scaling="window",
        labels="foreground" if options.foreground else "as_stored",
        modality=options.modality,
    )
    splits = assign_splits([case.name for case in cases], options.val, options.test, options.seed)
    check_output(options.output, set(splits.values()))
    jobs = []
    for case in cases:
        folders = [options.output / splits[case.name] / name for name in ("images", "mask")]
        jobs.append(VolumeJob(splits[case.name], case, *folders, settings))
    return prepare_volumes(jobs, options.workers, options.quiet), skipped


def check_output(output, splits):
    """Refuse a folder with another dataset, or with volumes in a split that now gets none."""
    if (output / RECORD).exists():
        raise UserError(f"{output} already holds another dataset. Choose another OUTPUT, or remove that folder.")
    for split in SPLITS:
        if split not in splits and any((output / split / "manifest").glob("*.json")):
            raise UserError(f"{output / split} holds volumes of an earlier split. Remove it, or choose another OUTPUT.")


def find_decathlon(source):
    """Return `(cases, skipped, whether it is CT)` of a folder of the Medical Segmentation Decathlon."""
    path = source / "dataset.json"
    if not path.is_file():
        raise UserError(f"{source}: has no dataset.json. Give --volumes and --segmentations for other layouts.")
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        pairs = [(entry["image"], entry["label"]) for entry in data["training"]]
        modalities = list(data["modality"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is not the dataset.json of a Decathlon task ({type(error).__name__}: {error})."
        ) from None
    cases = [LabelledScan(stem(Path(image)), source / image, source / label) for image, label in pairs]
    refuse([f"{path} lists {file}, which does not exist." for case in cases for file in case[1:] if not file.is_file()])
    names = [case.name for case in cases]
    refuse([f"{path} lists {name} twice." for name in sorted(set(names)) if names.count(name) > 1])
    listed = {file.resolve() for case in cases for file in case[1:]}
    skipped = []
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        for file in sorted((source / folder).glob("*")):
            if file.resolve() not in listed:
                why = "no labels are published" if folder == "imagesTs" else "not in dataset.json"
                skipped.append((file, "hidden file" if file.name.startswith(".") else why))
    if not cases:
        raise UserError(f"{path}: lists no training volumes.")
    return cases, skipped, modalities == ["CT"]


def find_by_pattern(source, options):
    """Return `(cases, skipped, False)`: volumes and segmentations matched by what the `*` of the patterns stand for."""
    found = []
    for pattern in (options.volumes, options.segmentations):
        paths = [path for path in sorted(source.glob(pattern)) if not path.name.startswith(".")]
        expression = re.compile("(.*)".join(re.escape(part) for part in re.split(r"\*+", pattern)))
        if "*" not in pattern or any(mark in pattern for mark in "[]?"):
            raise UserError(f"The pattern {pattern} needs a * for what differs; ? and [ ] are not known.")
        named = {}
        for path in paths:
            name = "_".join(filter(None, expression.fullmatch(path.relative_to(source).as_posix()).groups()))
            name = re.sub(r"[^\w.-]", "_", name)
            if name in named:
                raise UserError(f"{named[name]} and {path} would both be called {name}.")
            named[name] = path
        found.append(named)
    volumes, segmentations = found
    if not volumes:
        raise UserError(f"{source}: nothing matches the pattern {options.volumes}.")
    refuse(
        [f"{path} has no segmentation." for name, path in volumes.items() if name not in segmentations]
        + [f"{path} has no volume." for name, path in segmentations.items() if name not in volumes]
    )
    return [LabelledScan(name, volumes[name], segmentations[name]) for name in sorted(volumes)], [], False


def stem(path):
    return path.name.removesuffix(".gz").removesuffix(".nii")


def main(arguments=None):
    options = make_parser(__doc__, SOURCES, OPTIONS, split=True).parse_args(arguments)
    with errors_in_one_line():
        summary, skipped = prepare(options)
    if not options.quiet:
        for split, done in summary.items():
            print(
                f"{split}: {done['written']} volumes written, {done['skipped']} unchanged, {done['slices']} slices, "
                f"{done['slices_with_liver']} with foreground, in {options.output / split}"
            )
        print_skipped(skipped)


if __name__ == "__main__":
    main()

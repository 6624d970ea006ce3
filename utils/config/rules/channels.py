"""Rules about where the channels of an image come from: several files, chosen bands, neighbouring slices."""

from collections.abc import Sequence

from omegaconf import DictConfig

from utils.base.errors import UserError


def channel_names_find_files(cfg: DictConfig) -> None:
    if cfg.DATASET.CHANNELS is not None:
        names_find_files("DATASET.CHANNELS", cfg.DATASET.CHANNELS)


def names_find_files(key: str, names: Sequence[str]) -> None:
    """Names, or patterns, that tell the files of a case apart; DATASET.CHANNELS and CLASS_MASKS."""
    names = list(names)
    example = {"DATASET.CHANNELS": "[t1,t2,flair]"}.get(key, "[liver,tumour]")
    folder = {"DATASET.CHANNELS": "IMAGES_PATH"}.get(key, "MASK_PATH")
    key = f"{key}={names}"
    if not names or len(set(names)) < len(names) or not all(name.strip("_-. ") for name in names):
        raise UserError(f"{key} must be different names, such as {example}.")
    patterns = [name for name in names if "*" in name]
    if patterns and len(patterns) < len(names):
        other = next(name for name in names if "*" not in name)
        raise UserError(f"{key}: {patterns[0]} is a pattern and {other} is none. Give names alone, or patterns alone.")
    folders = [name for name in names if "/" in name and "*" not in name]
    if folders:
        raise UserError(
            f"{key}: {folders[0]} is a path. Give the name of a folder or a part of file names, or patterns such as "
            f"'t1/*.png' below DATASET.TRAIN.{folder}, where * is the case."
        )


def classifier_reads_single_files(cfg: DictConfig) -> None:
    if cfg.MODEL.TYPE != "classifier":
        return
    for key, value in {"CHANNELS": cfg.DATASET.CHANNELS, "SLICES_AROUND": cfg.DATASET.SLICES_AROUND}.items():
        if value:
            raise UserError(
                f"DATASET.{key}={value} is for masks; MODEL.TYPE=classifier reads a file an image: save the channels "
                "as the bands of a TIFF file, from which DATASET.BANDS chooses."
            )


def input_has_the_channels_of_the_files(cfg: DictConfig) -> None:
    """INPUT.CHANNELS is files x bands x slices."""
    dataset, channels = cfg.DATASET, cfg.INPUT.CHANNELS
    files, bands, slices = len(dataset.CHANNELS or [1]), len(dataset.BANDS or [1]), 2 * dataset.SLICES_AROUND + 1
    numbers = {
        f"DATASET.CHANNELS={dataset.CHANNELS}": None if dataset.CHANNELS is None else files,
        f"DATASET.BANDS={dataset.BANDS}": None if dataset.BANDS is None else bands,
        f"DATASET.SLICES_AROUND={dataset.SLICES_AROUND}": slices if slices > 1 else None,
    }
    given = {key: number for key, number in numbers.items() if number is not None}
    if dataset.BANDS is not None and not dataset.BANDS:
        raise UserError("DATASET.BANDS=[] must name at least one band, such as [1], or be null.")
    if not given:
        return
    makes = ", ".join(f"{key} makes {number}" for key, number in given.items())
    if dataset.CHANNELS is None and dataset.BANDS is None:
        if channels % slices:
            raise UserError(
                f"INPUT.CHANNELS={channels} must be a multiple of {slices}: {makes} slices of each. Set "
                f"INPUT.CHANNELS={slices} for grey slices, {3 * slices} for colours."
            )
    elif channels != files * bands * slices:
        product = f" ({' x '.join(map(str, given.values()))})" if len(given) > 1 else ""
        grey = (
            ""
            if dataset.CHANNELS is None or dataset.BANDS is None
            else (
                f" DATASET.BANDS chooses from each file: if each file has one band, leave it out, with INPUT.CHANNELS="
                f"{files * slices}."
            )
        )
        raise UserError(
            f"INPUT.CHANNELS={channels} contradicts the channels that are read: {makes}. Set "
            f"INPUT.CHANNELS={files * bands * slices}{product}.{grey}"
        )

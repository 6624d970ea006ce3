"""Write a dataset: pairs of image and mask in the layout that every loader reads.

    OUTPUT/{train,val,test}/images/<name>.png or .jpg      OUTPUT/{train,val,test}/mask/<name>.png

and with --objects, where a command knows single ones, label images: OUTPUT/{train,val,test}/objects/<name>.png.
PNG and JPEG images are copied byte by byte; other formats become PNG. `OUTPUT/prepared.json` records the sources and
options of each pair: a second run skips what has not changed, and removes pairs that no longer belong to a split.
"""

import contextlib
import functools
import hashlib
import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.files.preparation import CLASS_NAMES, FILE, MULTI_LABEL, write_preparation
from data_generators.reading.decoding import decode
from data_generators.reading.headers import JPEG_START, PNG_START, read_whole_and_header
from data_generators.reading.tiff_pages import path_of
from data_preparation.common.dataset_record import Record, read_record, write_record
from data_preparation.common.image_files import Skipped, unique_by
from data_preparation.common.made_images import MadeImage
from data_preparation.common.parallel import run_parallel
from data_preparation.common.png import COLOUR_TYPES, encode_png
from data_preparation.common.splits import SPLITS
from utils.base.errors import UserError, printable
from utils.base.files import new_folders
from utils.base.locks import locked_output
from utils.base.progress import track
from utils.base.wording import counted

CHUNK = 32  # pairs that a process takes at a time

PAIRS_PER_PROCESS = 2000  # starting a process takes as long as preparing many pairs

COPIED = {PNG_START: ".png", JPEG_START: ".jpg"}  # formats of images that are copied


class NewPair(NamedTuple):
    """A pair to write.

    split: "train" | "val" | "test", or None until it is drawn; image: the image file; name, mask_name: of the files to
    write, without ending; annotation: what the mask is made from; sources: further files that the mask depends on.
    """

    split: str | None
    image: ImageFile
    name: str
    mask_name: str
    annotation: Any = None
    sources: tuple[ImageFile, ...] = ()


class MadeMask(NamedTuple):
    """A mask and what is known of it.

    mask: uint8 `(height, width)`; data: the bytes of its PNG file, if that can be copied; objects: uint16
    `(height, width)`, the label image to write beside it, or None.
    """

    mask: np.ndarray
    data: bytes | None = None
    objects: np.ndarray | None = None


class Conversion(NamedTuple):
    """What a command found, and how to convert it.

    pairs: to write; make_mask: `(pair, height, width) -> uint8 (height, width)` or `MadeMask`, can be pickled;
    skipped: (file or name, reason); class_names: background first, None if they are not known; multi_label: whether
    the classes of a mask may overlap, see `utils.base.class_bits`; objects: whether `make_mask` gives label images.
    """

    pairs: Sequence[NewPair]
    make_mask: Callable[[NewPair, int, int], np.ndarray | MadeMask]
    skipped: Sequence[Skipped]
    class_names: Sequence[str] | None = None
    multi_label: bool = False
    objects: bool = False


def write_dataset(conversion: Conversion, options: Namespace, sources: Iterable[str]) -> dict[str, dict[str, int]]:
    """Write all new or changed pairs and report. An error never leaves half a pair.

    Args:
        conversion: what to write.
        options: of the command line.
        sources: which of the options name the sources.

    Returns:
        `{split: {"written": int, "unchanged": int}}`

    Raises:
        UserError: nothing to write, two pairs of one name, an image or mask that cannot be used, or a folder that
            contains another dataset, or that another process is writing to.
    """
    if not conversion.pairs:
        reasons = "".join(f" {name}: {why}." for name, why in conversion.skipped[:3])
        raise UserError(f"There is nothing to prepare.{reasons}")
    with locked_output([options.output]):
        return write_locked(conversion, options, sources)


def write_locked(conversion: Conversion, options: Namespace, sources: Iterable[str]) -> dict[str, dict[str, int]]:
    """`write_dataset` while no other process writes into the same folder."""
    output, skipped = options.output, conversion.skipped
    origin = {name: os.path.abspath(getattr(options, name)) for name in sources}
    record = read_record(output, origin)
    settings = settings_of_masks(options, sources)
    targets = unique_by(conversion.pairs, image_target)
    signatures = {target: signature_of(pair, settings) for target, pair in targets.items()}
    kinds = ("images", "mask", "objects") if conversion.objects else ("images", "mask")
    done = {
        target
        for target, pair in targets.items()
        if is_done(output, record, target, pair, signatures[target], conversion.objects)
    }
    todo = {target: pair for target, pair in targets.items() if target not in done}

    files = {target: record[target] for target in done}
    named: dict[str, Any] = {CLASS_NAMES: list(conversion.class_names)} if conversion.class_names else {}
    if conversion.multi_label:
        named[MULTI_LABEL] = True
    try:
        remove_stale_pairs(output, record, targets)
        work = functools.partial(write_pair, make_mask=conversion.make_mask, output=output)
        workers = options.workers or min(os.cpu_count() or 1, 1 + len(todo) // PAIRS_PER_PROCESS)
        results = run_parallel(work, list(todo.items()), workers, CHUNK)
        progress = track(results, "write pairs", len(todo), quiet=options.quiet or not todo)
        folders = [output / str(pair.split) / kind for pair in todo.values() for kind in kinds]
        with new_folders(folders), unfinished(output, todo.values(), named), contextlib.closing(progress):
            for (target, pair), _ in progress:
                files[target] = [mask_target(pair), signatures[target]]
        for split in {pair.split for pair in conversion.pairs} if named else ():
            write_preparation(output / str(split), named)
    finally:
        # Also after an error or Ctrl-C, unless it came before the first file: finished pairs are not made again.
        if record or any(output.glob("*/*/*")):
            write_record(output, origin, record, files, targets)

    summary = {split: {"written": 0, "unchanged": 0} for split in SPLITS}
    for target, pair in targets.items():
        summary[str(pair.split)]["unchanged" if target in done else "written"] += 1
    if not options.quiet:
        print_report(summary, skipped, output)
    return summary


@contextlib.contextmanager
def unfinished(output: Path, pairs: Iterable[NewPair], named: Mapping[str, Any]) -> Iterator[None]:
    """Mark the splits of some pairs as being written for a block, with the names of the classes if there are any.

    If the block fails before its first pair, a split that is new keeps nothing.
    """
    folders = [output / split for split in sorted({str(pair.split) for pair in pairs})] if named else []
    for folder in folders:
        write_preparation(folder, named, finished=False)
    try:
        yield
    except BaseException:
        for folder in folders:
            if not any(folder.glob("*/*")):
                (folder / FILE).unlink()
        raise


def settings_of_masks(options: Namespace, sources: Iterable[str]) -> str:
    """The options that change what a mask looks like, as a text; all but where, how fast and how loud."""
    neutral = {*sources, "output", "workers", "quiet", "val", "test", "seed"}
    return repr(sorted((key, str(value)) for key, value in vars(options).items() if key not in neutral))


def print_report(summary: Mapping[str, Mapping[str, int]], skipped: Sequence[Skipped], output: Path) -> None:
    """Print how many pairs each split has, and what was skipped."""
    for split, counts in summary.items():
        if any(counts.values()):
            pairs, same = counted(counts["written"], "pair"), counts["unchanged"]
            print(f"{split}: {pairs} written, {same} unchanged, in {output / split}")
    print_skipped(skipped)


def print_skipped(skipped: Sequence[Skipped]) -> None:
    """Print each skipped file with the reason."""
    for name, why in skipped:
        print(printable(f"skipped {name}: {why}"))
    if skipped:
        print(f"{len(skipped)} skipped")


def write_pair(
    target_and_pair: tuple[str, NewPair],
    make_mask: Callable[[NewPair, int, int], np.ndarray | MadeMask],
    output: Path,
) -> None:
    """Make one pair and move both files into place together.

    Args:
        target_and_pair: the image file to write, relative to `output`, and the pair.
        make_mask: see `Conversion`.
        output: folder of the dataset.
    """
    target, pair = target_and_pair
    data, header = read_whole_and_header(pair.image)
    made = make_mask(pair, header.height, header.width)
    made = made if isinstance(made, MadeMask) else MadeMask(made)
    mask = made.mask
    if mask.shape != (header.height, header.width):
        raise UserError(
            f"{pair.image}: is {header.height}x{header.width} pixels, its mask {mask.shape[0]}x{mask.shape[1]}. "
            "They must agree."
        )
    if not data.startswith(tuple(COPIED)):
        pixels = decode(pair.image, data)
        if pixels.shape[2] not in COLOUR_TYPES:
            raise UserError(
                f"{pair.image}: has {pixels.shape[2]} channels; a PNG file has 1, 3 or 4. Train on the files as "
                "they are: DATASET.TRAIN.IMAGES_PATH takes TIFF."
            )
        data = encode_png(pixels)
    files = {output / target: data, output / mask_target(pair): made.data or encode_png(mask)}
    if made.objects is None:
        (output / objects_target(mask_target(pair))).unlink(missing_ok=True)  # of an earlier run
    else:
        files[output / objects_target(mask_target(pair))] = encode_png(made.objects)
    write_together(files)


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write `{path: bytes}` under temporary names, then rename all of them."""
    temporaries = {path: path.with_name(f".{path.name}.part") for path in files}
    try:
        for path, temporary in temporaries.items():
            temporary.write_bytes(files[path])
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def suffix_of(path: ImageFile) -> str:
    """The suffix of the written image, by the contents of the file rather than its name."""
    if isinstance(path, MadeImage):
        start = path.start()
    else:
        with open(path_of(path), "rb") as file:
            start = file.read(8)
    return next((suffix for first, suffix in COPIED.items() if start.startswith(first)), ".png")


def image_target(pair: NewPair) -> str:
    """Where the image is written, relative to OUTPUT."""
    return f"{pair.split}/images/{pair.name}{suffix_of(pair.image)}"


def mask_target(pair: NewPair) -> str:
    """Where the mask is written, relative to OUTPUT."""
    return f"{pair.split}/mask/{pair.mask_name}.png"


def objects_target(mask: str) -> str:
    """Where the label image of a mask is written, relative to OUTPUT as the mask is.

    >>> objects_target("train/mask/mask_1.png")
    'train/objects/mask_1.png'
    """
    split, _, name = mask.split("/")
    return f"{split}/objects/{name}"


def signature_of(pair: NewPair, settings: str) -> str:
    """A short text that changes with the sources and the options of a pair."""
    parts = [settings]
    for path in (pair.image, *pair.sources):
        status = os.stat(path.path if isinstance(path, MadeImage) else path_of(path))
        parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def is_done(output: Path, record: Record, target: str, pair: NewPair, signature: str, objects: bool) -> bool:
    """Whether a pair was written before, from the same sources and options, with a label image if `objects`."""
    return (
        record.get(target) == [mask_target(pair), signature]
        and all((output / file).is_file() for file in (target, mask_target(pair)))
        and (not objects or (output / objects_target(mask_target(pair))).is_file())
    )


def remove_stale_pairs(output: Path, record: Record, targets: Mapping[str, NewPair]) -> None:
    """Remove pairs of an earlier run that are no longer wanted, such as those that moved to another split."""
    for target, (mask, _) in record.items():
        if target not in targets:
            for file in (target, mask, objects_target(mask)):
                (output / file).unlink(missing_ok=True)

"""What all preparation scripts share: their command line, and pairs of image and mask written into one layout.

    OUTPUT/{train,val,test}/images/<name>.png or .jpg      OUTPUT/{train,val,test}/mask/<name>.png

PNG and JPEG images are copied byte by byte, others become PNG. `OUTPUT/prepared.json` notes which sources and options
each pair was made from: a second run skips what has not changed, and removes what no longer belongs to a split.
"""

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data_generators.reading.decoding import decode
from data_generators.reading.headers import JPEG_START, PNG_START, read_whole_and_header
from data_preparation.common.listing import by_key
from data_preparation.common.parallel import run_parallel
from data_preparation.common.png import COLOUR_TYPES, encode_png
from data_preparation.common.splits import SPLITS
from utils.base.errors import UserError
from utils.base.files import atomic_write, new_folders

RECORD = "prepared.json"

CHUNK = 32  # pairs that a process takes at a time

WORTH_A_PROCESS = 2000  # pairs; starting a process takes as long as preparing many

COPIED = {PNG_START: ".png", JPEG_START: ".jpg"}


class Item(NamedTuple):
    """One pair to write.

    split: "train" | "val" | "test"; image: the picture file; name, mask_name: of the files written, without ending;
    detail: what the script's function makes the mask from; sources: further files that the mask depends on.
    """

    split: str
    image: Path
    name: str
    mask_name: str
    detail: object = None
    sources: tuple = ()


class Stored(NamedTuple):
    """A mask whose PNG file is right as it is. mask: uint8 `(height, width)`; data: the file's bytes."""

    mask: np.ndarray
    data: bytes


class Plan(NamedTuple):
    """What a script found: items, a function `(item, height, width) -> uint8 (height, width)` or Stored, and the rest.

    skipped: list of (file or name, reason).
    """

    items: list
    make_mask: object
    skipped: list


def write_dataset(plan, options, sources):
    """Write all pairs of a plan that are not there yet and report; whole pairs only, an error leaves no part of one.

    Returns:
        `{split: {"written": int, "unchanged": int}}`

    Raises:
        UserError: nothing to write, two items of one name, a picture or mask that is unfit, or a folder that holds
            another dataset.
    """
    output = options.output
    if not plan.items:
        raise UserError("There is nothing to prepare." + "".join(f" {name}: {why}." for name, why in plan.skipped[:3]))
    origin = {name: os.path.abspath(getattr(options, name)) for name in sources}
    record = read_record(output, origin)
    # What changes how a mask looks is part of an item's signature; where it goes, how fast and how loud is not.
    neutral = {*sources, "output", "workers", "quiet", "val", "test", "seed"}
    settings = repr(sorted((key, str(value)) for key, value in vars(options).items() if key not in neutral))
    targets = by_key(plan.items, image_target)
    signatures = {target: sign(item, settings) for target, item in targets.items()}
    done = {target for target, item in targets.items() if is_done(output, record, target, item, signatures[target])}
    todo = {target: item for target, item in targets.items() if target not in done}

    files = {target: record[target] for target in done}
    try:
        retire(output, record, targets)
        work = functools.partial(write_pair, make_mask=plan.make_mask, output=output)
        workers = options.workers or min(os.cpu_count(), 1 + len(todo) // WORTH_A_PROCESS)
        results = run_parallel(work, list(todo.items()), workers, CHUNK)
        progress = tqdm(results, "pairs", len(todo), unit="pair", disable=options.quiet or not todo)
        folders = [output / item.split / kind for item in todo.values() for kind in ("images", "mask")]
        with new_folders(folders), progress as bar:
            for (target, item), _ in bar:
                files[target] = [mask_target(item), signatures[target]]
    finally:
        # Also after an error or Ctrl-C, unless it came before the first file: what is finished is not made again.
        if record or any(output.glob("*/*/*")):
            with atomic_write(output / RECORD) as temporary:
                kept = {target: entry for target, entry in record.items() if target in targets and target not in files}
                unsure = {target: [mask, None] for target, (mask, _) in kept.items()}
                temporary.write_text(json.dumps({"origin": origin, "files": {**unsure, **files}}, indent=0))

    summary = {split: {"written": 0, "unchanged": 0} for split in SPLITS}
    for target, item in targets.items():
        summary[item.split]["unchanged" if target in done else "written"] += 1
    if not options.quiet:
        print_report(summary, plan.skipped, output)
    return summary


def print_report(summary, skipped, output):
    for split, counts in summary.items():
        if any(counts.values()):
            print(f"{split}: {counts['written']} pairs written, {counts['unchanged']} unchanged, in {output / split}")
    print_skipped(skipped)


def print_skipped(skipped):
    """Name each file that was left out, with the reason."""
    for name, why in skipped:
        print(f"skipped {name}: {why}")
    if skipped:
        print(f"{len(skipped)} skipped")


def write_pair(target_and_item, make_mask, output):
    """Make one pair and put both files in place at once."""
    target, item = target_and_item
    data, header = read_whole_and_header(item.image)
    mask = make_mask(item, header.height, header.width)
    mask, encoded = mask if isinstance(mask, Stored) else (mask, None)
    if mask.shape != (header.height, header.width):
        raise UserError(
            f"{item.image}: is {header.height}x{header.width} pixels, its mask {mask.shape[0]}x{mask.shape[1]}. "
            "They must agree."
        )
    if not data.startswith(tuple(COPIED)):
        pixels = decode(item.image, data)
        if pixels.shape[2] not in COLOUR_TYPES:
            raise UserError(f"{item.image}: has {pixels.shape[2]} channels; a PNG can hold 4 at most.")
        data = encode_png(pixels)
    put({output / target: data, output / mask_target(item): encoded or encode_png(mask)})


def put(files):
    """Write `{path: bytes}` under temporary names and rename them together."""
    temporaries = {path: path.with_name(f".{path.name}.part") for path in files}
    try:
        for path, temporary in temporaries.items():
            temporary.write_bytes(files[path])
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def ending(path):
    """The ending of the written image: by what the file holds, whatever its name says."""
    with open(path, "rb") as file:
        start = file.read(8)
    return next((ending for first, ending in COPIED.items() if start.startswith(first)), ".png")


def image_target(item):
    return f"{item.split}/images/{item.name}{ending(item.image)}"


def mask_target(item):
    return f"{item.split}/mask/{item.mask_name}.png"


def sign(item, settings):
    """A short text that changes when the sources or the options of a pair do."""
    parts = [settings]
    for path in (item.image, *item.sources):
        status = os.stat(path)
        parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_record(output, origin):
    """`{image: [mask, signature]}` of an earlier run into the same folder; empty where there was none.

    Raises:
        UserError: the earlier run prepared something else.
    """
    try:
        record = json.loads((output / RECORD).read_text())
        earlier, files = record["origin"], record["files"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{output / RECORD} is damaged. Remove it, and the folders beside it, and try again.") from None
    if earlier != origin:
        raise UserError(
            f"{output} already holds what was prepared from {', '.join(earlier.values())}. Choose another OUTPUT, or "
            "remove that folder."
        )
    return files


def is_done(output, record, target, item, signature):
    return (
        record.get(target) == [mask_target(item), signature]
        and (output / target).is_file()
        and (output / mask_target(item)).is_file()
    )


def retire(output, record, targets):
    """Remove the pairs of an earlier run that the plan no longer has: one that moved to another split must leave."""
    for target, (mask, _) in record.items():
        if target not in targets:
            (output / target).unlink(missing_ok=True)
            (output / mask).unlink(missing_ok=True)

"""What all preparation scripts share: their command line, and pairs of image and mask written into one layout.

    OUTPUT/{train,val,test}/images/<name>.png or .jpg      OUTPUT/{train,val,test}/mask/<name>.png

PNG and JPEG images are copied byte by byte, others become PNG. `OUTPUT/prepared.json` notes which sources and options
each pair was made from: a second run skips what has not changed, and removes what no longer belongs to a split.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import struct
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from isal import isal_zlib
from tqdm import tqdm

from data_generators.images import JPEG_START, PNG_START, decode, read_whole_and_header
from data_generators.pairing import SHOWN, is_picture
from utils.config import fail
from utils.errors import UserError
from utils.files import new_folders, write_whole

SPLITS = ("train", "val", "test")
RECORD = "prepared.json"
CHUNK = 32  # pairs that a process takes at a time
WORTH_A_PROCESS = 2000  # pairs; starting a process takes as long as preparing many
COPIED = {PNG_START: ".png", JPEG_START: ".jpg"}
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels


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


def command(description, sources, plan, options=None, split=True):
    """Return `main(arguments=None)` of a preparation script.

    Args:
        description: the script's docstring.
        sources: `{name: help}` of the positional arguments that come before OUTPUT.
        plan: function of the parsed options that returns a `Plan`.
        options: `{flag: arguments of add_argument}`.
        split: whether the script takes --val, --test and --seed.
    """

    def main(arguments=None):
        parser = make_parser(description, sources, options, split)
        with errors_in_one_line():
            chosen = parser.parse_args(arguments)
            check_options(chosen)
            write_dataset(plan(chosen), chosen, sources)

    return main


@contextlib.contextmanager
def errors_in_one_line():
    """End the program with one line and exit code 2 where input is bad, or a file cannot be read or written."""
    try:
        yield
    except UserError as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}." if error.filename else error)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        fail(f"{message}. See --help.")


def make_parser(description, sources, options, split):
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in sources.items():
        parser.add_argument(name, help=text)
    parser.add_argument("output", type=Path, help="folder that gets train/, val/ and test/ with images/ and mask/")
    for flag, keywords in (options or {}).items():
        parser.add_argument(flag, **keywords)
    if split:
        parser.add_argument("--val", type=float, default=0.2, help="share for validation, where no split is published")
        parser.add_argument("--test", type=float, default=0.0, help="share for testing, likewise (default 0)")
        parser.add_argument("--seed", type=int, default=5, help="of that split (default 5)")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes (default: one per core, as far as it pays)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")
    return parser


def check_options(options):
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers} must be at least 1.")
    if "val" in options and not (options.val >= 0 and options.test >= 0 and options.val + options.test < 1):
        raise UserError(f"--val {options.val} and --test {options.test} must be shares that leave some for training.")


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
            with write_whole(output / RECORD) as temporary:
                kept = {target: entry for target, entry in record.items() if target in targets and target not in files}
                unsure = {target: [mask, None] for target, (mask, _) in kept.items()}
                temporary.write_text(json.dumps({"origin": origin, "files": {**unsure, **files}}, indent=0))

    summary = {split: {"written": 0, "unchanged": 0} for split in SPLITS}
    for target, item in targets.items():
        summary[item.split]["unchanged" if target in done else "written"] += 1
    if not options.quiet:
        print_report(summary, plan.skipped, output)
    return summary


def by_key(items, key):
    """`{key(item): item}`; two items of one key are an error."""
    found = {}
    for item in items:
        other = found.setdefault(key(item), item)
        if other is not item:
            raise UserError(f"{other.image} and {item.image} would both be written as {item.name}. Rename one.")
    return found


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


def encode_png(pixels):
    """uint8 or uint16 `(height, width[, channels])` as PNG: each row as the difference from the one above.

    Colours are in OpenCV's BGR order. That filter suits flat masks, and ISA-L compresses several times as fast as the
    zlib of OpenCV's writer, to about the same size.
    """
    height, width = pixels.shape[:2]
    channels = pixels.size // (height * width)
    if channels > 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGBA)
    depth = pixels.itemsize
    values = pixels.astype(">u2") if depth == 2 else np.ascontiguousarray(pixels)
    values = values.view(np.uint8).reshape(height, -1)
    rows = np.empty((height, values.shape[1] + 1), np.uint8)
    rows[:, 0] = 2  # PNG's filter "up"
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8 * depth, COLOUR_TYPES[channels], 0, 0, 0),
        b"IDAT": isal_zlib.compress(rows, 1),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts.items()
    )
    return PNG_START + b"".join(chunks)


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


def run_parallel(function, items, workers=None, chunk=1, advice="--workers"):
    """Yield `(item, function(item))` as they get done, in this process or in several.

    Args:
        function: can be pickled, as the items and results.
        workers: processes; None is one per core. Work of one chunk stays in this process.
        chunk: items that a process takes at a time.
        advice: what an error names to lower the number of processes with.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    workers = min(workers or os.cpu_count(), len(chunks))
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    # Started afresh rather than forked: a fork would copy the locks of running threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        tasks = {pool.submit(run_chunk, function, part): part for part in chunks}
        try:
            for task in as_completed(tasks):
                yield from zip(tasks[task], task.result(), strict=True)
        except BrokenProcessPool:
            raise UserError(
                f"A process was ended, probably for lack of memory: use fewer than {workers} with {advice}. (A script "
                "that calls this needs `if __name__ == '__main__':` around the call.)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def run_chunk(function, items):
    return [function(item) for item in items]


def by_split(*patterns):
    """The splits of sources that were published with one: `{split: paths}`, for the patterns with `{split}` filled in.

    Without `{split}` in the patterns the result is `{None: paths}`: a split is to be made.

    Raises:
        UserError: none of the paths exists, or some of a split do and others do not.
    """
    if not any("{split}" in str(pattern) for pattern in patterns):
        return {None: [existing(Path(pattern)) for pattern in patterns]}
    found = {}
    for split in SPLITS:
        paths = [Path(str(pattern).replace("{split}", split)) for pattern in patterns]
        if any(path.exists() for path in paths):
            found[split] = [existing(path) for path in paths]
    if not found:
        raise UserError(f"{patterns[0]}: there is nothing for any of the splits {', '.join(SPLITS)}.")
    return found


def existing(path):
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    return path


def assign_splits(groups, val, test, seed):
    """Return `{group: split}` of sorted, shuffled groups: `val` and `test` of them, at least one where not 0.

    Raises:
        UserError: too few groups.
    """
    groups = sorted(set(groups))
    counts = {"val": val, "test": test}
    counts = {split: max(round(len(groups) * share), 1) if share else 0 for split, share in counts.items()}
    if groups and sum(counts.values()) >= len(groups):
        raise UserError(
            f"{len(groups)} cases are too few for --val {val:g} and --test {test:g}: none is left to train."
        )
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    splits = ["val"] * counts["val"] + ["test"] * counts["test"]
    splits += ["train"] * (len(groups) - len(splits))
    return {groups[index]: split for index, split in zip(order, splits, strict=True)}


def with_splits(items, groups, options):
    """The items with a split where they have none: each by its group, as the options say.

    Raises:
        UserError: too few groups, or one name twice, whichever splits the two would come into.
    """
    if all(item.split for item in items):
        return items
    by_key(items, lambda item: item.name)
    splits = assign_splits(groups, options.val, options.test, options.seed)
    return [item._replace(split=splits[group]) for item, group in zip(items, groups, strict=True)]


def list_pictures(folder, recursive=False):
    """Return `(pictures, skipped)` of a folder, sorted; what is hidden or no picture is skipped with a reason."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    pictures, skipped = [], []
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if path.is_dir():
            continue
        if is_picture(path):
            pictures.append(path)
        else:
            skipped.append((path, "hidden file" if path.name.startswith(".") else "not a picture"))
    return pictures, skipped


def refuse(problems):
    """Raise a UserError of one line that tells the first problems, if there are any."""
    if problems:
        more = len(problems) - SHOWN
        raise UserError(" ".join(problems[:SHOWN]) + (f" ... and {more} more." if more > 0 else ""))

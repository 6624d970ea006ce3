"""Write images and masks into TFRecord shards, for DATA_GENERATOR_TYPE=TFRECORD.

    python data_preparation/tfrecord.py data/train/images data/train/mask data/shards --name train --shards 8
    python data_preparation/tfrecord.py inspect data/shards
    python train.py DATA_GENERATOR_TYPE=TFRECORD DATASET.TRAIN.IMAGES_PATH=data/shards/train-*.tfrec ...
    python data_preparation/tfrecord.py data/images data/mask data/shards --folds 5
    python train.py DATA_GENERATOR_TYPE=TFRECORD DATASET.FOLDS=data/shards DATASET.FOLD=0

A shard is named `<name>-<shard>-<count>.tfrec` and contains the files byte by byte, with checksums. All shards have
similar shares of foreground, and images of one volume or patient (the same name before the last number, or as --group
says) are in one shard. The same files give the same shards; shards of an earlier run with that name are replaced when
all are written. With --folds the shards are the folds of a cross-validation: the lists that DATASET.FOLDS reads are
written beside them, fold0_val_images.txt with the first shard, fold0_train_images.txt with the others, and so on.
"""

import functools
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.files.cloud import is_remote
from data_generators.files.image_file import ImageFile, ImageParts, parts_of
from data_generators.files.preparation import (
    Preparation,
    read_preparation,
    single_preparation,
    write_preparation,
)
from data_generators.files.tfrecord import encode_example, write_records
from data_generators.files.tfrecord_index import SHARD_SUFFIX, read_shard
from data_generators.files.volume_slices import volume_name
from data_generators.reading.class_masks import read_planes
from data_generators.reading.headers import picture_size, read_whole
from data_generators.reading.mask_values import read_values
from data_generators.reading.tiff import TIFF_STARTS, decode_tiff_values
from data_generators.reading.volume_intensities import INTENSITIES, read_intensities, source_of
from data_preparation.common.command_line import Parser, errors_in_one_line, make_split_parser
from data_preparation.common.file_lists import Lists, write_lists
from data_preparation.common.groups import VOLUME, group_of
from data_preparation.common.image_files import class_names, is_stack, list_pairs, page_pairs_of
from data_preparation.common.joined_channels import joined_tiff, planes_tiff
from data_preparation.common.stratified_splits import assign_parts, foreground_shares
from utils.base.errors import UserError
from utils.base.files import staging_folder, write_json
from utils.base.listing import expand_pattern, list_folder
from utils.base.locks import locked
from utils.base.progress import Task
from utils.base.wording import counted
from utils.config.folds import list_name


def write_shards(
    images: str | Path,
    masks: str | Path,
    output: str | Path,
    name: str,
    shards: int,
    group: str | None = VOLUME,
    background: int = 0,
    seed: int = 5,
    workers: int | None = None,
    quiet: bool = True,
    channels: Sequence[str] | None = None,
    class_masks: Sequence[str] | None = None,
) -> list[Path]:
    """Write the shards of a split and return their paths.

    Args:
        images, masks: folders.
        output: folder of the shards.
        name: first part of their names.
        shards: how many.
        group: see `data_preparation.common.groups.group_of`.
        background: pixel value that is not foreground.
        seed: the same seed gives the same shards.
        workers: processes that read masks; None is one per core.
        quiet: no progress bar.
        channels: DATASET.CHANNELS, if an image is several files: they are packed as the bands of a TIFF file.
        class_masks: see `data_preparation.common.image_files.class_names`; the planes are packed likewise.

    Raises:
        UserError: an invalid name, an image without a mask or of another size, a file that cannot be read, or fewer
            groups than shards.
    """
    if not name or set(name) & set(r"/\*?["):
        raise UserError(
            f"--name {name!r} must be the first part of a file name, without any of / \\ * ? [, such as train."
        )
    if is_remote(output):
        raise UserError(
            f"{output}: shards are written to a disk. Choose a folder, and copy all of it, with its manifests and "
            "prepared.json, to the cloud."
        )
    pairs = page_pairs_of(list_pairs(Path(images), Path(masks), channels, class_masks), stacks=is_stack(class_masks))
    preparation = preparation_of_shards([image for image, _ in pairs], Path(output))
    groups = [group_of(image.stem, group) for image, _ in pairs]
    if not 1 <= shards <= len(set(groups)):
        raise UserError(
            f"--shards {shards}: there are {counted(len(pairs), 'image')} of {counted(len(set(groups)), 'group')}, "
            f"such as {groups[0]}; give at least 1 shard and at most one per group, or --group none."
        )
    shard_of = np.zeros(len(pairs), int)
    if shards > 1:
        shares = foreground_shares([mask for _, mask in pairs], background, workers, quiet, class_names(class_masks))
        shard_of = assign_parts(groups, shares, shards, seed)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with locked(output / ".tfrecord.lock", f"the shards in {output}"), staging_folder(output, "tfrecord") as temporary:
        with Task("write pairs", len(pairs), quiet=quiet) as task:
            names = []
            for shard in range(shards):
                chosen = [pair for pair, number in zip(pairs, shard_of, strict=True) if number == shard]
                names.append(write_shard(temporary, name, shard, chosen, task, class_names(class_masks)))
        for path in shards_of(output, name):
            if path.name not in names:
                path.unlink()
        for written in names:
            os.replace(temporary / written, output / written)
    if preparation is not None:
        write_preparation(output, preparation.settings)
    keep_intensities([image for image, _ in pairs], output / "manifest" / name)
    return [output / written for written in names]


def keep_intensities(images: Sequence[ImageFile], folder: Path) -> None:
    """Write the statistics of the volumes, of manifests and TIFF stacks, for PREPROCESS_DATA.SCOPE=volume."""
    read, found = functools.cache(known_intensities), dict[str, Any]()
    for image in images:
        parts = parts_of(image)
        intensities = [read(source_of(part)) for part in parts]
        if len(parts) > 1:  # each becomes one band of the file in the shard
            intensities = [of_part[:1] for of_part in intensities]
        joined = list(itertools.chain(*intensities)) if all(intensities) else None
        name = f"volume-{volume_name(image)}.json"
        same = found.setdefault(name, joined) == joined
        found[name] = joined if same else None
    for path in list_folder(folder, (".json",)).files if folder.is_dir() else ():
        if found.get(path.name) is None:
            path.unlink()  # of an earlier run
    for name, intensities in found.items():
        if intensities is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / name, {INTENSITIES: intensities})


def known_intensities(source: Path) -> list[dict[str, Any]]:
    """`read_intensities`; empty for stacks of floating point, which have statistics within a VALUE_RANGE only."""
    try:
        return read_intensities(source)
    except UserError:
        return []


def preparation_of_shards(images: Sequence[ImageFile], output: Path) -> Preparation | None:
    """How the images were prepared, if it is known.

    Raises:
        UserError: the folder of the shards has others, of images that were prepared otherwise.
    """
    preparation = single_preparation(images)
    earlier = read_preparation(output) if shards_of(output) else None
    if earlier is not None and (preparation is None or preparation.settings != earlier.settings):
        raise UserError(
            f"{output}: has shards of images that were prepared otherwise, see {earlier.file.name} there and beside "
            "the images. Choose another folder."
        )
    return preparation


def write_shard(
    folder: Path,
    name: str,
    number: int,
    pairs: Sequence[tuple[ImageFile, ImageFile]],
    task: Task,
    classes: Sequence[str] | None,
) -> str:
    """Write one shard and return its name."""
    path = folder / f"{name}-{number:02d}-{len(pairs)}{SHARD_SUFFIX}"
    with open(path, "wb") as file:
        for image, mask in pairs:
            mask_name, mask_data, mask_size = pack_mask(mask, classes)
            sizes = ["x".join(map(str, size)) for size in (picture_size(image), mask_size)]
            if sizes[0] != sizes[1]:
                raise UserError(f"{mask}: is {sizes[1]}, its image {sizes[0]}.")
            if isinstance(image, ImageParts):
                image_name, data = f"{image.stem}.tif", joined_tiff(image)
            else:
                image_name, data = image.name, read_whole(image)
            features = {"name": os.fsencode(image_name), "mask_name": os.fsencode(mask_name)}
            features |= {"image": data, "mask": mask_data}
            write_records(file, [encode_example(features)])
            task.update()
        file.flush()
        os.fsync(file.fileno())
    return path.name


def pack_mask(mask: ImageFile, classes: Sequence[str] | None) -> tuple[str, bytes, tuple[int, ...]]:
    """Name, bytes and (height, width) of a mask; one with a plane for each class becomes a TIFF file with bands."""
    if classes is None:
        return mask.name, read_whole(mask), picture_size(mask)
    planes = read_planes(mask, classes)
    return f"{mask.stem}.tif", planes_tiff(planes), planes[0].shape


def list_folds(paths: Sequence[Path]) -> None:
    """Write the lists of k-fold cross-validation, see `utils.config.folds`, beside shards that are the folds."""
    lists: Lists = {}
    for fold, held_out in enumerate(paths):
        lists[list_name(fold, "train", "images")] = [path for path in paths if path != held_out]
        lists[list_name(fold, "val", "images")] = [held_out]
    write_lists(paths[0].parent, lists)


def shards_of(folder: str | Path, name: str = "*") -> list[Path]:
    """The shards in a folder, sorted."""
    return expand_pattern(Path(folder) / f"{name}-*-*{SHARD_SUFFIX}")


def inspect(folder: str | Path) -> None:
    """Check all shards of a folder and print what they contain."""
    shards = shards_of(folder)
    if not shards:
        raise UserError(f"{folder}: contains no {SHARD_SUFFIX} files.")
    found = {shard: read_shard(str(shard)) for shard in shards}
    for shard, pairs in found.items():
        print(f"{shard.name}: {counted(len(pairs), 'pair')}, {shard.stat().st_size / 1e6:.1f} MB, checksums correct")
    if not any(found.values()):
        return
    image, mask = next(pair for pairs in found.values() for pair in pairs)
    print(
        f"first example: image {image.name}, {image.length:,} bytes, {'x'.join(map(str, picture_size(image)))} pixels"
    )
    if mask is not None:
        data = read_whole(mask)
        stack = decode_tiff_values(mask, data)[0] if data.startswith(TIFF_STARTS) else read_values(mask)
        values = sorted(set(stack.ravel().tolist()))
        planes = f"{stack.shape[2]} bands, " if stack.ndim == 3 and stack.shape[2] > 1 else ""
        print(
            f"               mask {mask.name}, {mask.length:,} bytes, {planes}values {', '.join(map(str, values[:12]))}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write shards, or inspect them."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["inspect"]:
        parser = Parser(__doc__)
        parser.add_argument("inspect", help="the word inspect")
        parser.add_argument("folder", help="folder of shards")
    else:
        parser = make_split_parser(__doc__, "folder for the shards")
        parser.add_argument("--name", default="train", help="first part of their names (default train)")
        number = parser.add_mutually_exclusive_group()
        number.add_argument("--shards", type=int, default=8, help="number of shards (default 8)")
        number.add_argument("--folds", type=int, help="number of shards that are folds; also writes their lists")
    options = vars(parser.parse_args(arguments))
    with errors_in_one_line():
        if "folder" in options:
            inspect(options["folder"])
        else:
            folds = options.pop("folds")
            if folds is not None and folds < 2:
                raise UserError(f"--folds {folds} must be at least 2.")
            paths = write_shards(**(options | {"shards": folds or options["shards"]}), quiet=False)
            if folds:
                list_folds(paths)
            print(*paths, sep="\n")


if __name__ == "__main__":
    main()

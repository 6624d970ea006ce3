"""Probabilities of a split kept beside its evaluation (EVALUATION.KEEP_PROBABILITIES), for choices without networks.

In `<weights>.evaluation/probabilities/<split>/` lie an `index.json`, written last, and an npz of each image: `truth`,
uint8 `(height, width)`, and for each kind of PREDICT.TTA a uint16 `(height, width, channels)`, 65535 being 1. Where the
probabilities of a pixel sum to 1, channel 0 is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_generators.files.volume_slices import VolumeSlice
from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.base.files import atomic_write, file_hash
from utils.base.text_files import read_json
from utils.checkpoints.paths import weights_path
from utils.config.class_names import has_background, mask_class_names
from utils.evaluation.split_data import SplitData

FOLDER, INDEX, VERSION = "probabilities", "index.json", 1
ONE = 65535  # the probability 1
SUM = 1e-3  # how far from 1 the sum of a pixel may be to leave out a channel
TOO_MUCH = 0.01  # by which the others may exceed 1, as they are rounded


def kept_folder(evaluation: Path, split: str) -> Path:
    """Where the probabilities of a split are."""
    return evaluation / FOLDER / split


def check_kept_size(cfg: DictConfig) -> None:
    """Refuse quarter turns of images that the network does not take turned.

    Raises:
        UserError: INPUT is not square and fixed.
    """
    height, width = cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH
    if cfg.EVALUATION.KEEP_PROBABILITIES == "dihedral" and height != width and cfg.DATASET.CROP.MODE is None:
        raise UserError(
            f"EVALUATION.KEEP_PROBABILITIES=dihedral turns images by 90 degrees, but INPUT is {height}x{width}: use "
            "flips."
        )


class Keeper:
    """Writes the probabilities of a split, image by image.

    Args:
        folds: the restored config of each fold; usually one.
        evaluation: folder of the evaluation.
        data: the images of the split, in the order in which they are added.
    """

    def __init__(self, folds: Sequence[DictConfig], evaluation: Path, data: SplitData) -> None:
        self.folds, self.evaluation, self.data = folds, evaluation, data
        self.folder, self.added = kept_folder(evaluation, data.split), 0
        shutil.rmtree(self.folder, ignore_errors=True)  # of an earlier evaluation
        self.folder.mkdir(parents=True)

    def add(self, truths: np.ndarray, kinds: Mapping[str, np.ndarray]) -> None:
        """Add the next images.

        Args:
            truths: `(batch, height, width)` class indices, of the size of the probabilities.
            kinds: {PREDICT.TTA: float probabilities `(batch, height, width, channels)`}.
        """
        for number, truth in enumerate(truths):
            arrays = {kind: to_integers(found[number]) for kind, found in kinds.items()}
            write_arrays(self.folder / file_name(self.added), {"truth": truth, **arrays})
            self.added += 1

    def finish(self) -> None:
        """Write the index, which says that all is there."""
        cfg, weights = self.folds[0], [weights_path(fold) for fold in self.folds]
        places: Sequence[VolumeSlice | None] = self.data.places or [None] * self.data.images
        images = [
            {"name": pair.image.name, "volume": place and place.volume, "slice": place and place.slice}
            for pair, place in zip(self.data.pairs, places, strict=True)
        ]
        index = {
            "version": VERSION,
            "weights": [os.path.relpath(path, self.evaluation) for path in weights],
            "weights_sha256": [file_hash(path) for path in weights],
            "channels": cfg.OUTPUT.CLASSES,
            "multi_label": is_multi_label(cfg),
            "ignore_label": cfg.DATASET.IGNORE_LABEL,
            "background": has_background(cfg),
            "resized": bool(cfg.PREPROCESS_DATA.RESIZE.VALUE),
            "class_names": mask_class_names(cfg),
            "tta": kinds_kept(cfg),
            "images": images,
        }
        with atomic_write(self.folder / INDEX) as temporary:
            temporary.write_text(json.dumps(index), encoding="utf-8")


def kinds_kept(cfg: DictConfig) -> list[str]:
    """The kinds of PREDICT.TTA that EVALUATION.KEEP_PROBABILITIES asks for; empty if for none.

    >>> from utils.config import load_config
    >>> kinds_kept(load_config(["EVALUATION.KEEP_PROBABILITIES=flips"]))
    ['none', 'flips']
    """
    value = cfg.EVALUATION.KEEP_PROBABILITIES
    return [] if not value else ["none"] if value is True else ["none", value]


def file_name(number: int) -> str:
    return f"{number:06d}.npz"


def to_integers(probability: np.ndarray) -> np.ndarray:
    """Probabilities `(..., channels)` -> uint16, without channel 0 where it is what the others leave.

    >>> to_integers(np.array([[0.25, 0.75]])).tolist(), to_integers(np.array([[0.0, 0.5]])).tolist()
    ([[49151]], [[0, 32768]])
    """
    integers = np.rint(probability * np.float32(ONE)).astype(np.uint16)
    if probability.shape[-1] > 1 and np.abs(probability.sum(-1) - 1).max(initial=0) < SUM:
        return integers[..., 1:]
    return integers


def from_integers(integers: np.ndarray, channels: int) -> np.ndarray:
    """The float32 probabilities `(..., channels)` that `to_integers` wrote, within 1e-5.

    >>> from_integers(np.array([[49151]], np.uint16), 2).round(3).tolist()
    [[0.25, 0.75]]
    """
    probability = integers / np.float32(ONE)
    if integers.shape[-1] == channels:
        return probability
    rest = 1 - probability.sum(-1, keepdims=True)
    if rest.min(initial=0) < -TOO_MUCH:
        raise ValueError("the probabilities of a pixel sum to more than 1")
    return np.concatenate([np.maximum(rest, 0), probability], axis=-1)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz, compressed as little as possible: twice as fast as `np.savez_compressed`, and 5% larger."""
    with (
        atomic_write(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
    ):
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


@dataclass(frozen=True)
class KeptImage:
    """An image whose probabilities are kept; the values of `index.json`, see `Keeper.finish`."""

    path: Path
    name: str
    volume: str | None
    slice: int | None

    def read(self, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        """`{"truth": uint8 (height, width), kind: what from_integers takes}`.

        Raises:
            UserError: the file is damaged.
        """
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return {name: file[name] for name in ("truth", *kinds)}
        except FileNotFoundError:
            raise UserError(f"{self.path}: is missing. Evaluate again.") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise UserError(f"{self.path}: is damaged. Evaluate again.") from None

    def probability(self, integers: np.ndarray, channels: int) -> np.ndarray:
        """`from_integers` of what was read.

        Raises:
            UserError: the probabilities of a pixel do not sum to 1.
        """
        try:
            return from_integers(integers, channels)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}. Evaluate again.") from None


@dataclass(frozen=True)
class KeptSplit:
    """The kept probabilities of a split.

    Attributes:
        weights: of the network, or of that of each fold.
        channels, multi_label, ignore_label, background, class_names: of its masks.
        resized: whether they have the size of INPUT, and not that of the files.
        tta: the kinds that are kept, "none" first.
        cases: {volume, or name of the image without volumes: its images, in the order of the slices}.
    """

    weights: tuple[Path, ...]
    channels: int
    multi_label: bool
    ignore_label: int | None
    background: bool
    resized: bool
    class_names: tuple[str, ...]
    tta: tuple[str, ...]
    cases: dict[str, list[KeptImage]]

    @property
    def classes(self) -> list[int]:
        """The classes that count: those of the foreground, or all if class 0 is no background."""
        return list(range(int(self.background), len(self.class_names)))


def read_kept(evaluation: Path, split: str, weights_sha256: str) -> KeptSplit:
    """The kept probabilities of a split; images are read later, one by one.

    Args:
        evaluation: folder of the evaluation.
        split: "train", "val" or "test".
        weights_sha256: that `evaluation.json` has.

    Raises:
        FileNotFoundError: none are kept, or not all of them.
        UserError: they are damaged, or those of other weights.
    """
    folder = kept_folder(evaluation, split)
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(path)
    found: dict[str, Any] = read_json(path)
    try:
        if found["version"] != VERSION:
            raise UserError(f"{path}: is of another version. Evaluate again.")
        if ", ".join(found["weights_sha256"]) != weights_sha256:
            raise UserError(f"{path}: has probabilities of other weights than {evaluation.name}. Evaluate again.")
        cases: dict[str, list[KeptImage]] = {}
        for image in images_of(folder, found["images"]):
            cases.setdefault(image.name if image.volume is None else image.volume, []).append(image)
        for images in cases.values():
            images.sort(key=lambda image: image.slice or 0)
        return KeptSplit(
            tuple(Path(os.path.normpath(evaluation / name)) for name in found["weights"]),
            found["channels"],
            found["multi_label"],
            found["ignore_label"],
            found["background"],
            found["resized"],
            tuple(found["class_names"]),
            tuple(found["tta"]),
            cases,
        )
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is damaged. Evaluate again.") from None


def images_of(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Iterator[KeptImage]:
    """The images of an index."""
    for number, entry in enumerate(entries):
        yield KeptImage(folder / file_name(number), str(entry["name"]), entry["volume"], entry["slice"])

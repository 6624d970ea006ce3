"""Write a planned experiment: the YAML file and the lists of its images and masks."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from data_generators.files.image_file import ImageFile, parts_of
from data_generators.files.pairing import Pair, match_pairs
from data_generators.reading.tiff_pages import TiffPageFile
from data_preparation.planning.stored_form import StoredForm
from utils.base.errors import UserError
from utils.config import load_config
from utils.config.checks import check_config

REASON_COLUMN = 39
WIDTH = 80  # of a line with a reason; one that is too long stands above its key


class Choice(NamedTuple):
    """A key of the config, its value (None: the default), and the reason for it.

    A key such as /loss is a group, and its value the name of a file there.
    """

    key: str
    value: Any
    reason: str = ""


def list_files(splits: Mapping[str, Sequence[Pair]], folder: Path) -> dict[str, tuple[Path, str]]:
    """`{key of the config: (list file, its text)}`, absolute paths."""
    lists = {}
    everything = [file for pairs in splits.values() for pair in pairs for file in pair if file is not None]
    for page in (part for file in everything for part in parts_of(file) if isinstance(part, TiffPageFile)):
        raise UserError(
            f"{page.path}: has several pages, which a list of files cannot name one by one. Write them as files first: "
            "python data_preparation/index_masks.py --help."
        )
    for split, pairs in splits.items():
        images, masks = [pair.image for pair in pairs], [pair.mask for pair in pairs]
        for key, name, files in (("IMAGES_PATH", "images", images), ("MASK_PATH", "mask", masks)):
            parts = [part for file in files if file is not None for part in parts_of(file)]
            text = "".join(f"{Path(str(part)).absolute()}\n" for part in parts)
            lists[f"DATASET.{split.upper()}.{key}"] = (folder / f"{split}_{name}.txt", text)
    return lists


def check_lists(lists: Mapping[str, tuple[Path, str]], splits: Mapping[str, Sequence[Pair]], form: StoredForm) -> None:
    """Raise a UserError unless the lists of images or masks of several files are read as the folders were."""
    if form.channels is None and form.class_masks is None:
        return
    cfg = form.config()
    for key, (_, text) in lists.items():
        OmegaConf.update(cfg, key, text.splitlines())
    for split, pairs in splits.items():
        found, _ = match_pairs(cfg, split)
        if files_of(found) != files_of(pairs):
            raise UserError(
                f"{pairs[0].image}: in a list of files its channels or classes are not told apart as in the folder. "
                "Put a folder for each on top, t1/case.png, or its name at the end, case_t1.png."
            )


def files_of(pairs: Sequence[Pair]) -> list[list[tuple[ImageFile, ...]]]:
    """The files of the image and of the mask of each pair."""
    return [[parts_of(file) for file in pair if file is not None] for pair in pairs]


def group_overrides(choices: Sequence[Choice]) -> list[str]:
    """What to type for the choices that are files of a group, such as loss=cce_dice."""
    return [f"{choice.key[1:]}={choice.value}" for choice in choices if choice.key.startswith("/")]


def check_choices(choices: Sequence[Choice]) -> DictConfig:
    """The config that the choices make; a UserError unless training accepts it."""
    cfg = load_config(group_overrides(choices))
    for choice in choices:
        if not choice.key.startswith("/"):
            OmegaConf.update(cfg, choice.key, choice.value)
    check_config(cfg)
    return cfg


def experiment_yaml(choices: Sequence[Choice], name: str, images: str, masks: str, split: str) -> str:
    """The experiment as YAML, with the reason beside or above each choice, in lines of 80 columns.

    Args:
        choices: the settings.
        name: of the experiment.
        images, masks: the folders it was planned from.
        split: how many images each split has, and why.
    """
    tree: dict = {}
    defaults = []
    for choice in choices:
        if choice.key.startswith("/"):
            defaults += commented(f"  - override {choice.key}: {choice.value}", choice.reason)
            continue
        *parents, last = choice.key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = choice
    lines = ["# @package _global_", *comment("Planned by data_preparation/plan.py from")]
    lines += [*comment(f"{images} and"), *comment(f"{masks}:"), *comment(f"{split}.")]
    lines += [f"# train: python train.py +experiment={name}", "defaults:", *defaults, ""]
    return "\n".join(lines + yaml_lines(tree, "")) + "\n"


def yaml_lines(tree: Mapping[str, dict | Choice], indent: str) -> list[str]:
    """The lines of one level and of all below it."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *yaml_lines(value, indent + "  ")]
        else:
            lines += commented(f"{indent}{key}: {text_of(value.value)}", value.reason)
    return lines


def text_of(value: object) -> str:
    """A value as YAML and as Hydra reads it; JSON quotes what needs quotes, but also the numbers of a dict.

    >>> text_of({1: ["liver"], 2: ["liver", "tumour"]})
    '{1: ["liver"], 2: ["liver", "tumour"]}'
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {text_of(item)}' for key, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def commented(line: str, reason: str) -> list[str]:
    """A line with its reason beside it, or above it where it does not fit.

    >>> commented("  CLASSES: 2", "the masks contain 0, 255")
    ['  CLASSES: 2                            # the masks contain 0, 255']
    """
    if not reason:
        return [line]
    beside = f"{line.ljust(REASON_COLUMN)} # {reason}"
    if len(beside) <= WIDTH:
        return [beside]
    return [*comment(reason, line[: len(line) - len(line.lstrip())]), line]


def comment(text: str, indent: str = "") -> list[str]:
    """A text as comments; only a word that is longer than a line, such as a path, is longer."""
    mark = f"{indent}# "
    return textwrap.wrap(
        text, WIDTH, initial_indent=mark, subsequent_indent=mark, break_long_words=False, break_on_hyphens=False
    )

"""Write a planned experiment: the YAML file and the lists of its images and masks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from data_generators.files.pairing import Pair
from data_generators.reading.tiff_pages import TiffPageFile
from data_preparation.planning.choices import Choice
from utils.base.errors import UserError
from utils.config import load_config
from utils.config.checks import check_config

REASON_COLUMN = 39
LONGEST_REASON = 78  # longer ones get a line of their own


def list_files(splits: Mapping[str, Sequence[Pair]], folder: Path) -> dict[str, tuple[Path, str]]:
    """`{key of the config: (list file, its text)}`, absolute paths."""
    lists = {}
    for page in (
        file for pairs in splits.values() for pair in pairs for file in pair if isinstance(file, TiffPageFile)
    ):
        raise UserError(
            f"{page.path}: has several pages, which a list of files cannot name one by one. Write them as files first: "
            "python data_preparation/index_masks.py --help."
        )
    for split, pairs in splits.items():
        images, masks = [pair.image for pair in pairs], [pair.mask for pair in pairs]
        for key, name, files in (("IMAGES_PATH", "images", images), ("MASK_PATH", "mask", masks)):
            text = "".join(f"{Path(str(file)).resolve()}\n" for file in files)
            lists[f"DATASET.{split.upper()}.{key}"] = (folder / f"{split}_{name}.txt", text)
    return lists


def check_choices(choices: Sequence[Choice]) -> None:
    """Raise a UserError unless the choices make a config that training accepts."""
    cfg = load_config(["loss=cce_dice"])
    for choice in choices:
        OmegaConf.update(cfg, choice.key, choice.value)
    check_config(cfg)


def experiment_yaml(choices: Sequence[Choice], name: str, images: str, masks: str, split: str) -> str:
    """The experiment as YAML, with the reason beside each choice.

    Args:
        choices: the settings.
        name: of the experiment.
        images, masks: the folders it was planned from.
        split: how many images each split has, and why.
    """
    lines = [
        "# @package _global_",
        "# Planned by data_preparation/plan.py from",
        f"# {images} and",
        f"# {masks}:",
        f"# {split}.",
        f"# train: python train.py +experiment={name}",
        "# augmentation: none here; flips are safe for images without a fixed up and left",
        "defaults:",
        "  - override /loss: cce_dice            # cross-entropy and Dice: sound for balanced and for rare classes",
        "",
    ]
    tree: dict = {}
    for choice in choices:
        *parents, last = choice.key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = choice
    return "\n".join(lines + yaml_lines(tree, "")) + "\n"


def yaml_lines(tree: Mapping[str, dict | Choice], indent: str) -> list[str]:
    """The lines of one level and of all below it."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *yaml_lines(value, indent + "  ")]
            continue
        # JSON is YAML: it quotes what needs quotes.
        line, reason = f"{indent}{key}: {json.dumps(value.value)}", value.reason
        if len(reason) > LONGEST_REASON:
            lines.append(f"{indent}# {reason}")
            reason = ""
        lines.append(f"{line.ljust(REASON_COLUMN)} # {reason}" if reason else line)
    return lines

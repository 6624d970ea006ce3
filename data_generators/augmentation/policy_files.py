"""Policy files of albumentations, AUGMENTATION.ALBUMENTATIONS, which replace the knobs."""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.files import resolve_path, where_looked
from utils.base.plain_yaml import read_plain_yaml
from utils.base.text_files import read_json, read_text

if TYPE_CHECKING:
    import albumentations

POLICIES = Path(__file__).parent / "policies"


def library() -> ModuleType:
    """albumentations, imported without asking the network for a newer version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def policy_path(cfg: DictConfig) -> Path:
    """The file that AUGMENTATION.ALBUMENTATIONS names: a shipped policy, or a path."""
    name = cfg.AUGMENTATION.ALBUMENTATIONS
    shipped = POLICIES / f"{name}.yaml"
    path = shipped if shipped.is_file() else resolve_path(cfg, name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in POLICIES.glob("*.yaml")))
        raise UserError(
            f"AUGMENTATION.ALBUMENTATIONS={name}: there is no such file ({where_looked(cfg, name)}). "
            f"Shipped policies: {names}."
        )
    return path


def read_policy(path: Path) -> "albumentations.Compose":
    """Read a policy that albumentations wrote with `save`, JSON or YAML.

    Raises:
        UserError: the file cannot be read, or names anything but transforms of albumentations.
    """
    try:
        described = read_json(path) if path.suffix == ".json" else read_yaml(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*not valid for transform")  # a mistyped argument is left out
            policy = make_transform(described["transform"])
    except UserError as error:
        raise UserError(f"AUGMENTATION.ALBUMENTATIONS: {error}") from None
    except Exception as error:  # of YAML and of the library, whose checks raise errors of many types
        raise UserError(
            f"AUGMENTATION.ALBUMENTATIONS={path}: is not a policy of albumentations 2: {first_line(error)}"
        ) from None
    A = library()
    return policy if isinstance(policy, A.Compose) else A.Compose([policy])


def read_yaml(path: Path) -> Any:
    """The content of a YAML file in plain Python, see `read_plain_yaml`."""
    return OmegaConf.to_container(read_plain_yaml(read_text(path)))


def make_transform(described: Mapping[str, Any]) -> "albumentations.BasicTransform | albumentations.BaseCompose":
    """Build a transform from its description `{"__class_fullname__": ..., argument: value, "transforms": [...]}`."""
    A = library()
    arguments = dict(described)
    name = arguments.pop("__class_fullname__")
    kind = getattr(A, name.removeprefix("albumentations."), None)
    # A file must not be able to name anything but classes of albumentations.
    if not (isinstance(kind, type) and issubclass(kind, (A.BasicTransform, A.BaseCompose))):
        raise ValueError(f"{name} is not a transform of albumentations {A.__version__}.")
    check_probability(name, arguments.get("p", 1))
    if "transforms" in arguments:
        if not arguments["transforms"]:
            raise ValueError(f"{name} has no transforms.")
        arguments["transforms"] = [make_transform(entry) for entry in arguments["transforms"]]
        if kind is A.OneOf and not sum(transform.p for transform in arguments["transforms"]):
            raise ValueError(f"all p in a {name} are 0, it could choose none.")
    if issubclass(kind, A.BasicTransform) and "p" not in arguments:
        raise ValueError(f"{name} has no probability p.")
    return kind(**arguments)


def check_probability(name: str, value: object) -> None:
    """Raise a ValueError for a p that is no number from 0 to 1; the library checks that of some transforms only."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"p of {name} is {value!r}, not a number from 0 to 1.")


def check_policy(policy: "albumentations.Compose", shape: tuple[int, int, int], path: Path) -> None:
    """Try every transform of a policy on an image of a shape.

    Raises:
        UserError: a transform cannot handle such images, or the policy changes their size.
    """
    ramp = np.linspace(0, 255, shape[1], dtype=np.uint8)
    image, mask = np.tile(ramp[None, :, None], (shape[0], 1, shape[2])), np.zeros(shape[:2], np.uint8)
    for transform in leaves(policy):
        try:
            changed = transform(force_apply=True, image=image, mask=mask)["image"]
        except Exception as error:  # the library raises errors of many types
            raise UserError(
                f"AUGMENTATION.ALBUMENTATIONS={path}: {type(transform).__name__} cannot be combined with images of "
                f"{'x'.join(map(str, shape))} (height x width x channels): {first_line(error)}"
            ) from None
        if changed.dtype != np.uint8 and not (changed.min() >= 0 and changed.max() <= 1):
            raise UserError(
                f"AUGMENTATION.ALBUMENTATIONS={path}: {type(transform).__name__} makes values from "
                f"{changed.min():.3g} to {changed.max():.3g}; training takes 0 to 255, or 0 to 1, and scales them. "
                "Leave it out."
            )
    try:
        result = policy(image=image, mask=mask)
    except Exception as error:
        raise UserError(f"AUGMENTATION.ALBUMENTATIONS={path}: cannot be applied: {first_line(error)}") from None
    if result["image"].shape[:2] != shape[:2] or result["mask"].shape != shape[:2]:
        raise UserError(
            f"AUGMENTATION.ALBUMENTATIONS={path}: makes {'x'.join(map(str, result['image'].shape[:2]))} of "
            f"{shape[0]}x{shape[1]}; a policy must keep the size. End it with Resize, or a crop."
        )


def leaves(policy: "albumentations.BaseCompose") -> Iterator["albumentations.BasicTransform"]:
    """The transforms of a policy, without those that only hold others."""
    for transform in policy.transforms:
        yield from leaves(transform) if isinstance(transform, library().BaseCompose) else [transform]


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The first line of a pydantic error only counts the problems; the third names one.
    return " ".join(lines[:3]) if lines else type(error).__name__

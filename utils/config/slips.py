"""What is typed in the way of other tools, `--epochs 3`, and how it is typed here."""

import re
from collections.abc import Sequence

from utils.base.errors import UserError
from utils.config.schema import SCHEMA
from utils.config.values import GROUPS, last_part, similar_keys

# Options of Hydra, and those of them whose value is the next word.
HYDRA_FLAGS = ("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun", "--shell-completion")
HYDRA_FLAGS_WITH_VALUE = (
    "--cfg",
    "--package",
    "--config-path",
    "--config-name",
    "--config-dir",
    "--experimental-rerun",
    "--info",
)
# What Hydra takes for a number, a truth value or null, and so for the name of no file.
NO_NAME = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?|true|false|null", re.IGNORECASE)
SHORT_FLAGS = ("-h", "-r", "-m", "-sc")
SHORT_FLAGS_WITH_VALUE = ("-c", "-p", "-cp", "-cn", "-cd", "-i")


def refuse_slips(words: Sequence[str]) -> None:
    """Check the words of a command line before Hydra does.

    Raises:
        UserError: options that Hydra does not have, a key with a space in place of the equals sign, or a choice of a
            group that is no name.

    >>> refuse_slips(["--epochs", "3", "--seed=1", "VERBOSE=0"])
    Traceback (most recent call last):
    ...
    utils.base.errors.UserError: --epochs 3 --seed=1: type HYPER_PARAMETERS.EPOCHS=3 SEED=1
    """
    for word in words:
        group, _, name = word.partition("=")
        if group.lstrip("+").partition("@")[0] in ("", *GROUPS) and NO_NAME.fullmatch(name):
            raise UserError(f"{word}: type KEY=VALUE, or the name of a file in a folder of configs: loss=dice.")
    typed, meant, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if word in HYDRA_FLAGS_WITH_VALUE + SHORT_FLAGS_WITH_VALUE:
            del rest[:1]
        if not is_slip(word, rest):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and is_value(rest):
            word, value = f"{word} {rest[0]}", rest.pop(0)
        typed.append(word)
        meant.append(" or ".join(f"{key}={value or '...'}" for key in keys_meant(name)) or f"KEY={value or '...'}")
    if typed:
        more = " (all keys: --help)" if any(text.startswith("KEY=") for text in meant) else ""
        raise UserError(f"{' '.join(typed)}: type {' '.join(meant)}{more}")


def is_slip(word: str, rest: Sequence[str]) -> bool:
    """Whether a word is an option that Hydra does not have, or a key whose value is the next word."""
    if re.match(r"--?[A-Za-z]", word):
        return not is_hydra_flag(word.partition("=")[0])
    return "=" not in word and is_value(rest) and last_part(word) in map(last_part, leaves())


def is_hydra_flag(flag: str) -> bool:
    """Whether Hydra takes this option; like Hydra, also by the beginning of its name, and `-cjob` for `-c job`."""
    if flag.startswith("--"):
        return any(known.startswith(flag) for known in HYDRA_FLAGS + HYDRA_FLAGS_WITH_VALUE)
    return flag in SHORT_FLAGS or flag.startswith(SHORT_FLAGS_WITH_VALUE)


def is_value(rest: Sequence[str]) -> bool:
    """Whether the next word can be the value of the one before."""
    return bool(rest) and "=" not in rest[0] and not re.match(r"--?[A-Za-z]", rest[0])


def keys_meant(name: str) -> list[str]:
    """The keys, or groups of choices, that a name stands for; none if nothing is like it.

    >>> keys_meant("batch-size"), keys_meant("loss")
    (['HYPER_PARAMETERS.BATCH_SIZE'], ['loss'])
    """
    name = name.replace("-", "_")
    return [name] if name in leaves() else [key for key in similar_keys(name) if key in (*leaves(), *GROUPS)]


def leaves() -> list[str]:
    """The names of all keys with a value."""
    return [name for name, _ in SCHEMA.leaves()]

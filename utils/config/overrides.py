"""What was typed on the command line: the keys that overrides set, and how to type it again."""

import re
import shlex
from collections.abc import Iterable

from utils.config.defaults import CONFIGS

EXPERIMENT = "EXPERIMENT"  # what `override_key` says of +experiment=NAME, which is no key
PLAIN = re.compile(r"(?!(true|false|null|none|nan|inf)$)[a-z_./][\w./-]*", re.IGNORECASE | re.ASCII)


def override_key(override: str) -> str:
    """The key that an override sets; a choice of a group, such as loss=dice, sets the group.

    >>> override_key("+LOSS.dice=1"), override_key("loss=dice"), override_key("~SEED")
    ('LOSS.dice', 'LOSS', 'SEED')
    """
    key = split_override(override)[0]
    return key.upper() if (CONFIGS / key).is_dir() else key


def split_override(override: str) -> tuple[str, str]:
    """What stands before the first equals sign, without + and ~, and what stands after it.

    >>> split_override("+bench_steps=3")
    ('bench_steps', '3')
    """
    key, _, value = override.partition("=")
    return key.lstrip("+~"), value


def quoted(override: str) -> str:
    """What to type in a shell so that Hydra takes the value as text, whatever characters it has.

    >>> print(quoted("PREDICT.INPUT=my data/a=b"))
    'PREDICT.INPUT="my data/a=b"'
    """
    key, _, value = override.partition("=")
    return shlex.quote(f"{key}={hydra_text(value)}")


def hydra_text(value: str) -> str:
    """What Hydra reads as this text, whatever characters it has: in quotes.

    >>> print(hydra_text('the "old" data'))
    "the \\"old\\" data"
    """
    # In quotes, Hydra reads backslashes as escapes only before a quote, OmegaConf before ${ and at the end.
    value = re.sub(r'(\\*)("|\$\{|$)', lambda found: found[1] * 2 + ("\\" + found[2] if found[2] else ""), value)
    return f'"{value}"'


def text_override(key: str, value: str) -> str:
    """The override that sets a key to a text, in the quotes of Hydra's grammar where it needs them.

    >>> text_override("MODEL.WEIGHTS_FILE_NAME", "liver"), text_override("CALLBACKS.CSV_LOGGER.PATH", "/logs/SEED=1")
    ('MODEL.WEIGHTS_FILE_NAME=liver', 'CALLBACKS.CSV_LOGGER.PATH="/logs/SEED=1"')
    """
    return f"{key}={value if PLAIN.fullmatch(value) else hydra_text(value)}"


def command_line(script: str, overrides: Iterable[str]) -> str:
    """What to type in a shell to run a command with these overrides again.

    >>> print(command_line("train.py", ["+experiment=cells", "MODEL.FILTERS=[4,8]"]))
    python train.py +experiment=cells 'MODEL.FILTERS=[4,8]'
    """
    return shlex.join(["python", script, *overrides])


def assignment(key: str, value: object) -> str:
    """What to type to set a key.

    >>> assignment("DATA_PREPARATION.SCAN_MIN_VALUE", None), assignment("OUTPUT.CLASS_NAMES", ["a", "b"])
    ('DATA_PREPARATION.SCAN_MIN_VALUE=null', 'OUTPUT.CLASS_NAMES=[a,b]')
    """
    if value is None:
        return f"{key}=null"
    text = f"[{','.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)
    return f"{key}={text}"

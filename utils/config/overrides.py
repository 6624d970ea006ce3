"""What was typed on the command line: the keys that overrides set."""

from utils.config.defaults import CONFIGS


def override_key(override: str) -> str:
    """The key that an override sets; a choice of a group, such as loss=dice, sets the group.

    >>> override_key("+LOSS.dice=1"), override_key("loss=dice"), override_key("~SEED")
    ('LOSS.dice', 'LOSS', 'SEED')
    """
    key = override.split("=", 1)[0].lstrip("+~")
    return key.upper() if (CONFIGS / key).is_dir() else key


def assignment(key: str, value: object) -> str:
    """What to type to set a key.

    >>> assignment("DATA_PREPARATION.SCAN_MIN_VALUE", None), assignment("OUTPUT.CLASS_NAMES", ["a", "b"])
    ('DATA_PREPARATION.SCAN_MIN_VALUE=null', 'OUTPUT.CLASS_NAMES=[a,b]')
    """
    if value is None:
        return f"{key}=null"
    text = f"[{','.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)
    return f"{key}={text}"

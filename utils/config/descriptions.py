"""What each key does: the comments of the YAML files, which are the only place where that is written."""

import re
from pathlib import Path

from utils.config.defaults import CONFIGS

KEY_LINE = re.compile(r'( *)(\w+):\s*(?:"[^"]*"|[^#"]*?)\s*(?:# (.*))?')
CONTINUATION = re.compile(r" {8,}# (.*)")  # a comment that goes on below the one of a key


def read_descriptions() -> dict[str, str]:
    """Description of each key and group by dotted name.

    >>> read_descriptions()["HYPER_PARAMETERS.BATCH_SIZE"]
    'per replica (GPU)'
    """
    return {
        **read_comments(CONFIGS / "config.yaml"),
        **{f"AUGMENTATION.{name}": text for name, text in read_comments(CONFIGS / "augmentation/none.yaml").items()},
    }


def read_comments(path: Path) -> dict[str, str]:
    """The comment of each key of a YAML file by dotted name, its lines joined."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []  # indentation and name of the keys above
    key = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        continuation, key_line = CONTINUATION.fullmatch(line), KEY_LINE.fullmatch(line)
        if continuation and key in found:
            found[key] += f" {continuation[1]}"
        elif key_line:
            indent, name, comment = len(key_line[1]), key_line[2], key_line[3]
            parents = [parent for parent in parents if parent[0] < indent] + [(indent, name)]
            key = ".".join(name for _, name in parents)
            if comment:
                found[key] = comment
        else:
            key = ""
    return found

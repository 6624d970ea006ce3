"""The version of the application, the only place of it in the code; run summaries and model cards carry it.

Between two releases it is the coming one with `.dev0`. To release: drop that, name it in CHANGELOG.md and CITATION.cff.
"""

import subprocess
from pathlib import Path

VERSION = "0.2.0.dev0"
PROJECT = Path(__file__).resolve().parents[2]


def find_commit(folder: Path = PROJECT) -> str | None:
    """The git commit that a folder is checked out at, with `-dirty` if tracked files differ; None if git knows none.

    >>> find_commit(Path("/")) is None
    True
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a slow disk
        return None
    return found.stdout.strip() or None

"""What a person sees while native libraries are kept quiet."""

import subprocess
import sys

from helpers import PROJECT

PROGRAM = """
import os
from utils.base.progress import Task
from utils.base.startup import quiet_stderr
with quiet_stderr(), Task("loading TensorFlow"):
    os.write(2, b"noise of a library")
print("after", file=__import__("sys").stderr)
"""


def test_progress_is_seen_while_native_libraries_are_quiet():
    result = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True)
    assert result.stderr == "loading TensorFlow\nafter\n"

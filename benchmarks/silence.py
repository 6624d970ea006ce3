"""python benchmarks/silence.py: the longest time that each command says nothing, in a terminal or in a log.

Runs the commands of a phantom, or with --command the one that you type, in a terminal of 80 columns, and shows for each
the longest silence, with what was seen before and after it. A clock that is drawn anew counts as said.
"""

import argparse
import fcntl
import itertools
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.base.closed_output import survive_closed_output
from utils.base.terminal import make_table, show
from utils.config.defaults import CONFIGS

PROJECT = Path(__file__).resolve().parent.parent
ROWS, COLUMNS = 24, 80
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
EXPERIMENT = "silence"  # that plan.py writes; it is removed
SETTINGS = [
    "MODEL.TYPE=tiny_unet3plus",
    "MODEL.FILTERS=[8,16,32,64,128]",
    "INPUT.HEIGHT=96",
    "INPUT.WIDTH=96",
    "HYPER_PARAMETERS.EPOCHS=2",
    "HYPER_PARAMETERS.BATCH_SIZE=4",
]


def commands(folder):
    """What the application offers, in an order in which each finds what it needs."""
    data, settings = f"{folder}/data", [f"WORK_DIR={folder}", *SETTINGS]
    train = f"{data}/train"
    return [
        ["data_preparation/make_phantom.py", data],
        ["data_preparation/preprocess_data.py", *settings],
        ["data_preparation/verify_data.py", *settings],
        ["data_preparation/plan.py", f"{train}/images", f"{train}/mask", EXPERIMENT, "--force"],
        ["train.py", *settings],
        ["evaluate.py", *settings],
        ["predict.py", *settings],
        ["export.py", *settings, "EXPORT.FORMAT=onnx"],
        ["app.py", "--help"],
        ["train.py", "--help"],
        ["-m", "models"],
    ]


def listen(command, terminal, folder):
    """Run a command in a folder; return its exit code, and (second, last words) of each time something was seen."""
    begin = time.monotonic()
    if terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    else:
        ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = [(0.0, "(start)")]
    with open(ours, "rb", buffering=0) as stream:
        while said := read(stream):
            lines = re.split(r"[\r\n]+", ESCAPE.sub("", said.decode("utf-8", "replace")))
            words = [" ".join(line.split()) for line in lines if line.strip()]
            seen.append((time.monotonic() - begin, words[-1] if words else seen[-1][1]))
    code = process.wait()
    return code, [*seen, (time.monotonic() - begin, "(end)")]


def read(stream):
    """What is there, at least a byte; empty at the end, which a terminal of Linux tells as an error."""
    try:
        return stream.read(65536)
    except OSError:
        return b""


def longest(seen):
    """(seconds, words before, words after) of the longest silence."""
    return max((after - before, one, other) for (before, one), (after, other) in itertools.pairwise(seen))


def row(command, terminal, folder):
    """A row of the table."""
    script, *arguments = command
    code, seen = listen([script if script == "-m" else str(PROJECT / script), *arguments], terminal, folder)
    if code:
        sys.exit(f"{shlex.join(command)} ended with exit code {code} after: {seen[-2][1]}")
    seconds, before, after = longest(seen)
    name = " ".join(command[:2]) if "--help" in arguments or script == "-m" else Path(script).name
    return [name, f"{seen[-1][0]:.1f}", f"{seconds:.1f}", before[:34], after[:34]]


@survive_closed_output()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", action="store_true", help="without a terminal")
    parser.add_argument("--command", help="this one alone, such as 'train.py SEED=1'")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [shlex.split(options.command)] if options.command else commands(Path(folder))
        rows = [row(command, not options.log, folder) for command in chosen]
    (CONFIGS / "experiment" / f"{EXPERIMENT}.yaml").unlink(missing_ok=True)
    show(make_table(["command", "s", "silent s", "after", "before"], rows))


if __name__ == "__main__":
    main()

"""What commands show in a real terminal of 80 and of 120 columns, and that colour can be had or not. No TensorFlow."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from helpers import PROJECT

TERMINAL = shutil.which("tmux")
ESCAPE = "\x1b["
# The end of `evaluate.py` with stored figures: two classes, three volumes.
EVALUATION = """
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from data_generators.files.pairing import Pair
from utils.config import load_config
from utils.evaluation.console import print_results
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import Gallery
from utils.evaluation.split_data import SplitData
from utils.inference.mask_meaning import MaskMeaning

names = ["background", "liver", "a tumour with a long name"]
cfg = load_config(["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[background,liver,a tumour with a long name]"])
pairs = [Pair(Path(f"{number}.png"), None) for number in range(3)]
counts = np.array([[[50, 1, 0], [2, 30 + number, 1], [0, 3, 13]] for number in range(3)])
evaluator = Evaluator(cfg, SplitData("val", 3, 0, pairs), lambda *_: counts, Gallery(0, MaskMeaning(names)))
empty = np.zeros((3, 10, 10, 1), np.uint8)
evaluator.add(np.zeros((3, 10, 10, 3), np.float32), empty, np.zeros((3, 10, 10, 3), np.float32))
result = SimpleNamespace(
    split="val", images=3, speed=12.3, evaluator=evaluator, summary=evaluator.result(),
    scores={"loss": 0.1234, "dice_coef": 0.9}, rules={"loss": "", "dice_coef": ""}, raters=None, review=None,
)
print_results(cfg, [result], Path("checkpoint/unet.evaluation"))
import sys
assert "tensorflow" not in sys.modules
"""
COMMANDS = {
    "models": ["-m", "models"],
    "help": ["train.py", "--help"],
    "error": ["train.py", "EPOCHS=3"],
    "evaluation": ["-c", EVALUATION],
}
# What is there to be read, in order.
WORDS = {
    "models": ["MODEL.TYPE", "parameters", "31,050,498", "unet3plus_deepsup_cgm"],
    "help": ["--multirun", "HYPER_PARAMETERS:", "EPOCHS:"],
    "error": ["Error: The key EPOCHS does not exist.", "HYPER_PARAMETERS.EPOCHS"],
    "evaluation": [
        "val: 3 images",
        "class",
        "95% interval",
        "precision",
        "liver",
        "a tumour with",
        "mean of",
        "whole set",
    ],
}

LONG = ("Error: ", "Warning: ", "Next: ", "open ", "experiment: ", "loss: ")


def environment(**more):
    """Without what the tests themselves run under."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "COLUMNS", "LINES")}
    return {**kept, "PYTHONPATH": str(PROJECT), **more}


@pytest.fixture(scope="module")
def screens(tmp_path_factory):
    """{(command, columns): lines of the terminal}; a line that it had to break is one."""
    if TERMINAL is None:
        pytest.skip("tmux is not installed: a terminal to look at (apt-get install tmux)")
    folder = tmp_path_factory.mktemp("tmux", numbered=True)
    tmux = [TERMINAL, "-S", str(folder / "socket"), "-f", "/dev/null"]

    def run(*words):
        return subprocess.run([*tmux, *words], env=environment(), capture_output=True, text=True, check=True).stdout

    found = {}
    try:
        for columns in (80, 120):
            for name, words in COMMANDS.items():
                typed = shlex.join([sys.executable, *words])
                place = ["-d", "-s", f"{name}{columns}", "-x", str(columns), "-y", "400", "-c", str(PROJECT)]
                run("new-session", *place, f"{typed}; {shlex.join([*tmux, 'wait-for', '-S', f'{name}{columns}'])}; cat")
        for columns in (80, 120):
            for name in COMMANDS:
                subprocess.run([*tmux, "wait-for", f"{name}{columns}"], env=environment(), timeout=60, check=True)
                found[name, columns] = run("capture-pane", "-p", "-J", "-t", f"{name}{columns}").rstrip().splitlines()
    finally:
        subprocess.run([*tmux, "kill-server"], env=environment(), capture_output=True, check=False)
    return found


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_everything_can_be_read(name, columns, screens):
    lines = screens[name, columns]
    text = "\n".join(lines)
    for word in WORDS[name]:
        assert word in text, f"{word!r} is not in\n{text}"
    assert "Traceback" not in text and "…" not in text
    # An error, a warning and a command to copy are one line, however long; so are the choices of a group in Hydra.
    wide = [line for line in lines if len(line.rstrip()) > columns and not line.startswith(LONG)]
    assert wide == []


def test_nothing_of_the_progress_is_left(screens):
    assert not any("reading the settings" in line for lines in screens.values() for line in lines)


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}])
def test_colour_in_a_terminal_unless_it_is_refused(setting):
    """And none in a pipe, whatever the terminal."""
    import pty

    ours, theirs = pty.openpty()
    shown = environment(TERM="xterm-256color", COLUMNS="80", **setting)
    command = [sys.executable, "-m", "models"]
    with subprocess.Popen(command, cwd=PROJECT, env=shown, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while part := read(ours):
            seen += part
    os.close(ours)
    assert process.returncode == 0 and b"parameters" in seen
    assert (ESCAPE.encode() in seen) == (not setting)
    piped = subprocess.run(command, cwd=PROJECT, env=shown, capture_output=True, text=True, check=True)
    assert ESCAPE not in piped.stdout + piped.stderr


def read(descriptor):
    """What a terminal has to say; empty at its end, which Linux tells as an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""

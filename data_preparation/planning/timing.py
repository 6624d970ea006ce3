"""How long the planned training takes on this machine: a few steps of it, in a process of their own.

TensorFlow starts there only, and a step that does not fit into memory ends that process alone.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_generators.files.image_file import volume_and_slice
from data_generators.files.pairing import Pair
from data_preparation.planning.choices import EPOCHS, PATIENCE, patience
from data_preparation.planning.experiment_file import Choice, group_overrides, list_files, text_of
from data_preparation.planning.intensities import FOREGROUND, SCOPE, TYPE
from data_preparation.planning.networks import WEIGHTS
from utils.base.errors import UserError
from utils.base.progress import Task
from utils.base.text_files import AS_ON_DISK
from utils.base.wording import counted

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
WARMUP, STEPS = 2, 5
VALIDATION = 0.5  # time of a validation image, as a share of that of a training image
MOST_EPOCHS = 1000
ADVICE = "Choose a smaller --size, --memory or --model, or leave the timing out with --no-timing."
SENSIBLE = 20  # epochs below which a network has hardly begun to learn
# Left out: the name of the run and its length; weights, which may have to be downloaded; and intensities, because a few
# images may have no foreground to measure.
UNTIMED = (EPOCHS, "MODEL.WEIGHTS_FILE_NAME", "MODEL.INIT", WEIGHTS, TYPE, FOREGROUND, SCOPE)
UNTIMED_GROUPS = ("/", "EVALUATION.", "PREDICT.")


def seconds_of_epoch(choices: Sequence[Choice], splits: Mapping[str, Sequence[Pair]], quiet: bool) -> float:
    """Take a few steps of the planned training; about how long an epoch with its validation takes.

    Raises:
        UserError: training with these settings fails.
    """
    settings = {choice.key: choice.value for choice in choices}
    batch = settings["HYPER_PARAMETERS.BATCH_SIZE"]
    name = f"timing {settings['MODEL.TYPE']}, {settings['INPUT.HEIGHT']}x{settings['INPUT.WIDTH']}, batch {batch}"
    with tempfile.TemporaryDirectory() as folder:
        # Slices in the order of their volume, so that each has its neighbours.
        first = {
            split: sorted(pairs, key=lambda pair: volume_and_slice(pair.image) or ("", 0))
            for split, pairs in splits.items()
        }
        some = {"train": first["train"][: batch * (WARMUP + STEPS)], "val": first["val"][:batch]}
        lists = list_files(some, Path(folder))
        for file, text in lists.values():
            file.write_text(text, encoding="utf-8", errors=AS_ON_DISK)
        typed = [override(key, value) for key, value in settings.items() if is_timed(key)]
        typed += [override(key, str(file)) for key, (file, _) in lists.items()]
        typed += [
            f"WORK_DIR={folder}",
            "VERBOSE=0",
            f"{EPOCHS}=100",
            f"+warmup_steps={WARMUP}",
            f"+bench_steps={STEPS}",
        ]
        with Task(f"{name} (starting takes about 20 s)", quiet=quiet):
            images_per_second = time_steps([*group_overrides(choices), *typed])
    return len(splits["train"]) / images_per_second + VALIDATION * len(splits["val"]) / images_per_second


def is_timed(key: str) -> bool:
    """Whether a setting belongs to the training that is timed."""
    return key not in UNTIMED and not key.startswith(UNTIMED_GROUPS)


def override(key: str, value: object) -> str:
    """A setting as Hydra reads it."""
    return f"{key}={text_of(value)}"


def time_steps(overrides: Sequence[str]) -> float:
    """Run the training of these settings; images per second."""
    result = subprocess.run(
        [sys.executable, str(TRAIN), *overrides], capture_output=True, text=True, errors="replace", check=False
    )
    found = re.search(r"steps: ([\d.]+) images/s", result.stdout)
    if result.returncode == 0 and found:
        return max(float(found[1]), 0.005)  # the smallest that is not printed as 0.00
    if result.returncode < 0:
        raise UserError(f"The planned training was ended by the system, probably for lack of memory. {ADVICE}")
    last = (result.stderr.strip().splitlines() or ["it ended without a word"])[-1].removeprefix("Error: ")
    raise UserError(f"The planned training cannot take a step: {last} {ADVICE}")


def with_duration(choices: Sequence[Choice], epoch: float, hours: float | None) -> tuple[list[Choice], list[str]]:
    """Add to the choices how long the training takes, or choose the epochs that fit into a budget.

    Args:
        choices: with the usual number of epochs.
        epoch: seconds of one.
        hours: the budget, or None.

    Returns:
        The choices, and lines about them.
    """
    usual = next(choice for choice in choices if choice.key == EPOCHS)
    epochs, reason = usual.value, f"{usual.reason}; {duration(epoch)} each here"
    if hours is not None:
        epochs = min(max(int(hours * 3600 / epoch), 1), MOST_EPOCHS)
        reason = f"--hours {hours:g}, {duration(epoch)} each here; without it {usual.value}"
    changed = {EPOCHS: (epochs, f"{reason}, {duration(epochs * epoch)} in all"), PATIENCE: (patience(epochs), None)}
    lines = [f"An epoch takes about {duration(epoch)} on this machine, all {epochs} about {duration(epochs * epoch)}."]
    if hours is not None and epochs < min(usual.value, SENSIBLE):
        lines.append(
            f"Warning: {counted(epochs, 'epoch')} {'is' if epochs == 1 else 'are'} too few to learn much; about "
            f"{usual.value} are usual. Give it more --hours or a GPU, or choose a smaller --size or --model."
        )
    elif hours is not None and epochs < usual.value:
        lines.append(f"About {usual.value} epochs are usual for so many images; more --hours may give a better model.")
    result = []
    for choice in choices:
        value, why = changed.get(choice.key, (choice.value, None))
        result.append(Choice(choice.key, value, why or choice.reason))
    return result, lines


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(0.34), duration(75), duration(3700)
    ('0.3 s', '1 min 15 s', '1 h 2 min')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"

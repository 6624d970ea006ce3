"""How long the commands take to begin: training up to the end of its first step, and a small job of each other command.

    python benchmarks/commands.py                        # all of them, in two minutes
    python benchmarks/commands.py --only predict.py      # those in whose names it is found
    python benchmarks/commands.py --only "train.py unet " --phases

The commands are those that users type, each in a process of its own, with new weights and a few pictures in a folder
for the time of the measurement. Seconds of the clock depend on the load of the machine, those of the processor less.
`--phases` divides a training: each row lasts until the next one.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timed_commands import ending_with_first_step, make_pairs, paths, run

from utils.base.closed_output import survive_closed_output
from utils.base.terminal import make_table, show

PAIRS = 8
UNET = ("MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2", "INPUT.HEIGHT=256", "INPUT.WIDTH=256")
UNET3PLUS = ("MODEL.TYPE=unet3plus", "INPUT.HEIGHT=320", "INPUT.WIDTH=320")
TRAINING = ("RESUME=never", "loss=cce_dice", "HYPER_PARAMETERS.BATCH_SIZE=4")
# Name -> (command, its settings). A training is timed to its first step, the page until it answers; `again` finds what
# the same command compiled before
COMMANDS = {
    "train.py unet on mobilenetv2, 256": ("train", [*UNET, *TRAINING]),
    "train.py unet3plus, 320": ("train", [*UNET3PLUS, *TRAINING[:-1], "HYPER_PARAMETERS.BATCH_SIZE=2"]),
    "train.py unet3plus, 320, again": ("train", [*UNET3PLUS, *TRAINING[:-1], "HYPER_PARAMETERS.BATCH_SIZE=2"]),
    "predict.py, one image": ("predict", [*UNET, "PREDICT.INPUT=256/images/img0000000.png"]),
    "evaluate.py, 8 images": ("evaluate", [*UNET]),
    "export.py, onnx": ("export", [*UNET]),
    "export.py, keras": ("export", [*UNET, "EXPORT.FORMAT=keras"]),
    "app.py, until it answers": ("app", ["APP.PORT=7869"]),
}
# Function of a module's namespace that begins a phase of train.py -> name of the phase before it
PHASES = {
    "find_training_files": "Python, settings",
    "make_strategy": "files and their check",
    "build_dataset": "TensorFlow, Keras, other imports",
    "build_model": "loaders",
    "explain_failures": "network, trainer, callbacks",
}
LAST_PHASE = "first step"
MARK = "SECONDS"


def main_of(name: str, began: float) -> None:
    """Run a command in this process, print a line `MARK name clock processor` for each phase, and end with the last."""

    def mark(phase: str) -> None:
        print(MARK, phase, f"{time.monotonic() - began:.2f} {time.process_time():.2f}", sep="\t", flush=True)

    module = __import__(name)
    if name == "train":
        for function, phase in PHASES.items():
            setattr(module, function, marked(getattr(module, function), phase, mark))
        module.explain_failures = ending_with_first_step(module.explain_failures, lambda: mark(LAST_PHASE))
    elif name == "app":
        module.threading.Event = lambda: ending(mark)  # which the command waits for, once its page answers
    from utils.config.command import command

    command(getattr(module, name))()
    mark("end")


def marked(function: Callable, phase: str, mark: Callable[[str], None]) -> Callable:
    """The function, whose first call ends a phase."""
    phases = [phase]

    def marking(*arguments: Any, **options: Any) -> Any:
        if phases:
            mark(phases.pop())
        return function(*arguments, **options)

    return marking


def ending(mark: Callable[[str], None]) -> None:
    mark(LAST_PHASE)
    os._exit(0)


def make_weights(root: str) -> None:
    """Weights of UNET, as train.py leaves them."""
    from models import build_model
    from utils.checkpoints import save_config, save_weights, weights_path
    from utils.config import load_config
    from utils.devices.strategy import make_strategy

    cfg = load_config([f"WORK_DIR={root}", *UNET, "loss=cce_dice", "VERBOSE=0"])
    make_strategy(cfg)
    weights = weights_path(cfg)
    weights.parent.mkdir(parents=True)
    save_weights(build_model(cfg), weights)
    save_config(cfg, weights)


def measure(root: Path, name: str) -> tuple[float, float, float, list[tuple[str, float, float]]]:
    """`(clock, processor, peak in MB, phases)` of a command: seconds, and `(phase, clock, processor)` at its end."""
    script, settings = COMMANDS[name]
    again = name.endswith("again")
    typed = [f"WORK_DIR={root}", f"OPTIMIZATION.KEEP_COMPILED={again}", "VERBOSE=0", *settings]
    here = [str(Path(__file__).resolve()), "--do", script, *typed]
    folder = root / ("320" if "320" in name else "256")
    folders = [*paths("train", folder), *paths("val", folder)]
    for _ in range(1 + again):
        *_, memory, lines = run(*here, *folders)
    found = [line.split("\t")[1:] for line in lines if line.startswith(MARK)]
    phases = [(phase, *map(float, seconds.split())) for phase, seconds in found]
    _, clock, processor = phases[-1]
    return clock, processor, memory, phases


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="the commands in whose names it is found")
    parser.add_argument("--phases", action="store_true", help="divide training into its phases")
    parser.add_argument("--do", choices=["weights", *dict(COMMANDS.values())], help=argparse.SUPPRESS)
    options, settings = parser.parse_known_args()
    if options.do == "weights":  # in a process of its own: those that it starts would count its memory as theirs
        return make_weights(settings[0])
    if options.do:
        sys.argv[1:] = settings
        return main_of(options.do, float(os.environ["COMMAND_BEGAN"]))
    chosen = [name for name in COMMANDS if re.search(options.only, name)]
    if not chosen:
        parser.error(f"--only {options.only} is found in none of: {'; '.join(COMMANDS)}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for size in (256, 320):
            make_pairs(root / str(size), PAIRS, seed=0, size=size)
        run(__file__, "--do", "weights", root)
        for name in chosen:
            clock, processor, memory, phases = measure(root, name)
            rows.append([name, f"{clock:.1f}", f"{processor:.1f}", f"{memory:.0f}"])
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
            before = (0.0, 0.0)
            for phase, *now in phases if options.phases and len(phases) > 1 else ():
                rows.append([f"  {phase}", *(f"{end - start:.1f}" for start, end in zip(before, now, strict=True)), ""])
                before = now
    show(make_table(["command", "clock s", "processor s", "peak MB"], rows))
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    return None


if __name__ == "__main__":
    main()

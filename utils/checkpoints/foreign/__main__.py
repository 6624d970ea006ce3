"""Weights of another program as those of a run here: every command can use them then.

python -m utils.checkpoints.foreign weights.pt                  prints which network they are of and its settings
python -m utils.checkpoints.foreign weights.pt checkpoint/name  writes checkpoint/name.weights.h5 and name.yaml
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.base.errors import UserError
from utils.base.terminal import say
from utils.checkpoints.foreign.convert import build_foreign, check_ending, overrides_of, read_foreign, settings_of
from utils.checkpoints.paths import ENDING, companion_path
from utils.checkpoints.saved_config import save_config
from utils.checkpoints.weights import save_weights
from utils.config.command import fail
from utils.config.overrides import command_line


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; `arguments` as typed, None for those of this process."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.checkpoints.foreign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", type=Path, help="the file of the other program")
    parser.add_argument("name", nargs="?", help="folder and name of the weights here, without ending")
    chosen = parser.parse_args(arguments)
    try:
        convert(chosen.weights, chosen.name)
    except UserError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or chosen.weights}: {error.strerror}.")


def convert(path: Path, name: str | None) -> None:
    """Say what weights are of; with a name, write them as those of a run.

    Raises:
        UserError: they are refused, or there are weights of that name.
    """
    check_ending(path)
    target = None if name is None else Path(f"{name.removesuffix(ENDING)}{ENDING}")
    if target is not None and target.exists():
        raise UserError(f"{target} is there already: choose another name.")
    foreign = read_foreign(path)
    say(f"{path}: {foreign.layout.name}, {len(foreign.arrays)} arrays")
    if target is None:
        say(f"The same network: {command_line('train.py', [*overrides_of(foreign), f'MODEL.INIT={path}'])}")
        return
    network = build_foreign(foreign, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    cfg = settings_of(foreign)
    cfg.MODEL.WEIGHTS_FILE_NAME = target.name.removesuffix(ENDING)
    save_weights(network, target)
    save_config(cfg, target)
    say(f"saved {target} and {companion_path(target, '.yaml')}")


if __name__ == "__main__":
    main()

"""Make a function of the config a command: Hydra overrides in, one clear line for bad input."""

import functools
import os
import signal
import sys
import threading

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.base.errors import UserError
from utils.config.defaults import CONFIGS
from utils.config.load import explain, finish_config
from utils.config.sweeps import give_own_folders


def command(task):
    """Make `task(cfg)` a command: Hydra overrides in, one clear line and exit code 2 for bad input."""

    @functools.wraps(task)
    def job(cfg):
        try:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                give_own_folders(cfg)
            task(finish_config(cfg, HydraConfig.get().overrides.task))
        except UserError as error:
            fail(error, error.exit_code)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)

    def run():
        sys.unraisablehook = interrupt_again
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing: one place formats all errors
        main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(job)
        try:
            main()
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)
        except (HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
            fail(explain(error))

    return run


def interrupt_again(unraisable):
    """Hook for errors that Python can only report: a Ctrl-C that met garbage collection comes once more.

    Libraries run code of theirs there (JAX does), and what it raises is lost.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.daemon = True
    timer.start()


def fail(message, exit_code=2):
    """Print one message and end the program, by default with the exit code of bad input."""
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(exit_code)

"""Turn a function of the config into a command: Hydra overrides in, one clear line for bad input."""

import errno
import functools
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.base.closed_output import survive_closed_output
from utils.base.errors import UserError
from utils.base.keras_settings import choose_backend
from utils.base.progress import Task, display
from utils.base.registry import load_object
from utils.base.streams import is_terminal
from utils.config.defaults import CONFIGS
from utils.config.explain import explain
from utils.config.load import finish_config
from utils.config.slips import refuse_slips
from utils.config.sweeps import Job, describe_job, give_own_folders, swept_overrides, typed_overrides

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
MULTIRUN = ("-m", "--multirun")
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def command(task: Callable[[DictConfig], object], after_sweep: str | None = None) -> Callable[[], None]:
    """Make `task(cfg)` a command: Hydra overrides in, one clear line and exit code 2 for bad input.

    Args:
        task: what a job runs.
        after_sweep: location of a function of all `Job`s of a sweep that this process ran, called once they are done.
    """

    jobs: list[Job] = []  # of a sweep; a launcher that runs them elsewhere leaves it empty
    starting = Task("reading the settings", quiet=starts_silent(sys.argv[1:]), leave=False)
    own_errors: list[OSError] = []  # of jobs; any other comes from Hydra, which creates folders before and between them

    @functools.wraps(task)
    def job(cfg: DictConfig) -> None:
        display.remove(starting)
        try:
            settings = HydraConfig.get()
            if settings.mode != RunMode.MULTIRUN:
                cfg = finish_config(cfg, settings.overrides.task)
                choose_backend(cfg.BACKEND)
                task(cfg)
                return
            swept, typed = swept_overrides(settings), typed_overrides(settings)
            cfg = finish_config(cfg, give_own_folders(cfg))
            choose_backend(cfg.BACKEND)
            if cfg.VERBOSE:
                print(f"\n{describe_job(settings)}", flush=True)
            jobs.append(Job(cfg, swept, typed, task(cfg)))
        except UserError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            fail_interrupted()
        except OSError as error:
            if error.errno in NOT_ALLOWED:
                fail(f"{error.filename or 'a file'}: may not be read or written: {error.strerror}.")
            own_errors.append(error)
            raise

    def run() -> None:
        sys.unraisablehook = repeat_interrupt
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing: one place formats all errors
        main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(job)
        show_any_name()
        # argparse takes overrides on one side of an option only: -m may stand between them.
        sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in MULTIRUN)
        try:
            refuse_slips(sys.argv[1:])
            with survive_closed_output(), starting:  # Hydra's too, of --help
                main()
                if after_sweep and len(jobs) > 1 and jobs[0].cfg.VERBOSE:
                    load_object(after_sweep)(jobs)
        except UserError as error:
            fail(str(error))
        except KeyboardInterrupt:
            fail_interrupted()
        except (HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
            fail(explain(error))
        except OSError as error:
            if error in own_errors:
                raise
            fail(
                f"cannot write {error.filename}: {error.strerror}. Start in a folder that can be written to, or set "
                "hydra.sweep.dir=FOLDER (one job: hydra.run.dir=FOLDER)."
            )

    return run


def option_command(task: Callable[[Sequence[str] | None], object]) -> Callable[..., None]:
    """Make `task(arguments)`, which reads options instead of settings, a command: one clear line for bad input.

    Args:
        task: takes the arguments as typed, None for those of this process.
    """

    def run(arguments: Sequence[str] | None = None) -> None:
        try:
            with survive_closed_output():
                task(arguments)
        except UserError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            fail_interrupted()

    return run


def starts_silent(arguments: Sequence[str]) -> bool:
    """Whether nothing is said before a job begins: no terminal, VERBOSE=0, or Hydra's own --help and the like."""
    return not is_terminal("stderr") or any(word == "VERBOSE=0" or word.startswith("-") for word in arguments)


def show_any_name() -> None:
    """Let names of files that are not UTF-8 be printed: as \\udce4 in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def repeat_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """Hook for errors that Python can only report: send a Ctrl-C again that arrived during garbage collection.

    Some libraries (JAX) run code there, and Python drops what it raises.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.daemon = True
    timer.start()


def fail_interrupted() -> NoReturn:
    print("Interrupted.", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def fail(message: str, exit_code: int = EXIT_BAD_INPUT) -> NoReturn:
    """Print one message and end the program, by default with the exit code of bad input."""
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(exit_code)

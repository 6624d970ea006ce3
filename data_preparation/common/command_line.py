"""The command line that all preparation scripts share."""

import argparse
import contextlib
from pathlib import Path

from data_preparation.common.dataset_writer import write_dataset
from utils.base.errors import UserError
from utils.config.command import fail


def command(description, sources, plan, options=None, split=True):
    """Return `main(arguments=None)` of a preparation script.

    Args:
        description: the script's docstring.
        sources: `{name: help}` of the positional arguments that come before OUTPUT.
        plan: function of the parsed options that returns a `Plan`.
        options: `{flag: arguments of add_argument}`.
        split: whether the script takes --val, --test and --seed.
    """

    def main(arguments=None):
        parser = make_parser(description, sources, options, split)
        with errors_in_one_line():
            chosen = parser.parse_args(arguments)
            check_options(chosen)
            write_dataset(plan(chosen), chosen, sources)

    return main


@contextlib.contextmanager
def errors_in_one_line():
    """End the program with one line and exit code 2 where input is bad, or a file cannot be read or written."""
    try:
        yield
    except UserError as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}." if error.filename else error)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        fail(f"{message}. See --help.")


def make_parser(description, sources, options, split):
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in sources.items():
        parser.add_argument(name, help=text)
    parser.add_argument("output", type=Path, help="folder that gets train/, val/ and test/ with images/ and mask/")
    for flag, keywords in (options or {}).items():
        parser.add_argument(flag, **keywords)
    if split:
        parser.add_argument("--val", type=float, default=0.2, help="share for validation, where no split is published")
        parser.add_argument("--test", type=float, default=0.0, help="share for testing, likewise (default 0)")
        parser.add_argument("--seed", type=int, default=5, help="of that split (default 5)")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes (default: one per core, as far as it pays)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")
    return parser


def check_options(options):
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers} must be at least 1.")
    if "val" in options and not (options.val >= 0 and options.test >= 0 and options.val + options.test < 1):
        raise UserError(f"--val {options.val} and --test {options.test} must be shares that leave some for training.")

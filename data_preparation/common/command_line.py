"""The command line that the preparation commands share."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from data_preparation.common.dataset_writer import Conversion, write_dataset
from data_preparation.common.groups import VOLUME
from utils.base.closed_output import survive_closed_output
from utils.base.errors import UserError
from utils.config.command import fail

Main = Callable[..., None]  # main(arguments=None): arguments as typed, None for those of this process


def dataset_command(
    description: str | None,
    sources: Mapping[str, str],
    collect: Callable[[argparse.Namespace], Conversion],
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Main:
    """Make the `main(arguments=None)` of a command that converts a published dataset.

    Args:
        description: the docstring of the command.
        sources: `{name: help}` of the positional arguments before OUTPUT.
        collect: finds what to convert; function of the parsed options.
        options: `{flag: arguments of add_argument}`.
    """

    def main(arguments: Sequence[str] | None = None) -> None:
        parser = make_parser(description, sources, options)
        with errors_in_one_line():
            chosen = parser.parse_args(arguments)
            check_options(chosen)
            write_dataset(collect(chosen), chosen, sources)

    return main


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the program with one line and exit code 2 if input is bad, or a file cannot be read or written."""
    try:
        with survive_closed_output():
            yield
    except UserError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}." if error.filename else str(error))


class Parser(argparse.ArgumentParser):
    """A parser whose help keeps line breaks and whose errors are one line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """End the program."""
        fail(f"{message}. See --help.")


def make_parser(
    description: str | None, sources: Mapping[str, str], options: Mapping[str, Mapping[str, Any]] | None = None
) -> Parser:
    """The parser of a command that writes a dataset; see `dataset_command`."""
    parser = Parser(description)
    for name, text in sources.items():
        parser.add_argument(name, help=text)
    parser.add_argument("output", type=Path, help="folder for the dataset: {train,val,test}/{images,mask}")
    for flag, keywords in (options or {}).items():
        parser.add_argument(flag, **keywords)
    parser.add_argument(
        "--val", type=float, default=0.2, help="share for validation if no split is published (default 0.2)"
    )
    parser.add_argument("--test", type=float, default=0.0, help="share for testing, likewise (default 0)")
    parser.add_argument("--seed", type=int, default=5, help="random seed of that split (default 5)")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes (default: up to one per core, fewer for few images)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")
    return parser


def check_options(options: argparse.Namespace) -> None:
    """Raise a UserError for values that the parser accepts and the command cannot use."""
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers} must be at least 1.")
    if not (options.val >= 0 and options.test >= 0 and options.val + options.test < 1):
        raise UserError(
            f"--val {options.val} and --test {options.test} must not be negative, and their sum must be below 1."
        )


def make_split_parser(description: str | None, output: str) -> Parser:
    """The parser of a command that divides images and masks; `output` is the help on the folder that it writes."""
    parser = Parser(description)
    parser.add_argument("images", help="folder of images")
    parser.add_argument("masks", help="folder of masks")
    parser.add_argument("output", help=output)
    parser.add_argument(
        "--group",
        default=VOLUME,
        help="images that stay together: volume (default: same name before the last number), none, or a regular "
        "expression whose first group names the group",
    )
    parser.add_argument(
        "--channels",
        nargs="+",
        help="an image is several files, one for each of these, such as t1 t2 flair: see DATASET.CHANNELS",
    )
    parser.add_argument(
        "--class-masks",
        nargs="+",
        help="a mask is several files, one for each of these classes, such as liver tumour; after the word stack: a "
        "file holds a plane for each: see DATASET.CLASS_MASKS",
    )
    parser.add_argument("--background", type=int, default=0, help="pixel value of the background (default 0)")
    parser.add_argument("--seed", type=int, default=5, help="random seed: the same seed, the same result (default 5)")
    parser.add_argument("--workers", type=int, default=None, help="processes that read masks (default: one per core)")
    return parser

"""The runs to choose among, with the probabilities that their evaluations kept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from utils.base.errors import UserError
from utils.base.files import file_hash
from utils.checkpoints.temperature import ENDING, describe_files
from utils.comparison.runs import Run, find_runs
from utils.evaluation.kept_probabilities import KeptSplit, read_kept


class KeptRun(NamedTuple):
    """An evaluated run and its kept probabilities."""

    run: Run
    kept: KeptSplit

    @property
    def name(self) -> str:
        """Short, unique among the runs."""
        return self.run.name


def find_kept_runs(names: Sequence[str], split: str | None) -> list[KeptRun]:
    """The runs that are named, as `utils.comparison.runs.find_runs` finds them, with the same cases and classes.

    Raises:
        UserError: nothing was evaluated there, no probabilities were kept, or those of other cases or classes; a single
            case.
    """
    runs = [KeptRun(run, kept_of(run)) for run in find_runs(names, split, fewest=1)]
    first = runs[0]
    for other in runs[1:]:
        both = f"{first.name} and {other.name} cannot be chosen among"
        for what in ("channels", "multi_label", "ignore_label", "background"):
            one, two = getattr(first.kept, what), getattr(other.kept, what)
            if one != two:
                raise UserError(f"{both}: {what} is {one} in one, {two} in the other.")
        for one, two in ((first, other), (other, first)):
            if missing := [case for case in one.kept.cases if case not in two.kept.cases]:
                raise UserError(f"{both}: {missing[0]} is in {one.name} alone. Evaluate both on the same cases.")
        if len(first.kept.weights) != len(other.kept.weights):
            raise UserError(
                f"{both}: one has the networks of {len(first.kept.weights)} folds, the other of "
                f"{len(other.kept.weights)}; a network of all cases knows the cases that those of folds are tested on."
            )
    if len(first.kept.cases) < 2:
        raise UserError(f"{first.name} has a single case: a choice cannot be tested on cases that it was not made on.")
    return runs


def kept_of(run: Run) -> KeptSplit:
    """The kept probabilities of a run.

    Raises:
        UserError: there are none, names the command that keeps them; or what predict.py would use has changed since.
    """
    if "weights_sha256" not in run.metadata:
        raise UserError(f"{run.folder}: has scores of masks of another tool, which have no probabilities.")
    try:
        kept = read_kept(run.folder, run.split, str(run.metadata["weights_sha256"]))
        check_unchanged(run, kept)
        return kept
    except FileNotFoundError:
        typed = shlex.split(str(run.metadata.get("command", "python evaluate.py")))
        words = [word for word in typed if not word.startswith("EVALUATION.KEEP_PROBABILITIES=")]
        raise UserError(
            f"{run.folder}: kept no probabilities of {run.split}. Keep them: "
            f"{shlex.join([*words, 'EVALUATION.KEEP_PROBABILITIES=True'])}"
        ) from None


def check_unchanged(run: Run, kept: KeptSplit) -> None:
    """Raise a UserError where predict.py would use other weights or temperatures than the evaluation did."""
    digests = str(run.metadata["weights_sha256"]).split(", ")
    for path, digest in zip(kept.weights, digests, strict=True):
        if path.exists() and file_hash(path) != digest:
            raise UserError(f"{path}: has changed since {run.folder} was written. Evaluate again.")
    evaluated, now = run.metadata.get("temperature"), describe_files(kept.weights, kept.channels)
    if evaluated != now:
        raise UserError(
            f"{run.folder}: was evaluated with the temperature {evaluated or 'none'}, and predict.py would use "
            f"{now or 'none'}. Evaluate again, or remove {ENDING[1:]} beside the weights."
        )

"""All that was measured of one split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from losses import averaging

if TYPE_CHECKING:
    import keras

    from utils.evaluation.evaluator import Evaluator
    from utils.evaluation.review import ReviewedCase

LOSS_RULE = "mean over images of the training loss of their batches, plus weight regularisation"


@dataclass
class SplitResult:
    """All that was measured of one split.

    Attributes:
        split: "train", "val" or "test".
        images: how many.
        first: number of the first one among those of all splits.
        scores: {name: value}, of all metrics, cases and regions.
        rules: {name of a Keras metric: how it averages}.
        evaluator: with the cases; None for a classifier.
        summary: what the evaluator's `result` returned.
        seconds: of the pass, reading included.
        raters: of `utils.evaluation.raters.Raters`, with EVALUATION.RATERS.
        review: with PREDICT.UNCERTAINTY, whether the expected Dice tells which masks are wrong, see
            `utils.evaluation.review`; reviewed: {kind: (case, predicted Dice, flag) of each case}.
    """

    split: str
    images: int
    first: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    evaluator: Evaluator | None = None
    summary: dict[str, Any] | None = None
    seconds: float = 0.0
    raters: dict[str, Any] | None = None
    review: dict[str, Any] | None = None
    reviewed: dict[str, list[tuple[ReviewedCase, float | None, bool | None]]] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Images per second, reading included."""
        return self.images / self.seconds

    def add_metrics(self, loss: float, metrics: Iterable[keras.metrics.Metric], background: bool = True) -> None:
        """Take the loss and the results of Keras metrics; `background`: whether means leave class 0 out."""
        self.scores["loss"], self.rules["loss"] = loss, LOSS_RULE
        for metric in metrics:
            value = metric.result()
            values = value if isinstance(value, dict) else {metric.name: value}
            self.scores |= {name: float(value) for name, value in values.items()}
            self.rules |= {name: averaging(name, background) or first_paragraph(metric) for name in values}

    def add_cases(self, evaluator: Evaluator) -> None:
        """Take the scores of cases; a score of a region is called `<score>_<region>`."""
        self.evaluator, self.summary = evaluator, evaluator.result()
        if evaluator.calibration:
            self.scores |= evaluator.calibration.results()
            self.rules |= evaluator.calibration.rules()
        for region, scores in self.summary["regions"].items():
            values = {name: entry["value"] for name, entry in scores.items() if name != "states"}
            self.scores |= {f"{name}_{region}": value for name, value in values.items()}


def first_paragraph(metric: keras.metrics.Metric) -> str:
    """What a metric is, from its docstring."""
    first = (type(metric).__doc__ or metric.name).strip().split("\n\n")[0]
    return " ".join(first.split())

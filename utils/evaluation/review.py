"""Learn from labelled images which masks to look at: the numbers of predict.py beside the true Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from data_generators.files.pairing import Pair
from data_generators.files.volume_slices import VolumeSlice
from utils.base.errors import UserError
from utils.base.terminal import say
from utils.base.wording import counted
from utils.config.class_names import mask_class_names
from utils.config.folds import ALL
from utils.evaluation.selective import FEWEST, fit_curve, judge_cases, order_intervals
from utils.evaluation.split_data import SplitData
from utils.inference.class_indices import class_indices
from utils.inference.comparison import count_dice, dice_of_counts
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.members import restore_members
from utils.inference.read_ahead import Progress, SourceImage, read_ahead
from utils.inference.uncertainty.cases import CaseSums
from utils.inference.uncertainty.learnt import IMAGE, VOLUME, Curve, Learnt, save_learnt
from utils.inference.uncertainty.members import Members, MemberSettings

if TYPE_CHECKING:
    from utils.evaluation.split_result import SplitResult


class ReviewedCase(NamedTuple):
    """A case with what was expected of its mask and what it is worth; `dice` is 1 if truth and mask are both empty.

    `unit` is the volume that it is a slice of, else itself.
    """

    name: str
    unit: str
    expected_dice: float
    dice: float


class Part(NamedTuple):
    """Networks that predict together, and the images of a split that they predict."""

    members: Sequence[DictConfig]
    pairs: Sequence[Pair]
    places: Sequence[VolumeSlice] | None


class Growing:
    """A case whose images come one by one."""

    def __init__(self, meaning: MaskMeaning, members: int) -> None:
        self.meaning, self.sums = meaning, CaseSums(meaning, members)
        self.both, self.either = np.zeros(1, np.int64), np.zeros(1, np.int64)

    def add(self, item: SourceImage, members: Members, mean: np.ndarray, mask: np.ndarray, unsure: np.ndarray) -> None:
        """Add an image with its truth."""
        assert item.truth is not None
        self.sums.add(members.labels, mean, mask, unsure)
        both, either = count_dice(item.truth, mask, self.meaning)
        self.both, self.either = self.both + both, self.either + either

    def finish(self, name: str, unit: str) -> ReviewedCase:
        """The case."""
        dice = dice_of_counts(self.both, self.either)
        return ReviewedCase(name, unit, self.sums.numbers().expected_dice, 1.0 if dice is None else dice)


def parts_of(cfg: DictConfig, folds: Sequence[DictConfig], data: SplitData) -> list[Part]:
    """The networks that predict a split as predict.py would: no network predicts what it was trained on.

    With DATASET.FOLD=all, images of validation are predicted by the network of their fold alone, others by all.
    """
    places = data.places
    if cfg.DATASET.FOLD != ALL:
        return [Part(restore_members(cfg), data.pairs, places)]
    chosen = [[at for at, fold in enumerate(data.folds) if fold == number] for number in range(len(folds))]
    of_folds = [([data.pairs[at] for at in one], places and [places[at] for at in one]) for one in chosen]
    if data.split == "val":
        return [Part([fold], *found) for fold, found in zip(folds, of_folds, strict=True)]
    return [Part(folds, *of_folds[0])]  # each fold has the same ones


def check_review(cfg: DictConfig, folds: Sequence[DictConfig], data: Sequence[SplitData]) -> None:
    """Raise a UserError where PREDICT.UNCERTAINTY asks for what there is not, before a network is built."""
    for split in data if cfg.PREDICT.UNCERTAINTY is not None else ():
        for part in parts_of(cfg, folds, split):
            MemberSettings.from_configs(part.members)


def review_splits(
    cfg: DictConfig, folds: Sequence[DictConfig], data: Sequence[SplitData], results: Sequence[SplitResult]
) -> None:
    """Fill in `review` of each result, and write beside the weights what was learnt from one of the splits.

    It is learnt from "val", or from "test" if that is not evaluated; never from images of training.

    Args:
        cfg: config of the command; PREDICT holds.
        folds: the restored config of each fold; usually one.
        data, results: of each split.
    """
    learns = next((split for split in ("val", "test") if split in [one.split for one in data]), None)
    learnt: Learnt | None = None
    # What is learnt is used for the splits that come after it.
    for one, result in sorted(zip(data, results, strict=True), key=lambda pair: pair[0].split != learns):
        parts = parts_of(cfg, folds, one)
        cases = review_split(cfg, parts, bool(one.places))
        if one.split == learns:
            curves = {
                kind: curve for kind, found in cases.items() if (curve := fit_curve(*numbers_of(found))) is not None
            }
            learnt = save_curves(cfg, parts, curves, one.split, cases) if curves else None
            say_too_few(cfg, curves, cases)
        result.review = {
            "measure": cfg.PREDICT.UNCERTAINTY,
            "learnt_from": learns if learnt else None,
            "kinds": {kind: describe(cfg, kind, found, learnt) for kind, found in cases.items()},
        }
        result.reviewed = {
            kind: [(case, *judge(kind, case, learnt)) for case in found] for kind, found in cases.items()
        }


def review_split(cfg: DictConfig, parts: Sequence[Part], has_volumes: bool) -> dict[str, list[ReviewedCase]]:
    """The images of a split and, if they are slices, its volumes."""
    found: dict[str, list[ReviewedCase]] = {IMAGE: [], **({VOLUME: []} if has_volumes else {})}
    for part in parts:
        for kind, cases in review_part(cfg, part).items():
            found[kind] += cases
    return found


def review_part(cfg: DictConfig, part: Part) -> dict[str, list[ReviewedCase]]:
    """Predict the images of a part as predict.py does.

    Raises:
        UserError: one cannot be read.
    """
    from utils.inference.image_sources import ImageSource
    from utils.inference.prediction import predict_images
    from utils.inference.predictor import Predictor
    from utils.inference.sources import SourceSettings

    trained = part.members[0]
    predictor, meaning = Predictor(part.members), MaskMeaning.from_config(trained, mask_class_names(trained))
    settings = predictor.members
    assert settings is not None
    sources = [ImageSource(pair.image, pair.mask) for pair in part.pairs]
    images: list[ReviewedCase] = []
    volumes: dict[str, Growing] = {}
    with Progress(len(sources), bool(cfg.VERBOSE)) as progress:
        reading = read_ahead(sources, SourceSettings.from_config(trained), cfg.DATALOADER_WORKERS, progress)
        for item, _, members in predict_images(predictor, reading):
            assert members is not None
            mean, unsure = members.finish()
            mask = class_indices(mean, settings.thresholds, settings.multi_label)
            image = Growing(meaning, settings.count)
            growing, name = [image], str(item.source.path)
            volume = part.places[len(images)].volume if part.places else None
            if volume is not None:
                growing.append(volumes.setdefault(volume, Growing(meaning, settings.count)))
            for case in growing:
                case.add(item, members, mean, mask, unsure)
            images.append(image.finish(name, name if volume is None else volume))
            progress.update()
    if progress.problems:
        raise UserError(next(iter(progress.problems.values())))
    return {
        IMAGE: images,
        **({VOLUME: [case.finish(name, name) for name, case in volumes.items()]} if part.places else {}),
    }


def numbers_of(cases: Sequence[ReviewedCase]) -> tuple[np.ndarray, np.ndarray]:
    """(expected Dice, Dice) of cases."""
    return np.array([case.expected_dice for case in cases]), np.array([case.dice for case in cases])


def judge(kind: str, case: ReviewedCase, learnt: Learnt | None) -> tuple[float | None, bool | None]:
    """What was learnt says of a case."""
    return learnt.judge(case.expected_dice, kind == VOLUME) if learnt else (None, None)


def describe(cfg: DictConfig, kind: str, cases: Sequence[ReviewedCase], learnt: Learnt | None) -> dict[str, Any]:
    """What `evaluation.json` says of cases of a kind.

    See `judge_cases` and `order_intervals`; and how many are `flagged`, rightly or not.
    """
    below, numbers = float(cfg.PREDICT.REVIEW_DICE), numbers_of(cases)
    units = [case.unit for case in cases]
    found = judge_cases(*numbers, below) | order_intervals(*numbers, units, cfg.EVALUATION.BOOTSTRAP, cfg.SEED)
    flags = [judge(kind, case, learnt)[1] for case in cases]
    if None not in flags:
        failures = [case.dice < below for case in cases]
        found["flagged"] = sum(map(bool, flags))
        found["flagged_failures"] = sum(bool(flag) and failed for flag, failed in zip(flags, failures, strict=True))
    return found


def save_curves(
    cfg: DictConfig,
    parts: Sequence[Part],
    curves: dict[str, Curve],
    split: str,
    cases: dict[str, list[ReviewedCase]],
) -> Learnt:
    """Write the curves beside the weights of each part."""
    counts = {kind: len(found) for kind, found in cases.items() if kind in curves}
    for part in parts:
        path = save_learnt(part.members, curves, {"split": split, "cases": counts})
        if cfg.VERBOSE:
            shown = " and ".join(counted(count, kind) for kind, count in counts.items())
            say(f"saved {path}: which masks predict.py flags, learnt from {shown} of {split}")
    return Learnt(curves, float(cfg.PREDICT.REVIEW_DICE))


def say_too_few(cfg: DictConfig, curves: Mapping[str, Curve], cases: Mapping[str, Sequence[ReviewedCase]]) -> None:
    """Say of which kinds of cases there were too few to learn from."""
    for kind, found in cases.items():
        if cfg.VERBOSE and kind not in curves:
            say(f"nothing is learnt of {kind}s: {len(found)} of them are too few, {FEWEST} are needed")

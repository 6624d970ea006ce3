"""The scores of the best epoch of a training: as a table, and what is wrong with them."""

import math
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from losses.constant_answer import Answer, Scoring, best_constant
from losses.learnt import dice_of_logs, explain_low_score, explain_unfound
from losses.monitor import default_monitor
from utils.base.job_table import number
from utils.config.class_names import mask_class_names
from utils.training.saving import BestWeights

OF_CLASS = re.compile(r"dice_class(\d+)")  # one row a class; the log has its other scores


def find_baseline(cfg: DictConfig, data: Mapping[str, Any]) -> dict[str, tuple[float, Answer]]:
    """`losses.constant_answer.best_constant` of the validation masks; empty for classifiers.

    Args:
        data: of `verify_data`.
    """
    if cfg.MODEL.TYPE == "classifier":
        return {}
    found = data["val"]
    return best_constant(found["label_counts"], Scoring.from_config(cfg), found.get("known_counts"))


def score_rows(cfg: DictConfig, logs: Mapping[str, float], baseline: Mapping[str, tuple]) -> list[list[str]]:
    """`[score, training, validation, constant answer]`: loss and means, then Dice of each class in numeric order.

    Args:
        logs: `{log name: value}` of an epoch.
        baseline: of `find_baseline`.
    """
    both = [name for name in logs if f"val_{name}" in logs]
    labels = {name: name for name in sorted(both, key=lambda name: name != "loss") if "_class" not in name}
    labels |= {name: name for name in both if name.endswith("_all_classes")}
    indices = sorted(int(match[1]) for name in both if (match := OF_CLASS.fullmatch(name)))
    names = mask_class_names(cfg) if indices else []
    labels |= {f"dice_class{index}": f"dice, {names[index]}" for index in indices}
    return [
        [label, number(logs[name]), number(logs[f"val_{name}"]), number(baseline.get(name, (None,))[0])]
        for name, label in labels.items()
    ]


def find_warnings(cfg: DictConfig, best: BestWeights, data: Mapping[str, Any]) -> list[str]:
    """Sentences on the best epoch: its score is undefined, 0 or that of a constant answer; classes are not found.

    Args:
        data: of `verify_data`.
    """
    if best.best is None or math.isnan(best.best):
        return [
            f"{best.monitor.log} is not defined in any epoch, as the validation data has nothing to find: no epoch is "
            "best."
        ]
    logs = {best.monitor.log: best.best, **best.best_logs}
    monitor = best.monitor if best.monitor.higher_is_better else default_monitor(cfg)
    score, training = logs.get(monitor.log, math.nan), logs.get(monitor.name)
    constant = find_baseline(cfg, data).get(monitor.name, (None,))[0]
    sentences = [explain_low_score(monitor.log, score, constant, training)]
    if score and cfg.MODEL.TYPE != "classifier":
        sentences.append(explain_unfound(dice_of_logs(logs, data["val"]["label_counts"]), mask_class_names(cfg)))
    return [sentence for sentence in sentences if sentence]

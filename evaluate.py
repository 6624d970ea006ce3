"""Score trained weights and write a report: python evaluate.py MODEL.TYPE=unet3plus

Keras and what needs it are imported inside `evaluate`, so that --help and config errors do without TensorFlow.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig

from data_generators.files.split_files import find_files
from data_preparation.verify_data import verify_data
from models import build_model
from utils.base.errors import UserError
from utils.base.files import check_folder_writable, new_folders
from utils.base.locks import lock_path, locked
from utils.base.progress import brief_task
from utils.base.terminal import say
from utils.checkpoints import restore_config
from utils.checkpoints.paths import evaluation_folder
from utils.config.class_names import mask_class_names
from utils.config.command import command
from utils.config.folds import fold_configs
from utils.devices.failures import explain_failures
from utils.devices.strategy import make_strategy
from utils.evaluation.console import print_results
from utils.evaluation.gallery import Gallery
from utils.evaluation.groups import read_groups_of_split
from utils.evaluation.kept_probabilities import FOLDER as KEPT
from utils.evaluation.kept_probabilities import Keeper, check_kept_size, kinds_kept
from utils.evaluation.split_data import SplitData, evaluates_any_size, find_splits
from utils.inference.mask_meaning import MaskMeaning


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Evaluate trained weights on EVALUATION.SPLITS, print a table and write the report.

    The model is rebuilt from the config beside the weights; `cfg` changes only what was typed. With DATASET.FOLD=all
    each fold is evaluated with its own weights, and all images are scored together. With EVALUATION.PREDICTIONS, masks
    of any tool are scored without weights.

    Returns:
        {name: value} of the first split: `loss`, `dice_coef` (mean over images), `dice`, `iou` (over the set, mean over
        foreground classes), `dice_class<n>`, `iou_class<n>`, and the scores of `utils.evaluation.case_scores` such as
        `dice_per_case_class<n>`; with CGM `presence_accuracy`. For a classifier: `loss`, `accuracy`, `roc_auc`.

    Raises:
        UserError: bad data, weights or settings; a volume with a missing slice, or without spacing where it is needed;
            another evaluation that writes the same folder.

    Example, after `make demo`:
        >>> from utils.config import load_config  # doctest: +SKIP
        >>> cfg = load_config(["WORK_DIR=demo", "MODEL.TYPE=tiny_unet3plus", "VERBOSE=0"])  # doctest: +SKIP
        >>> scores = evaluate(cfg)  # doctest: +SKIP
        >>> 0 <= scores["dice_coef"] <= 1  # doctest: +SKIP
        True
    """
    folder = evaluation_folder(cfg)
    check_folder_writable(folder, "EVALUATION.PATH")
    work = evaluate_locked if cfg.EVALUATION.PREDICTIONS is None else evaluate_predictions
    with new_folders([folder.parent]), locked(lock_path(folder), f"the evaluation {folder}"):
        return work(cfg)


def evaluate_locked(cfg: DictConfig) -> dict[str, float]:
    """See `evaluate`."""
    folds = [restore_config(fold) for fold in fold_configs(cfg)]
    trained = folds[0]
    files = [{split: find_files(fold, split) for split in trained.EVALUATION.SPLITS} for fold in folds]
    for fold, found in zip(folds, files, strict=True):
        verify_data(fold, splits=list(found), whole_images=True, files=found)
    check_kept_size(trained)
    data = find_splits(folds, files)
    if cfg.PREDICT.UNCERTAINTY is not None:
        from utils.evaluation.review import check_review, review_splits

        check_review(cfg, folds, data)
    for split in data:
        read_groups_of_split(trained, split)  # refuses a table that does not fit, before anything is loaded
    strategy = make_strategy(trained)

    from models.cost import model_cost
    from utils.evaluation.output import write_results
    from utils.evaluation.split import evaluate_split
    from utils.inference.forward import make_forward

    with brief_task(trained, f"building {trained.MODEL.TYPE}"), strategy.scope():
        model = build_model(trained, pretrained=False, any_size=evaluates_any_size(trained))
    forward = make_forward(model, strategy, trained.OPTIMIZATION.XLA)
    gallery = Gallery(trained.EVALUATION.GALLERY, MaskMeaning.from_config(trained, mask_class_names(trained)))
    replicas = strategy.num_replicas_in_sync
    with explain_failures(trained):
        keepers = make_keepers(cfg, folds, data)
        results = [
            evaluate_split(folds, split, model, forward, gallery, replicas, keepers.get(split.split)) for split in data
        ]
        if cfg.PREDICT.UNCERTAINTY is not None:
            review_splits(cfg, folds, data, results)
    with brief_task(trained, "writing the report"), explain_full_disk(cfg):
        folder = write_results(cfg, folds, results, gallery, model_cost(model))
    print_results(trained, results, folder)
    return results[0].scores


def make_keepers(cfg: DictConfig, folds: Sequence[DictConfig], data: Sequence[SplitData]) -> dict[str, Keeper]:
    """`{split: what writes its probabilities}`, with EVALUATION.KEEP_PROBABILITIES; those kept earlier are removed."""
    from utils.evaluation.output import results_folder

    folder = results_folder(cfg, folds)
    shutil.rmtree(folder / KEPT, ignore_errors=True)
    return {split.split: Keeper(folds, folder, split) for split in data} if kinds_kept(folds[0]) else {}


def evaluate_predictions(cfg: DictConfig) -> dict[str, float]:
    """See `evaluate`: masks of any tool, without weights. Scores that need probabilities are left out."""
    from utils.evaluation.output import describe_predictions, write_folder
    from utils.evaluation.predictions import score_predictions, without_probabilities

    cfg, left_out = without_probabilities(cfg)
    gallery = Gallery(cfg.EVALUATION.GALLERY, MaskMeaning.from_config(cfg, mask_class_names(cfg)))
    result = score_predictions(cfg, cfg.EVALUATION.SPLITS[0], gallery)
    with brief_task(cfg, "writing the report"), explain_full_disk(cfg):
        what = describe_predictions(cfg, left_out)
        folder = write_folder(evaluation_folder(cfg), cfg, [cfg], what, [result], gallery)
    print_results(cfg, [result], folder)
    if cfg.VERBOSE:
        say(f"left out, as they need probabilities: {', '.join(left_out)}")
    return result.scores


@contextlib.contextmanager
def explain_full_disk(cfg: DictConfig) -> Iterator[None]:
    """Turn an error of writing into a UserError: a full disk, a folder that can be written to and cannot be made."""
    try:
        yield
    except OSError as error:
        place = error.filename or evaluation_folder(cfg)
        raise UserError(f"{place}: cannot be written: {error.strerror}. Set EVALUATION.PATH.") from None


if __name__ == "__main__":
    command(evaluate, after_sweep="utils.evaluation.console:print_sweep")()

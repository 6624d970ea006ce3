"""What a network scores that gives the same class to every pixel, exactly, from the pixels of each class in each image.

A score means little unless it is clearly above that of the best such answer: where nine of ten pixels are cell, "cell
everywhere" has a Dice of 0.95.
"""

import numpy as np

RARELY = 0.01  # a class with fewer predicted than this share of its true pixels is as good as never predicted


def best_constant(counts: np.ndarray, background: bool = True) -> dict[str, tuple[float, int]]:
    """The best score that a constant answer has, by each score by itself.

    Args:
        counts: int `(images, classes)`, pixels of each class with class 0, ignored ones left out.
        background: whether class 0 is the background, which means over foreground classes leave out.

    Returns:
        `{name: (score, class that is the answer)}`, names as in `losses.AVERAGING`; of equal answers the first. A score
        that no answer defines is left out; without pixels it is empty.

    Example, 6 of 10 pixels are foreground:
        >>> best_constant(np.array([[4, 6]]))["dice"]
        (0.75, 1)
    """
    if not counts.sum():
        return {}
    answers = [constant_scores(counts, answer, background) for answer in range(counts.shape[1])]
    best: dict[str, tuple[float, int]] = {}
    for answer, scores in enumerate(answers):
        for name, score in scores.items():
            if not np.isnan(score) and (name not in best or score > best[name][0]):
                best[name] = (score, answer)
    return best


def constant_scores(counts: np.ndarray, answer: int, background: bool = True) -> dict[str, float]:
    """All scores of one constant answer, NaN where undefined; arguments as in `best_constant`."""
    true, classes = counts.sum(0).astype(float), counts.shape[1]
    is_answer = np.arange(classes) == answer
    predicted, common = is_answer * true.sum(), is_answer * true
    with np.errstate(invalid="ignore", divide="ignore"):
        each = {
            "dice": 2 * common / (true + predicted),
            "iou": common / (true + predicted - common),
            "sensitivity": common / true,
            "precision": common / predicted,
        }
    first = int(background)
    scores = {name: mean_of_defined(values[first:]) for name, values in each.items()}
    for name in ("dice", "iou", "sensitivity"):
        scores[f"{name}_all_classes"] = mean_of_defined(each[name])
    for name, values in each.items():
        scores |= {f"{name}_class{index}": float(values[index]) for index in range(classes)}
    of_images = counts.astype(float)
    found = of_images * is_answer
    total = of_images + is_answer * of_images.sum(1, keepdims=True)
    dices = (2 * found + 1e-9) / (total + 1e-9)
    return {**scores, "pixel_accuracy": float(common.sum() / true.sum()), "dice_coef": float(dices[:, first:].mean())}


def mean_of_defined(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def unpredicted_classes(confusion: np.ndarray) -> list[int]:
    """The classes that occur and are never predicted, or hardly: on fewer pixels than 1% of those they occur on.

    Args:
        confusion: int `(classes, classes)`, rows truth, columns prediction.

    >>> unpredicted_classes(np.array([[90, 0], [10, 0]]))
    [1]
    """
    true, predicted = confusion.sum(1), confusion.sum(0)
    return np.flatnonzero((true > 0) & (predicted < RARELY * true)).tolist()

"""The scores of cases: what each is called, how it averages, whether lower is better."""

import re
from collections.abc import Iterable

# How a region lies in a case. A score that is not defined there is None and left out of the mean.
STATES = {
    "found": "in truth and prediction",
    "missed": "in the truth, not predicted",
    "false_positive": "absent in the truth, but predicted",
    "absent": "absent in both",
}

OF_IMAGES = "mean over images with objects in the truth"
OF_CASES = "mean over {cases} with it in truth or prediction"
OF_OBJECTS = "mean over images with objects in truth or prediction"

# Score -> (title, how it averages). {cases} becomes "volumes" or "images". A score of a region is called
# <score>_<region> everywhere: in the terminal, the report and evaluation.json. Scores of all pixels have the names that
# the metrics of the whole set give them, and the same values.
SCORES = {
    "dice": ("Dice", "all pixels of the set as one image (LiTS: global Dice)"),
    "iou": ("IoU", "all pixels of the set as one image"),
    "sensitivity": ("sensitivity, recall", "all pixels of the set: found of what is true"),
    "precision": ("precision", "all pixels of the set: true of what is predicted"),
    "dice_per_case": ("Dice per case", "mean over {cases}; absent in both: left out; false positive: 0"),
    "dice_per_case_lits": ("Dice per case, LiTS", "mean over {cases}; absent in both: 1; false positive: 0"),
    "iou_per_case": ("IoU per case", "mean over {cases}; absent in both: left out; false positive: 0"),
    "volume_error": ("volume error", "mean over volumes with it in the truth of (predicted - true) / true"),
    "volume_error_abs": (
        "volume error, absolute (RAVD)",
        "mean over volumes with it in the truth of |predicted - true| / true",
    ),
    "volume_error_ml": ("volume error in ml", "mean over all volumes of known spacing of predicted - true"),
    "hd_mm": (
        "Hausdorff distance in mm",
        "mean over volumes where it is in truth and prediction; the largest distance",
    ),
    "hd95_mm": (
        "HD95 in mm",
        "mean over volumes where it is in truth and prediction; 95th percentile, both directions",
    ),
    "assd_mm": ("ASSD in mm", "mean over volumes where it is in truth and prediction"),
    "surface_dice": ("surface Dice", "mean over volumes; absent in both: left out; missed or false positive: 0"),
    "v_rand": ("Rand score after border thinning", f"{OF_IMAGES}; at the threshold with the best mean (ISBI 2012)"),
    "v_rand_split": ("Rand split score", f"{OF_IMAGES}; 1 where no object is split; at the threshold of v_rand"),
    "v_rand_merge": ("Rand merge score", f"{OF_IMAGES}; 1 where no objects are merged; at the threshold of v_rand"),
    "v_rand_threshold": ("threshold", "of 0, 0.1 ... 0.9 that with the best v_rand of the set"),
    "v_info": (
        "information score after border thinning",
        f"{OF_IMAGES}; at the threshold with the best mean (ISBI 2012)",
    ),
    "v_info_split": ("information split score", f"{OF_IMAGES}; 1 where no object is split; at the threshold of v_info"),
    "v_info_merge": (
        "information merge score",
        f"{OF_IMAGES}; 1 where no objects are merged; at the threshold of v_info",
    ),
    "v_info_threshold": ("threshold", "of 0, 0.1 ... 0.9 that with the best v_info of the set"),
    "object_ap50": ("AP of objects at IoU 0.5", f"{OF_OBJECTS} of TP / (TP + FP + FN)"),
    "object_ap75": ("AP of objects at IoU 0.75", f"{OF_OBJECTS} of TP / (TP + FP + FN)"),
    "object_ap": ("AP of objects", f"{OF_OBJECTS} and over IoU 0.5, 0.55 ... 0.95 of TP / (TP + FP + FN)"),
    "object_aji": ("aggregated Jaccard index", f"{OF_OBJECTS}; pixels of objects and their best matches"),
    "roc_auc": ("area under the ROC curve", "all pixels of the set, the class against all others"),
    "pr_auc": (
        "average precision",
        "all pixels of the set, the class against all others; a constant answer: its share",
    ),
    "cldice": ("centreline Dice", f"{OF_CASES}; only one has it: 0"),
    "cldice_precision": ("centreline precision", "mean over {cases} with it predicted: skeleton inside the truth"),
    "cldice_sensitivity": ("centreline sensitivity", "mean over {cases} with it in the truth: skeleton that is found"),
    "boundary_iou": ("boundary IoU", "mean over images with it in truth or prediction; only one has it: 0"),
    **{
        f"lesion_{score}_{name}": (f"{title}, {overlap}", rule)
        for name, overlap in {"any": "any overlap", "10": "IoU above 0.1", "50": "IoU above 0.5"}.items()
        for score, title, rule in (
            ("f1", "F1 of lesions", f"{OF_CASES} of 2 TP / (2 TP + FP + FN)"),
            ("sensitivity", "sensitivity for lesions", "mean over {cases} with one in the truth of TP / (TP + FN)"),
            ("false_positives", "false-positive lesions", "number, mean over all {cases}"),
        )
    },
    "object_f1": ("F1 of objects at IoU 0.5, RQ", "all objects of the set: 2 TP / (2 TP + FP + FN)"),
    "object_f1_75": ("F1 of objects at IoU 0.75", "all objects of the set: 2 TP / (2 TP + FP + FN)"),
    "object_pq": ("panoptic quality, SQ x RQ", "all objects of the set: sum of the IoU of TP / (TP + FP / 2 + FN / 2)"),
    "object_sq": ("segmentation quality, SQ", "all objects of the set: mean IoU of TP, the objects found"),
    # With EVALUATION.SIZE_BINS; the range follows the name, as in object_count_size_0_100.
    "object_sensitivity_size": ("sensitivity for objects", "all true objects of this size: share found at IoU 0.5"),
    "object_count_size": ("true objects", "number in the set"),
    "lesion_sensitivity_size": ("sensitivity for lesions", "all true lesions of this size: share found at IoU 0.1"),
    "lesion_count_size": ("true lesions", "number in the set"),
}
SURFACE_SCORES = ("hd_mm", "hd95_mm", "assd_mm", "surface_dice")
LOWER_IS_BETTER = (
    "volume_error_abs",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    *(name for name in SCORES if name.startswith("lesion_false_positives")),
)
# Of cases, by which runs are compared; the others count all pixels together, or say what a threshold was.
COMPARED = tuple(
    name
    for name in SCORES
    if not re.fullmatch(r"sensitivity|precision|.+_per_case.*|volume_error(_ml)?|.+_(threshold|auc|count_size)", name)
)


def base_score(name: str) -> str:
    """The entry of SCORES of a score: that of `surface_dice` for surface_dice_1mm, of a size without its range."""
    return re.sub(r"^surface_dice_.+mm$", "surface_dice", re.sub(r"_size_.+$", "_size", name))


def score_texts(name: str) -> tuple[str, str]:
    """The title of a score, and how it averages.

    >>> score_texts("surface_dice_1mm")[0]
    'surface Dice at 1 mm'
    >>> score_texts("lesion_count_size_1_inf_ml")[0]
    'true lesions from 1 ml on'
    """
    base = base_score(name)
    title, rule = SCORES[base]
    if base == name:
        return title, rule
    if base.endswith("_size"):
        return f"{title} {size_text(name.removeprefix(base + '_'))}", rule
    tolerance = name.removeprefix("surface_dice_").removesuffix("mm")
    return f"{title} at {tolerance} mm", rule


def size_text(name: str) -> str:
    """A range of `losses.whole_images.sizes.SizeBins` for readers.

    >>> size_text("0_100"), size_text("100_1000")
    ('below 100 pixels', 'from 100 to 1000 pixels')
    """
    low, high, *units = name.split("_")
    unit = units[0] if units else "pixels"
    if high == "inf":
        return f"from {low} {unit} on"
    return f"below {high} {unit}" if low == "0" else f"from {low} to {high} {unit}"


def in_order(names: Iterable[str]) -> list[str]:
    """Those of some names that are scores, each once, in the order of SCORES.

    >>> in_order(["surface_dice_1mm", "states", "surface_dice", "dice", "dice"])
    ['dice', 'surface_dice', 'surface_dice_1mm']
    """
    places = {name: number for number, name in enumerate(SCORES)}
    found = [name for name in dict.fromkeys(names) if base_score(name) in places]
    return sorted(found, key=lambda name: (places[base_score(name)], base_score(name) != name))


def is_compared(name: str) -> bool:
    """Whether runs are compared by a score: it is one of cases, no count of all pixels and no threshold."""
    return base_score(name) in COMPARED

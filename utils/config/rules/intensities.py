"""Rules between the keys of PREPROCESS_DATA that say what happens to intensities."""

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.config.defaults import default_config
from utils.config.intensities import MASK, STATISTICS, measured_pixels, statistics_needed

KEY = "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE"


def preprocessing_reads_its_settings(cfg: DictConfig) -> None:
    group, table = cfg.PREPROCESS_DATA, load_object("models.image_preprocessing:IMAGE_PREPROCESSING")
    kind, usual = group.IMAGE_PREPROCESSING_TYPE, default_config().PREPROCESS_DATA
    given = {
        name: group[name] for name in ("PERCENTILES", "FOREGROUND", "SCOPE", "WINDOW") if group[name] != usual[name]
    }
    given |= {f"STATISTICS.{name}": value for name, value in group.STATISTICS.items() if value is not None}
    for name, value in given.items():
        top, _, number = name.partition(".")
        if top not in table[kind].settings or (number and number not in STATISTICS[kind]):
            able = [
                other
                for other, row in table.items()
                if top in row.settings and (not number or number in STATISTICS[other])
            ]
            raise UserError(
                f"{KEY}={kind} ignores PREPROCESS_DATA.{name}={value}: leave it out, or choose {' or '.join(able)}."
            )
    if group.PERCENTILES[0] == group.PERCENTILES[1]:
        raise UserError(f"PREPROCESS_DATA.PERCENTILES={group.PERCENTILES} must be two different numbers.")


def window_is_an_interval(cfg: DictConfig) -> None:
    group = cfg.PREPROCESS_DATA
    if group.IMAGE_PREPROCESSING_TYPE != "window":
        return
    if group.WINDOW is None or group.WINDOW[0] == group.WINDOW[1]:
        raise UserError(f"{KEY}=window needs two different numbers, such as PREPROCESS_DATA.WINDOW=[-200,250] (HU).")
    if group.VALUE_RANGE is not None:
        raise UserError(f"{KEY}=window leaves no use for VALUE_RANGE={list(group.VALUE_RANGE)}: leave one out.")


def scope_can_be_measured(cfg: DictConfig) -> None:
    group, table = cfg.PREPROCESS_DATA, load_object("models.image_preprocessing:IMAGE_PREPROCESSING")
    kind = group.IMAGE_PREPROCESSING_TYPE
    if table[kind].by_image and group.SCOPE == "image" and cfg.DATASET.CROP.MODE is not None:
        raise UserError(
            f"{KEY}={kind} measures whole images, DATASET.CROP.MODE={cfg.DATASET.CROP.MODE} trains on parts of them: "
            "choose PREPROCESS_DATA.SCOPE=dataset, of prepared scans and TIFF stacks SCOPE=volume, or "
            "PREPROCESS_DATA.RESIZE.VALUE=True in place of CROP."
        )
    if group.FOREGROUND == MASK and group.SCOPE != "dataset":
        raise UserError(
            f"PREPROCESS_DATA.FOREGROUND=mask needs the masks of the training set: choose SCOPE=dataset, or of the "
            f"{group.SCOPE} FOREGROUND=True, the values above 0."
        )


def statistics_are_complete(cfg: DictConfig) -> None:
    group = cfg.PREPROCESS_DATA
    needed, kind = statistics_needed(group), group.IMAGE_PREPROCESSING_TYPE
    if needed and measured_pixels(group) == MASK and cfg.MODEL.TYPE == "classifier":
        raise UserError(
            f"{KEY}={kind} measures the foreground of masks, which MODEL.TYPE=classifier has not: choose zscore, of "
            "all images with PREPROCESS_DATA.SCOPE=dataset."
        )
    given = group.STATISTICS  # a channel of one value has a STD of 0 and LOW = HIGH
    if given.STD is not None and min(given.STD) < 0:
        raise UserError(f"PREPROCESS_DATA.STATISTICS.STD={list(given.STD)}: a standard deviation is not below 0.")
    if given.LOW and given.HIGH and any(low > high for low, high in zip(given.LOW, given.HIGH, strict=False)):
        raise UserError(
            f"PREPROCESS_DATA.STATISTICS: LOW={list(given.LOW)} must not lie above HIGH={list(given.HIGH)}."
        )
    lengths = {name: len(value) for name, value in group.STATISTICS.items() if value is not None}
    if lengths and not needed:
        raise UserError(
            f"{KEY}={kind} of the {group.SCOPE} ignores PREPROCESS_DATA.STATISTICS.{next(iter(lengths))}: leave it "
            "out, or choose PREPROCESS_DATA.SCOPE=dataset."
        )
    if lengths and lengths != dict.fromkeys(needed, cfg.INPUT.CHANNELS):
        raise UserError(
            f"PREPROCESS_DATA.STATISTICS={dict(group.STATISTICS)} needs {', '.join(needed[:-1])} and {needed[-1]} "
            f"together, each with INPUT.CHANNELS={cfg.INPUT.CHANNELS} numbers; or leave all out."
        )

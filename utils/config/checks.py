"""Check a config: its values against the schema, then the rules between keys."""

from omegaconf import DictConfig

from utils.base.registry import load_object
from utils.config.rules import DEVICE_RULES, MASK_RULES, RULES
from utils.config.values import check_values


def check_config(cfg: DictConfig) -> None:
    """Check every value against the schema, then the rules between keys, then what the model needs.

    Raises:
        UserError: names the key, its value, the rule and what would be right.

    >>> from utils.config import load_config
    >>> check_config(load_config(["SEED=7"]))
    """
    check_values(cfg)
    for rule in RULES if cfg.MODEL.TYPE == "classifier" else (*RULES, *MASK_RULES):
        rule(cfg)
    load_object("models:check_model")(cfg)


def check_strategy(cfg: DictConfig) -> None:
    """Check the rules about devices again, once it is known that `STRATEGY.NAME=auto` means several workers."""
    for rule in DEVICE_RULES:
        rule(cfg)

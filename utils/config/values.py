"""Check single values of the config against their default and their rule."""

from omegaconf import DictConfig, ListConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.registry import list_choices, load_object
from utils.config.defaults import unknown_key
from utils.config.rules import OPTIONAL_KEYS, RULES, Rule


def check_level(node, default, prefix):
    """Check one level of the config and what lies below it."""
    for name in default:
        if name not in node:
            raise UserError(f"{prefix}{name} is missing: it cannot be removed, set it to null if it may be empty.")
    for name in node:
        key = f"{prefix}{name}"
        if key in OPTIONAL_KEYS:
            check_value(key, node[name], OPTIONAL_KEYS[key](), Rule(low=0))
        elif key == "LOSS":
            continue
        elif name not in default:
            raise UserError(unknown_key(key))
        elif isinstance(default._get_node(name), DictConfig):
            if not isinstance(node[name], DictConfig):
                raise UserError(f"{key}={node[name]} must be a group of keys: {', '.join(default[name])}.")
            check_level(node[name], default[name], f"{key}.")
        else:
            check_value(key, node[name], default_value(default, name), RULES.get(key, Rule()))


def default_value(default, name):
    """The default, or what it points to (`${INPUT.HEIGHT}`)."""
    node = default._get_node(name)
    return default[name] if not isinstance(node, ListConfig) else list(node)


def check_value(key, value, default, rule):
    """Check one value against the type of its default and its rule."""
    types = rule.types or (type(default),)
    if float in types:
        types = types + (int,)
    if isinstance(value, ListConfig):
        value = OmegaConf.to_container(value)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in dict.fromkeys(types))
        raise UserError(f"{key}={value} has the wrong type: expected {names}, got {type(value).__name__}.")
    if rule.choices is not None:
        choices = tuple(load_object(rule.choices)) if isinstance(rule.choices, str) else rule.choices
        entries = value if isinstance(value, list) else [value]
        for entry in entries:
            if entry not in choices:
                raise UserError(f"{key}={entry} is not known. {list_choices(entry, choices)}")
        if not entries or len(set(entries)) < len(entries):
            raise UserError(f"{key}={value} must name at least one of {', '.join(map(str, choices))}, each once.")
        return
    if rule.length is not None and isinstance(value, list) and len(value) != rule.length:
        raise UserError(f"{key}={value} needs {rule.length} entries, got {len(value)}.")
    wrong = [entry for entry in value if type(entry) not in rule.items] if isinstance(value, list) else []
    if wrong:
        names = " or ".join(kind.__name__ for kind in rule.items)
        raise UserError(f"{key}={value} has the wrong type: every entry must be {names}, not {wrong[0]}.")
    if value == "":
        raise UserError(f"{key} must not be empty.")
    for number in value if isinstance(value, list) else [value]:
        if not is_number(number):
            continue
        if number != number:
            raise UserError(f"{key}={value} must be a number.")
        if rule.low is not None and number < rule.low:
            raise UserError(f"{key}={value} is too small: at least {rule.low:g}.")
        if rule.high is not None and number > rule.high:
            raise UserError(f"{key}={value} is too large: at most {rule.high:g}.")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)

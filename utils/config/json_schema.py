"""The schema of the config as JSON Schema, with which editors complete keys, show what they do and underline errors."""

from types import NoneType
from typing import Any

from omegaconf import OmegaConf

from utils.base.keys import Group, Key
from utils.config.defaults import default_config
from utils.config.descriptions import read_descriptions
from utils.config.schema import SCHEMA

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAMES = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "string",
    NoneType: "null",
    list: "array",
    dict: "object",
}
INTERPOLATION = {"type": "string", "pattern": r"\$\{.+\}", "description": "the value of another key"}
HYDRA_KEYS = {
    "defaults": {"type": "array", "description": "the files that this one builds on, in order (Hydra)"},
    "hydra": {"type": "object", "description": "settings of Hydra itself"},
}


def build_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema by file name in `configs/`: one for config.yaml and experiments, one for each group of presets."""
    descriptions, defaults = read_descriptions(), plain_defaults()
    documents = {"schema.json": group_schema(SCHEMA, "", descriptions, defaults)}
    for folder in ("loss", "augmentation"):
        name = folder.upper()
        group = SCHEMA.keys[name]
        assert isinstance(group, Group)
        documents[f"{folder}/schema.json"] = group_schema(group, f"{name}.", descriptions, defaults)
    for document in documents.values():
        document["properties"] = {**HYDRA_KEYS, **document["properties"]}
        document["$defs"] = {"interpolation": INTERPOLATION}
    return {name: {"$schema": DRAFT, **document} for name, document in documents.items()}


def group_schema(group: Group, prefix: str, descriptions: dict[str, str], defaults: Any) -> dict[str, Any]:
    """The schema of a group. No key is required: experiments and presets set a few."""
    properties = {}
    for name, key in group.keys.items():
        full = f"{prefix}{name}"
        described = {"description": descriptions[full]} if full in descriptions else {}
        if isinstance(key, Group):
            properties[name] = {**described, **group_schema(key, f"{full}.", descriptions, defaults)}
        else:
            properties[name] = {**described, **key_schema(key), **default_of(full, defaults)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def key_schema(key: Key) -> dict[str, Any]:
    """The schema of a value. Any value may be an interpolation."""
    choices = key.allowed()
    limits = {"minimum": key.low, "maximum": key.high}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    if choices is not None and list not in key.types:
        return {"anyOf": [{"enum": list(choices)}, {"$ref": "#/$defs/interpolation"}]}
    schema: dict[str, Any] = {"type": one_or_list([NAMES[kind] for kind in key.types]), **limits}
    if list in key.types:
        kinds = [NAMES[kind] for kind in key.entry_types if kind is not int or float not in key.entry_types]
        items = {"type": one_or_list(kinds), **limits}
        schema["items"] = {"enum": list(choices)} if choices is not None else items
        if key.length is not None:
            schema |= {"minItems": key.length, "maxItems": key.length}
    if str in key.types:
        return schema
    return {"anyOf": [schema, {"$ref": "#/$defs/interpolation"}]}


def one_or_list(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def plain_defaults() -> Any:
    """The defaults as they stand in the YAML files, with interpolations, as dicts."""
    return OmegaConf.to_container(default_config(), resolve=False)


def default_of(key: str, defaults: Any) -> dict[str, Any]:
    """The default of a key in `plain_defaults`; nothing for a key without one."""
    node = defaults
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return {}
        node = node[name]
    return {"default": node}

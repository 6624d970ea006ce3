"""The schema of the config: it fits the YAML files, and what is generated from it is up to date."""

import json

import jsonschema
import pytest
from omegaconf import DictConfig, OmegaConf

from losses import LOSSES
from utils.base.errors import UserError
from utils.base.keys import Group, Key, Role
from utils.config import load_config
from utils.config.defaults import CONFIGS, default_config
from utils.config.descriptions import read_descriptions
from utils.config.generate import generated_files
from utils.config.overrides import override_key
from utils.config.schema import SCHEMA, has_role, keys_with_role
from utils.config.values import check_value

YAML_FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("**/*.yaml"))


def keys_of(node, prefix=""):
    """Dotted names of all keys of a config, in order."""
    for name in node:
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            yield from keys_of(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def schema_of(name):
    """The JSON Schema that a YAML file names at its top."""
    lines = (CONFIGS / name).read_text().splitlines()[:2]
    (reference,) = [line.split("$schema=")[1] for line in lines if line.startswith("# yaml-language-server: $schema=")]
    return json.loads(((CONFIGS / name).parent / reference).read_text())


def test_schema_and_config_have_the_same_keys_in_the_same_order():
    def ordered(names):
        return [name for name in names if not name.startswith(("LOSS.", "AUGMENTATION."))]

    declared, written = [name for name, _ in SCHEMA.leaves()], list(keys_of(default_config()))
    assert ordered(declared) == ordered(written)
    assert {name for name in declared if not name.startswith("LOSS.")} == {
        name for name in written if not name.startswith("LOSS.")
    }


def test_every_key_has_a_description():
    described = read_descriptions()
    assert [name for name in keys_of(default_config()) if name not in described and not name.startswith("LOSS.")] == []


def test_generated_files_are_up_to_date():
    files = generated_files()
    assert len(files) == 4
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m utils.config.generate"


@pytest.mark.parametrize("name", YAML_FILES)
def test_yaml_files_fit_the_schema_that_they_name(name):
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / name), resolve=False)
    errors = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(content)]
    assert not errors


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.yaml", {"SEED": "seven"}),
        ("config.yaml", {"MODEL": {"TYPE": "unet4"}}),
        ("config.yaml", {"MODEL": {"TYP": "unet"}}),
        ("config.yaml", {"HYPER_PARAMETERS": {"EPOCHS": 0}}),
        ("config.yaml", {"EVALUATION": {"SPLITS": ["dev"]}}),
        ("config.yaml", {"AUGMENTATION": {"ROTATION": {"DEGREES": [1]}}}),
        ("loss/dice.yaml", {"dise": 1.0}),
        ("augmentation/light.yaml", {"BLUR": {"PROBABILITY": 2}}),
    ],
)
def test_an_editor_underlines_what_is_wrong(name, content):
    assert not jsonschema.Draft202012Validator(schema_of(name)).is_valid(content)


@pytest.mark.parametrize(
    "value, key, words",
    [
        (True, Key(int), "wrong type: expected int, got bool"),
        (1, Key(float), None),
        ([1, 2.5], Key(list[float]), None),
        ([1, True], Key(list[float]), "every entry must be int or float"),
        (float("inf"), Key(float), "finite number"),
        ([2, 1], Key(list[int], length=2, ascending=True), "begin with the smaller number"),
        ("c", Key(choices=("a", "b")), "Choices: a, b"),
        ("c", Key(choices=(None, "a")), "Choices: null, a"),
        ("t1", Key(list[str] | None), r"expected list or null, got str. For a list of one, type .*=\[t1\]"),
        (None, Key(choices=(None, "a")), None),
        ([], Key(list[str], choices=("a", "b")), "at least one of a, b"),
        (2**32, Key(int, low=0, high=2**32 - 1), "too large"),
    ],
)
def test_values(value, key, words):
    if words is None:
        check_value("KEY", value, key)
    else:
        with pytest.raises(UserError, match=words):
            check_value("KEY", value, key)


def test_roles_of_groups_hold_for_the_keys_below():
    group = Group(Role.RESUMABLE, A=Key(int, roles=Role.OUTPUT), B=Group(C=Key(int)))
    assert {name: key.roles for name, key in group.leaves()} == {
        "A": Role.RESUMABLE | Role.OUTPUT,
        "B.C": Role.RESUMABLE,
    }
    assert has_role("CALLBACKS.MODEL_CHECKPOINT", Role.RESUMABLE) and has_role("CALLBACKS.NEW", Role.RESUMABLE)
    assert not has_role("MODEL.TYPE", Role.RESUMABLE) and not has_role("NO.SUCH", Role.RESUMABLE)


def test_roles_as_before_the_schema():
    """Moving a key out of a role would refuse, or wrongly load, what users have."""
    assert keys_with_role(Role.PER_COMMAND)[:4] == ["WORK_DIR", "OVERRIDES", "RESUME", "DATASET.CACHE"]
    fixed = {"MODEL.TYPE", "MODEL.FILTERS", "MODEL.BACKBONE.WEIGHTS", "INPUT.CHANNELS", "OUTPUT.CLASSES"}
    free = {"MODEL.L2", "MODEL.PRUNE", "MODEL.WINOGRAD", "MODEL.DECODER.DROPOUT", "INPUT.HEIGHT", "SEED"}
    assert fixed <= set(keys_with_role(Role.ARCHITECTURE)) and not free & set(keys_with_role(Role.ARCHITECTURE))
    assert has_role("HYPER_PARAMETERS.EPOCHS", Role.RESUMABLE)
    assert not has_role("HYPER_PARAMETERS.BATCH_SIZE", Role.RESUMABLE)


def test_every_loss_option_in_the_config_is_declared_by_its_row():
    cfg = load_config()
    assert {name: set(options) for name, options in cfg.LOSS_OPTIONS.items()} == {
        name: set(term.options) for name, term in LOSSES.items() if term.options
    }


@pytest.mark.parametrize("override", ["~LOSS_OPTIONS.dice", "~LOSS_OPTIONS.dice.smooth"])
def test_loss_options_cannot_be_removed(override):
    with pytest.raises(UserError, match=r"LOSS_OPTIONS\.dice\.smooth is missing"):
        load_config([override])


def test_a_term_of_another_preset_is_added_with_a_plus():
    assert load_config(["+LOSS.dice=1"]).LOSS.dice == 1
    with pytest.raises(UserError, match=r"add it with a plus, \+LOSS\.dice"):
        load_config(["LOSS.dice=1"])


@pytest.mark.parametrize(
    "override, key", [("loss=dice", "LOSS"), ("+LOSS.dice=1", "LOSS.dice"), ("++SEED=1", "SEED"), ("~SEED", "SEED")]
)
def test_key_of_an_override(override, key):
    assert override_key(override) == key

"""Names with any characters on the command line: what Hydra cannot read says how to quote, and that is then read."""

import shlex

import pytest
from helpers import assert_one_clear_error, run_command
from hydra._internal.utils import get_args_parser

from utils.base.errors import UserError
from utils.config import load_config
from utils.config.overrides import command_line, quoted, text_override
from utils.config.slips import (
    HYDRA_FLAGS,
    HYDRA_FLAGS_WITH_VALUE,
    SHORT_FLAGS,
    SHORT_FLAGS_WITH_VALUE,
    refuse_slips,
)

UNREADABLE = ["my data/a=b", "data (1)", "data(1)", "scans [old]", "R&D", "~/data", "été", "it's", 'the "old"', "a#b"]
ODD = [
    "a b,c",
    "$x",
    "${x}",
    "${x",
    "a${SEED}b",
    "\\${x}",
    "back\\",
    "b\\\\",
    'a\\"b',
    "{a}",
    "[a]",
    "true",
    "007",
    "*",
    "`x`",
]


@pytest.mark.parametrize("name", UNREADABLE)
def test_the_message_quotes_what_was_typed(name):
    with pytest.raises(UserError) as error:
        load_config([f"PREDICT.INPUT={name}"])
    assert quoted(f"PREDICT.INPUT={name}") in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", UNREADABLE + ODD)
def test_a_quoted_name_is_read_as_it_is(name):
    (typed,) = shlex.split(quoted(f"PREDICT.INPUT={name}"))
    assert name == load_config([typed]).PREDICT.INPUT


@pytest.mark.parametrize("name", ["liver", *UNREADABLE, *ODD])
def test_a_text_is_read_as_it_is(name):
    assert name == load_config([text_override("PREDICT.INPUT", name)]).PREDICT.INPUT


@pytest.mark.parametrize(
    "overrides",
    [
        ["+experiment=isbi_unet", "loss=dice", "augmentation=medical", "MODEL.FILTERS=[4,6]", "+bench_steps=3"],
        [
            "WORK_DIR='/my data/$x'",
            "DATASET.FOLDS=folds",
            "DATASET.FOLD=all",
            "OUTPUT.CLASS_NAMES=['a b',c]",
        ],
    ],
)
def test_a_command_typed_again_gives_the_same_config(overrides):
    cfg = load_config(overrides)
    python, script, *typed = shlex.split(command_line("train.py", cfg.OVERRIDES))
    assert (python, script) == ("python", "train.py") and load_config(typed) == cfg


def test_the_example():
    assert quoted("PREDICT.INPUT=my data/a=b") == "'PREDICT.INPUT=\"my data/a=b\"'"


@pytest.mark.parametrize("name", ["2018", "007", "1e3", "1_000", "-3", "3.10"])
def test_a_number_is_the_name_typed(name):
    assert name == load_config([f"PREDICT.INPUT={name}"]).PREDICT.INPUT
    assert name == load_config([f"DATASET.TRAIN.MASK_PATH={name}"]).DATASET.TRAIN.MASK_PATH


def test_a_list_of_numbers_is_one_of_names():
    assert load_config(["OUTPUT.CLASS_NAMES=[0,1]"]).OUTPUT.CLASS_NAMES == ["0", "1"]
    assert load_config(["PREDICT.INPUT=[2018,a]"]).PREDICT.INPUT == ["2018", "a"]
    with pytest.raises(UserError, match="every entry must be str"):
        load_config(["PREDICT.INPUT=[1_000]"])


def test_numbers_stay_numbers():
    cfg = load_config(["SEED=7", "DATASET.FOLD=null", "HYPER_PARAMETERS.LEARNING_RATE=1e-3"])
    assert cfg.SEED == 7 and cfg.HYPER_PARAMETERS.LEARNING_RATE == 1e-3


@pytest.mark.parametrize(
    "override, words",
    [
        ("PREDICT.INPUT=a,b", ["has commas", "'PREDICT.INPUT=\"a,b\"'", "'PREDICT.INPUT=[a,b]'", "--multirun"]),
        ("PREDICT.INPUT=[a=b,c]", ["quote its entries", "'PREDICT.INPUT=\"[a=b,c]\"'"]),
        ("PREDICT.INPUT=${x}", ["PREDICT.INPUT", "'x' not found", "backslash"]),
        ("data/b", ["data/b: this is not KEY=VALUE"]),
        ("conv_deconv", ["conv_deconv: type MODEL.TYPE=conv_deconv"]),
        ("=x", ["''", "Choices"]),
        ("lr=1e-3", ["Did you mean HYPER_PARAMETERS.LEARNING_RATE?"]),
        ("loss=dise", ["loss=dise", "Did you mean dice?", "bce_dice"]),
        ("+experiment=pets", ["experiment=pets is not known", "Choices: camvid_unet", "pets_mobilenetv2"]),
        ("+experiment=isbi_unt", ["Did you mean isbi_unet?"]),
        ("augmentation=medica", ["Did you mean medical?"]),
    ],
)
def test_one_line(override, words):
    with pytest.raises(UserError) as error:
        load_config([override])
    text = str(error.value)
    assert all(word in text for word in words) and "\n" not in text and "search path" not in text, text


@pytest.mark.parametrize(
    "words, answer",
    [
        ("--epochs 3", "--epochs 3: type HYPER_PARAMETERS.EPOCHS=3"),
        ("--epochs=3 SEED=1", "--epochs=3: type HYPER_PARAMETERS.EPOCHS=3"),
        ("-m --batch-size 4", "--batch-size 4: type HYPER_PARAMETERS.BATCH_SIZE=4"),
        ("--loss dice", "--loss dice: type loss=dice"),
        ("--epochs --lr 1e-3", "type HYPER_PARAMETERS.EPOCHS=... HYPER_PARAMETERS.LEARNING_RATE=1e-3"),
        ("--nothing-like-it 3", "--nothing-like-it 3: type KEY=3 (all keys: --help)"),
        ("HYPER_PARAMETERS.EPOCHS 3", "HYPER_PARAMETERS.EPOCHS 3: type HYPER_PARAMETERS.EPOCHS=3"),
        ("epochs 3", "epochs 3: type HYPER_PARAMETERS.EPOCHS=3"),
        ("SEED=1 loss=3", "or the name of a file in a folder of configs: loss=dice."),
        ("+experiment=null", "or the name of a file in a folder of configs: loss=dice."),
        ("=3", "or the name of a file in a folder of configs: loss=dice."),
    ],
)
def test_options_of_other_tools_are_answered_with_the_key(words, answer):
    with pytest.raises(UserError) as error:
        refuse_slips(words.split())
    assert str(error.value).endswith(answer)


@pytest.mark.parametrize(
    "words",
    [
        "-m SEED=1,2",
        "--multi SEED=1,2",
        "--cfg job",
        "--config-name seed SEED=1",
        "-cjob",
        "PREDICT.INPUT=my data",
        "-1",
    ],
)
def test_what_hydra_takes_is_left_to_it(words):
    refuse_slips(words.split())


def test_the_options_of_hydra_are_known():
    known = {*HYDRA_FLAGS, *HYDRA_FLAGS_WITH_VALUE, *SHORT_FLAGS, *SHORT_FLAGS_WITH_VALUE}
    actions = get_args_parser()._actions
    assert {flag for action in actions for flag in action.option_strings} == known
    takes_value = {flag for action in actions if action.nargs != 0 for flag in action.option_strings}
    assert takes_value == {*HYDRA_FLAGS_WITH_VALUE, *SHORT_FLAGS_WITH_VALUE}


@pytest.mark.parametrize("override", ["PREDICT.INPUT=R&D (old)", "PREDICT.INPUT=${x}", "loss=dise", "--epochs=3"])
def test_at_the_command_line(override):
    assert_one_clear_error(run_command("predict.py", override))

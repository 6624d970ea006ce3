"""Plans that start with the weights of a run: its network, and what of its classes goes on."""

import numpy as np
import pytest
from plan_helpers import grey, planned, refused, striped

from data_preparation.plan import main
from data_preparation.planning.networks import row_of
from data_preparation.planning.start_weights import Start
from models import build_model
from utils.checkpoints.saved_config import save_config
from utils.checkpoints.start_weights import find_start, start_with
from utils.config import load_config

CASES = [f"a{number}" for number in range(5)]
RUN = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "MODEL.HEAD.KERNEL=1", "INPUT.HEIGHT=32", "INPUT.WIDTH=32"]


def save_run(folder, *overrides, weights=False):
    """The config of a run, and its weights or a file in their place."""
    cfg = load_config([*RUN, *overrides])
    folder.mkdir(exist_ok=True)
    path = folder / "liver.weights.h5"
    if weights:
        build_model(cfg).save_weights(path)
    else:
        path.touch()
    save_config(cfg, path)
    return path


def test_a_plan_takes_the_network_and_all_of_it_fits(write, tmp_path, capsys):
    colour = np.dstack([grey(), 255 - grey(), grey()])
    write({case: (colour, striped([0, 1, 2])) for case in CASES})
    classes = ["OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[background,liver]", "INPUT.CHANNELS=1"]
    path = save_run(tmp_path / "run", *classes, weights=True)
    cfg = planned("--init", "run", "--names", "background,tumour,liver")
    assert str(path) == cfg.MODEL.INIT and cfg.MODEL.BACKBONE.WEIGHTS is None
    assert (cfg.MODEL.TYPE, cfg.MODEL.FILTERS, cfg.MODEL.HEAD.KERNEL) == ("unet", [4, 8], 1)
    assert "those of the same name go on: liver" in capsys.readouterr().out
    taken = start_with(build_model(cfg), cfg, find_start(cfg))
    assert not taken.left and len(taken.adapted) == 3  # the first kernel, kernel and bias of the head


@pytest.mark.parametrize(
    "there, names, words",
    [
        (["OUTPUT.CLASSES=3"], "background,tumour,liver", None),  # as many, unnamed there: taken in their order
        (
            ["OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[background,bone]"],
            "background,a,b",
            "bone): the last",
        ),
    ],
)
def test_classes_that_do_not_go_on_are_said(there, names, words, write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1, 2])) for case in CASES})
    save_run(tmp_path / "run", *there)
    planned("--init", "run/liver.weights.h5", "--names", names)
    printed = capsys.readouterr().out
    assert words in printed if words else "--init:" not in printed.split("saved")[0].rsplit("\n\n", 1)[1]


@pytest.mark.parametrize("there, kind", [("zscore", "zscore"), ("normalize", "normalize")])
def test_intensities_are_those_of_the_weights(there, kind, write, tmp_path):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    save_run(tmp_path / "run", f"PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE={there}", "OUTPUT.CLASSES=2")
    assert kind == planned("--init", "run").PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE


def test_weights_that_cannot_be_used_are_refused(write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    save_run(tmp_path / "run", "OUTPUT.CLASSES=2")
    for options, words in (
        (["gone"], "--init gone: there is no"),
        (["images"], "has to hold one file of weights"),
        (["run", "--model", "unet"], "--init brings its network: leave --model out"),
        (["run", "--weights", "imagenet"], "leave --weights out"),
    ):
        assert words in refused(capsys, "--init", *options)
    (tmp_path / "run/liver.yaml").unlink()
    assert "liver.yaml is missing" in refused(capsys, "--init", "run")
    assert not (tmp_path / "configs/experiment").exists()


def test_the_timing_needs_no_weights_and_memory_is_that_of_the_network(write, tmp_path, monkeypatch):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    path = save_run(tmp_path / "run", "OUTPUT.CLASSES=2")
    typed = []
    monkeypatch.setattr("data_preparation.planning.timing.time_steps", lambda overrides: typed.append(overrides) or 1.0)
    main(["images", "masks", "mine", "--quiet", "--init", "run"])
    timed = load_config(typed[0])
    assert timed.MODEL.INIT is None and timed.MODEL.FILTERS == [4, 8]
    for overrides, row in (
        (["MODEL.TYPE=unet"], "unet"),
        (["MODEL.TYPE=unet", "MODEL.BACKBONE.TYPE=mobilenetv2"], "unet on mobilenetv2"),
        (["MODEL.TYPE=unet", "MODEL.FILTERS=[16,32,64,128,256]"], "narrow_unet"),
        (["MODEL.TYPE=unet++"], "unet3plus"),
    ):
        assert row_of(Start(path, load_config(overrides))) == row

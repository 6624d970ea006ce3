"""Plans of slices with their neighbours as channels."""

import numpy as np
import pytest
from plan_helpers import first_sample, grey, planned, refused, striped

from data_generators.files.image_file import parts_of
from data_generators.files.pairing import find_pairs
from data_preparation.plan import main
from utils.config import load_config

OPTION = ["--slices-around", 1]


def volumes(write, pixels=None, form="scan{volume}_{number}", count=4):
    image = grey() if pixels is None else pixels
    write(
        {form.format(volume=v, number=n): (image // (n + 1), striped([0, 1])) for v in range(count) for n in range(12)}
    )


def test_neighbours_become_channels_and_volumes_stay_whole(write, capsys):
    volumes(write)
    cfg = planned()
    assert "slices of 4 volumes: --slices-around 1 --force" in capsys.readouterr().out
    assert cfg.DATASET.SLICES_AROUND == 0 and cfg.INPUT.CHANNELS == 1
    cfg = planned(*OPTION)
    assert "--slices-around 1 --force" not in capsys.readouterr().out
    assert cfg.DATASET.SLICES_AROUND == 1 and cfg.INPUT.CHANNELS == 3 and cfg.DATASET.BANDS is None
    image = first_sample(cfg)[0]
    assert image[0, 5].tolist() == [grey()[0, 5], grey()[0, 5], grey()[0, 5] // 2]  # the first slice, repeated
    assert len(find_pairs(cfg, "train")) == 36 and len(find_pairs(cfg, "val")) == 12


def test_slices_that_hold_their_neighbours_give_themselves(write):
    """By their pixels: three sequences under such names, as those of LGG, are colours."""
    slices = [grey() // (number + 1) for number in range(12)]
    bands = [np.dstack([slices[min(n + 1, 11)], slices[n], slices[max(n - 1, 0)]]) for n in range(12)]  # blue first
    write({f"image_{volume}_{n}": (bands[n], striped([0, 1])) for volume in range(4) for n in range(12)})
    cfg = planned()
    assert cfg.INPUT.CHANNELS == 3 and cfg.SHOW_CENTER_CHANNEL_IMAGE
    cfg = planned("--slices-around", 2)
    assert cfg.DATASET.BANDS == [2] and cfg.INPUT.CHANNELS == 5
    assert first_sample(cfg)[0][0, 5].tolist() == [slices[n][0, 5] for n in (0, 0, 0, 1, 2)]
    volumes(write, np.dstack([grey(), 255 - grey(), grey()]), "image_{volume}_{number}")
    assert not planned().SHOW_CENTER_CHANNEL_IMAGE
    cfg = planned(*OPTION)
    assert cfg.DATASET.BANDS is None and cfg.INPUT.CHANNELS == 9


@pytest.mark.parametrize(
    "form, count, options, words",
    [
        ("scan{volume}x{number}", 2, [], "its name does not end in _<number>"),
        ("scan{volume}_{number}", 2, ["--group", "none"], "is missing, a neighbour"),
        ("scan{volume}_{number}", 1, [], "12 images in one group"),
        ("scan{volume}_{number}", 2, ["--slices-around", -1], "--slices-around -1 must be 0 or more"),
    ],
)
def test_slices_of_broken_volumes_are_refused(form, count, options, words, write, tmp_path, capsys):
    volumes(write, form=form, count=count)
    assert words in refused(capsys, *OPTION, *options)
    assert not (tmp_path / "configs/experiment").exists()


def test_timing_takes_slices_with_their_neighbours(write, monkeypatch):
    volumes(write, count=2)  # by name, 10 and 11 precede 2
    seen = []

    def time_steps(overrides):
        seen.extend(len(parts_of(pair.image)) for pair in find_pairs(load_config(overrides), "train"))
        return 1.0

    monkeypatch.setattr("data_preparation.planning.timing.time_steps", time_steps)
    main(["images", "masks", "mine", "--quiet", *map(str, OPTION)])
    assert len(seen) > 2 and set(seen) == {3}

"""Which weights the page lists, and what it draws."""

import numpy as np
import pytest
from helpers import TINY, make_weights

from utils.base.errors import UserError
from utils.checkpoints import ENDING
from utils.config import load_config
from utils.inference.available import available_weights, expectation
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.writers.views import check_truth, dice_of_classes, draw_view

MEANING = MaskMeaning(["background", "liver", "tumour"], ignore_label=255)


def test_only_weights_that_can_be_used_are_listed_with_what_they_expect(tmp_path):
    run = ["RUN=abc", "CALLBACKS.MODEL_CHECKPOINT.MONITOR=dice"]
    make_weights(tmp_path, [*TINY, *run, "OUTPUT.CLASSES=3", "VERBOSE=0"])
    folder = tmp_path / "checkpoint"
    good = folder / f"model_tiny_unet3plus{ENDING}"
    content = good.read_bytes()
    (folder / f"model_tiny_unet3plus.older1{ENDING}").write_bytes(content)  # a backup
    (folder / f"stray{ENDING}").write_bytes(content)
    (folder / f"cut{ENDING}").write_bytes(content[:3000])
    (folder / "cut.yaml").write_bytes((folder / "model_tiny_unet3plus.yaml").read_bytes())
    (folder / "training_logs_tiny_unet3plus.csv").write_text(
        "epoch,val_dice,val_loss,run\n0,0.9,1,old\n0,nan,1,abc\n1,0.75,1,abc\n2,0.5,1,abc\n"
    )
    (folder / "model_tiny_unet3plus.run.json").write_text('{"best": {"constant_answer": 0.25}}')
    cfg = load_config([f"WORK_DIR={tmp_path}"])
    names, problems = available_weights(cfg)
    assert names == ["model_tiny_unet3plus"]
    assert "no stray.yaml" in problems.pop("stray") and "damaged" in problems.pop("cut") and not problems
    expected = str(expectation(cfg, names[0]))
    assert expected == "tiny_unet3plus, 48 x 48, 3 channels, 3 classes, dice 0.750 (constant answer 0.250)"


@pytest.fixture
def view(tmp_path):
    """A view with one error of class 1, class 2 missed, and a pixel that is not scored."""
    labels, truth = np.zeros((2, 8, 8), np.uint8)
    labels[0, :4], truth[0, :3], truth[7, 7], labels[7, 0], truth[7, 0] = 1, 1, 2, 1, 255
    np.savez(tmp_path / "view.npz", image=np.full((8, 8, 3), 100, np.uint8), labels=labels, truth=truth)
    return tmp_path / "view.npz"


def test_dice_is_of_all_views_together(view):
    background, liver, tumour = dice_of_classes([view, view], MEANING)
    assert liver == pytest.approx(6 / 7) and tumour == 0 and background == pytest.approx(2 * 58 / (59 + 59))
    check_truth(np.array([2, 255]), MEANING, "ct")
    with pytest.raises(UserError, match="holds the value 3"):
        check_truth(np.array([3]), MEANING, "ct")


def test_opacity_tints_areas_and_none_leaves_the_image(view):
    image = draw_view(view, 0, MEANING)
    assert (image == 100).all() and len(image) > 8  # small images are enlarged
    assert np.array_equal(draw_view(view, 1, MEANING)[10, 30], (230, 159, 0))  # inside the area, of class 1

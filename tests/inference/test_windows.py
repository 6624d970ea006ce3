"""The window of an unpadded network covers the image where it can, and a slow one says what it costs."""

import pytest

from utils.config import load_config
from utils.inference import windows
from utils.inference.windows import LARGEST, TileClock, tiles_at_once, unpadded_window

UNPADDED = ["MODEL.TYPE=unet", "MODEL.PADDING=valid"]


@pytest.mark.parametrize(
    "size, image, overrides, window",
    [
        (188, (512, 512), [], (700, 700)),  # 516 pixels of mask, where 188 gives 4
        (572, (512, 300), [], (700, 572)),  # the paper's 572 gives 388
        (188, (3, 4), [], (188, 188)),
        (188, (5000, 900), [], (LARGEST, LARGEST)),
        (1212, (5000, 500), [], (1212, 700)),  # trained on more than is usual
        (188, (512, 100), ["PREDICT.TTA=dihedral"], (700, 700)),
        (44, (100, 100), ["MODEL.FILTERS=[4,6,8]"], (172, 172)),
    ],
)
def test_the_window_covers_the_image_or_is_the_largest(size, image, overrides, window):
    cfg = load_config([*UNPADDED, f"INPUT.HEIGHT={size}", f"INPUT.WIDTH={size}", *overrides])
    assert unpadded_window(cfg, image) == window
    assert tiles_at_once(window) * window[0] * window[1] <= max(LARGEST**2, window[0] * window[1])


def test_a_slow_window_is_said_once_after_its_second_batch(monkeypatch, capsys):
    now = iter([0.0, 2.0, 0.0, 0.01, 0.0, 3.0])
    monkeypatch.setattr(windows.time, "perf_counter", lambda: next(now))
    clock = TileClock()
    clock.start((512, 512), (188, 188))
    clock(4, 100)
    assert capsys.readouterr().err == ""
    clock(8, 100)
    assert "512x512 takes 100 tiles of 188x188: about 46 s left" in capsys.readouterr().err
    for _ in range(2):  # the next images say nothing more
        clock.start((512, 512), (188, 188))
        clock(4, 100)
        clock(8, 100)
    assert capsys.readouterr().err == ""

"""app.py: the page, in a browser and without one."""

import nibabel as nib
import numpy as np
import pytest
from helpers import TINY, make_weights, run_command

from app import area_table, find_weights
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with weights and a volume of 6 slices."""
    folder = tmp_path_factory.mktemp("app")
    make_weights(folder, [*TINY, "VERBOSE=0"])
    values = np.random.default_rng(0).normal(20, 150, (60, 52, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([1, 1, 3, 1])), folder / "scan.nii.gz")
    return folder


def test_a_volume_gives_a_picture_per_slice_and_labels(trained, tmp_path):
    cfg = load_config([f"WORK_DIR={trained}"])
    assert find_weights(cfg) == ["model_tiny_unet3plus"]
    segment = Segmenter(cfg, tmp_path)
    pictures, mask, table = segment("model_tiny_unet3plus", trained / "scan.nii.gz")
    labels = nib.load(mask)
    assert labels.shape == (60, 52, 6) and len(pictures) == 6
    foreground = int((np.asarray(labels.dataobj) == 1).sum())
    assert f"| class1 | {foreground:,} |" in area_table(table)
    (trained / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"bad\.png"):
        segment("model_tiny_unet3plus", trained / "bad.png")
    again, _, _ = segment("model_tiny_unet3plus", trained / "scan.nii.gz")
    assert again != pictures  # results of an earlier file are still there to be downloaded


def test_without_weights_there_is_one_clear_line(tmp_path):
    result = run_command("app.py", f"WORK_DIR={tmp_path}")
    assert result.returncode == 2 and "train a model first" in result.stderr and "Traceback" not in result.stderr


def test_the_page_in_a_browser(trained, browser, free_port, tmp_path):
    """Drop a volume, press the button, scroll to another slice, find the file of the labels."""
    pytest.importorskip("gradio")
    from selenium.webdriver.support.ui import WebDriverWait

    from app import ADDRESS, make_page, theme

    page = make_page(load_config([f"WORK_DIR={trained}"]), ["model_tiny_unet3plus"], tmp_path)
    page.launch(server_name=ADDRESS, server_port=free_port, prevent_thread_lock=True, quiet=True, theme=theme())
    try:
        browser.set_window_size(1200, 900)
        browser.get(f"http://{ADDRESS}:{free_port}/")
        wait = WebDriverWait(browser, 25)

        def find(selector):
            return wait.until(lambda browser: browser.find_element("css selector", selector))

        find("#file input[type=file]").send_keys(str(trained / "scan.nii.gz"))
        wait.until(lambda browser: "scan" in find("#file").text)
        find("#segment").click()
        shown = find("#picture img").get_attribute("src")
        assert "class1" in find("#message").text and "scan" in find("#mask").text
        slider = find("#slice input[type=number]")
        assert slider.get_attribute("value") == "2"
        slider.clear()
        slider.send_keys("4\n")
        wait.until(lambda browser: find("#picture img").get_attribute("src") != shown)
        assert all("Failed to load" not in entry["message"] for entry in browser.get_log("browser"))
    finally:
        page.close()

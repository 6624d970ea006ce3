"""app.py: the page, in a browser and without one."""

import json
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers import TINY, make_weights, run_command

from app import area_table, find_weights
from utils.base.errors import UserError
from utils.config import load_config
from utils.inference.segmenter import Segmenter
from utils.inference.writers.views import LEAST_VIEW


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
    result = segment("model_tiny_unet3plus", trained / "scan.nii.gz")
    labels = nib.load(result.masks[0])
    assert labels.shape == (60, 52, 6) and len(result.views) == 6 and result.dice is None
    foreground = int((np.asarray(labels.dataobj) == 1).sum())
    assert f"| class1 | {foreground:,} |" in area_table(result.table)
    (trained / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"bad\.png"):
        segment("model_tiny_unet3plus", trained / "bad.png")
    again = segment("model_tiny_unet3plus", trained / "scan.nii.gz", Path(result.masks[0]))  # the prediction as truth
    assert again.dice in ([1, 1], [1, None], [None, 1])
    assert again.views != result.views  # results of an earlier file are still there to be downloaded


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory):
    """The address of a page that is served."""
    pytest.importorskip("gradio")
    from app import ADDRESS, launch_options, make_page

    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    page = make_page(load_config([f"WORK_DIR={trained}"]), ["model_tiny_unet3plus"], tmp_path_factory.mktemp("results"))
    page.launch(server_name=ADDRESS, server_port=port, prevent_thread_lock=True, quiet=True, **launch_options())
    yield f"http://{ADDRESS}:{port}"
    page.close()


def status_of(url, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


def test_pages_elsewhere_and_files_of_this_machine_are_refused(page, trained):
    assert status_of(page) == 200 and status_of(page, Host="localhost:80") == 200
    assert status_of(page, Host="evil.example") == 400  # DNS rebinding
    for file in ("/etc/passwd", trained / "scan.nii.gz", trained / "checkpoint/model_tiny_unet3plus.yaml"):
        assert status_of(f"{page}/gradio_api/file={file}") == 403


def test_wrong_files_and_several_requests_at_once(page, trained, capfd):
    from gradio_client import Client, handle_file

    client = Client(page, verbose=False)

    def segment(path):
        return client.predict("model_tiny_unet3plus", handle_file(str(path)), api_name="/run")[-1]

    (trained / "a.txt").write_text("no picture")
    (trained / "broken.png").write_bytes(b"no picture")
    assert "a.txt is no image or scan" in segment(trained / "a.txt")
    assert "broken.png" in segment(trained / "broken.png")
    scan, paths = nib.load(trained / "scan.nii.gz"), [trained / f"scan{number}.nii.gz" for number in range(4)]
    for number, path in enumerate(paths):
        nib.save(nib.Nifti1Image(np.roll(np.asarray(scan.dataobj), 9 * number, axis=0), scan.affine), path)
    alone = [segment(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(segment, paths)) == alone and all("| class1 |" in table for table in alone)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "name, data", [("run", []), ("run", [5, {"path": "/etc/passwd"}]), ("run", ["../x", None]), ("lambda", ["x"])]
)
def test_requests_made_by_hand_print_one_line(name, data, page, capfd):
    call = f"{page}/gradio_api/call/{name}"
    request = urllib.request.Request(call, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"})
    event = json.load(urllib.request.urlopen(request, timeout=20))["event_id"]
    assert b"event: error" in urllib.request.urlopen(f"{call}/{event}", timeout=20).read()
    printed = capfd.readouterr().err
    assert "A request could not be answered" in printed and "Traceback" not in printed


def test_without_weights_there_is_one_clear_line(tmp_path):
    result = run_command("app.py", f"WORK_DIR={tmp_path}")
    assert result.returncode == 2 and "train a model first" in result.stderr and "Traceback" not in result.stderr


def test_the_page_in_a_browser(trained, browser, free_port, tmp_path):
    """Drop a volume, press the button, scroll to another slice, find the file of the labels."""
    pytest.importorskip("gradio")
    from selenium.webdriver.support.ui import WebDriverWait

    from app import ADDRESS, launch_options, make_page

    page = make_page(load_config([f"WORK_DIR={trained}"]), ["model_tiny_unet3plus"], tmp_path)
    page.launch(server_name=ADDRESS, server_port=free_port, prevent_thread_lock=True, quiet=True, **launch_options())
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
        width = "return document.querySelector('#picture img').naturalWidth"
        wait.until(lambda browser: browser.execute_script(width) >= LEAST_VIEW)  # loaded, and enlarged
        assert "class1" in find("#message").text and "scan" in find("#mask").text
        slider = find("#slice input[type=number]")
        assert slider.get_attribute("value") == "2"
        slider.clear()
        slider.send_keys("4\n")
        wait.until(lambda browser: find("#picture img").get_attribute("src") != shown)
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        right = (  # of the last column beside a long name, and of the picture above
            "document.querySelector('#message td:nth-child(2)').textContent = 'a'.repeat(40);"
            "return ['#message td:last-child', '#opacity'].map(one =>"
            " document.querySelector(one).getBoundingClientRect().right)"
        )
        table, above = browser.execute_script(right)
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert table <= above + 1
        assert all("Failed to load" not in entry["message"] for entry in browser.get_log("browser"))
    finally:
        page.close()

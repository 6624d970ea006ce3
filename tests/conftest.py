"""What the tests share: small phantom data, small configs, command lines."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def float32_policy():
    """A test that asks for mixed precision must not change the next one."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


def run_command(*arguments, cwd=PROJECT, timeout=300, **environment):
    """Run a script of the project as a user does; returns the completed process with text output."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_one_clear_error(result, *words):
    """Exit code 2, no traceback, and every word in the message."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, f"{word!r} not in: {result.stderr}"


def installed(loaders):
    """The loaders whose packages are there: all but perhaps DALI."""
    return [name for name in loaders if name != "DALI_GENERATOR" or importlib.util.find_spec("nvidia")]


def full(loaders):
    """The loaders that do everything: crops, resizing, all of AUGMENTATION."""
    return [name for name in loaders if name != "DALI_GENERATOR"]


def source_of(loader, folder):
    """Settings with which a loader reads `data/train` and `data/val` ; TFRECORD from shards written here."""
    if loader != "TFRECORD":
        return []
    from data_preparation.tfrecord import write_shards

    for split in ("train", "val"):
        write_shards(
            *(folder / "data" / split / kind for kind in ("images", "mask")), folder / "shards", split, 2, "none"
        )
    return [f"DATASET.{split.upper()}.IMAGES_PATH=shards/{split}-*.tfrec" for split in ("train", "val")]


def model_types(names):
    """Parameters of a test that takes seconds for each MODEL.TYPE: those whose layers all stand in another are slow."""
    contained = ("unet3plus", "unet3plus_deepsup")  # in tiny_unet3plus and unet3plus_deepsup_cgm
    return [pytest.param(name, marks=[pytest.mark.slow] if name in contained else []) for name in names]


# A network that trains in seconds; the phantom is prepared at this size.
TINY = ["MODEL.TYPE=tiny_unet3plus", "MODEL.FILTERS=[4,8,8]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48"]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A working folder with prepared phantom scans: 2 training and 1 validation volumes of 10 slices, 48x48."""
    from data_preparation.make_phantom import make_phantom
    from data_preparation.preprocess_data import preprocess_data
    from utils.config import load_config

    folder = tmp_path_factory.mktemp("phantom")
    make_phantom(folder / "data", volumes_train=2, volumes_val=1, size=48, slices=10)
    preprocess_data(load_config([f"WORK_DIR={folder}", "VERBOSE=0", *TINY]))
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium at the size of a phone; the tests are skipped where there is none."""
    chromium, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with its driver here (apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=500,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def tf_config(cluster, job="worker", index=1):
    """What the environment variable TF_CONFIG says to one worker."""
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


@pytest.fixture
def nowhere(monkeypatch):
    """An environment that names no other workers."""
    for name in [name for name in os.environ if name.startswith(("TF_CONFIG", "SLURM", "KUBERNETES", "POD_IP"))]:
        monkeypatch.delenv(name)
    return monkeypatch


def slurm(nodes, tasks_per_node, rank, node, local, tasks):
    return {
        "SLURM_JOB_ID": "12345",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(local),
        "SLURMD_NODENAME": node,
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks_per_node,
    }

"""What the tests share: small phantom data, small configs, command lines."""

import copy
import io
import os
import shutil
import signal
import socket

from helpers import TINY

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from omegaconf import OmegaConf

from utils.base.startup import without_unused_packages

with without_unused_packages():  # as the commands do it
    import keras

# Composing a configuration is half of what the tests without a network take, and reading its files a third of that.
load_yaml, files_read = OmegaConf.load, {}


def load_once(file):
    """`OmegaConf.load`, which reads a file that has not changed a single time."""
    if not isinstance(file, io.TextIOWrapper):  # a path, a text
        return load_yaml(file)
    state = os.stat(file.name)
    key = (file.name, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in files_read:
        files_read[key] = load_yaml(file)
    return copy.deepcopy(files_read[key])


OmegaConf.load = load_once

# A shell that starts the tests in the background ignores these for them, and for the commands that they start.
# nohup ignores the last.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def float32_policy():
    """A test that asks for mixed precision must not change the next one."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A working folder with prepared phantom scans: 2 training and 1 validation volumes of 10 slices, 48x48."""
    from data_preparation.make_phantom import make_phantom
    from data_preparation.preprocess_data import preprocess_data
    from utils.config import load_config

    folder = tmp_path_factory.mktemp("phantom")
    make_phantom(folder / "data", volumes_train=2, volumes_val=1, size=48, slices=10)
    preprocess_data(load_config([f"WORK_DIR={folder}", "VERBOSE=0", "DATA_PREPARATION.WORKERS=1", *TINY]))
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


@pytest.fixture
def nowhere(monkeypatch):
    """An environment that names no other workers."""
    for name in [name for name in os.environ if name.startswith(("TF_CONFIG", "SLURM", "KUBERNETES", "POD_IP"))]:
        monkeypatch.delenv(name)
    return monkeypatch

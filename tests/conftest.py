"""What the tests share: small phantom data, small configs, command lines."""

import atexit
import os
import shutil
import signal
import socket
import tempfile

import quick_helpers
from helpers import TINY

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from utils.base.startup import without_unused_packages

quick_helpers.save_work()
if "PYTEST_XDIST_WORKER" not in os.environ:  # what is compiled is kept for these tests alone
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# Folders and files of tests that train or start commands, most of them.
LONG = {
    "devices",
    "training",
    "commands",
    "faults",
    "test_docs.py",
    "test_loaders.py",
    "test_split.py",
    "test_sweeps.py",
}

# A shell that starts the tests in the background ignores these for them, and for the commands that they start.
# nohup ignores the last.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config):
    """Import Keras as the commands do it, but not in the process that only hands the tests to others."""
    if not getattr(config.option, "numprocesses", None):
        with without_unused_packages():
            import keras  # noqa: F401


def pytest_collection_modifyitems(items):
    """Long tests first: at the end, short ones keep every process busy."""
    items.sort(key=lambda item: LONG.isdisjoint(item.path.parts))


@pytest.fixture(autouse=True)
def float32_policy():
    """A test that asks for mixed precision must not change the next one."""
    yield
    import keras

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

"""What the tests share: command lines, small settings and networks, ways to write data."""

import importlib
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from models import build_model, inference_model
from utils.checkpoints import save_config, save_weights, weights_path
from utils.config import load_config

PROJECT = Path(__file__).resolve().parents[1]
# Linux on x86-64 only. Other packages of NVIDIA lie in the same folder: having that one is not enough.
HAS_DALI = importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
needs_dali = pytest.mark.skipif(not HAS_DALI, reason="NVIDIA DALI is not installed (requirements-dali.txt)")
# It is built on the machine, after TensorFlow and DALI (requirements-dali.txt), and so is not always there.
HAS_PLUGIN = HAS_DALI and importlib.util.find_spec("nvidia.dali_tf_plugin") is not None
needs_plugin = pytest.mark.skipif(
    not HAS_PLUGIN, reason="DALI's TensorFlow plugin is not built (requirements-dali.txt): only its host path is tested"
)

# XLA_FLAGS of a command that compiles what it runs a single time, as JAX does.
UNOPTIMISED = "--xla_backend_optimization_level=0"


def tracked(*patterns):
    """Files of the project, those included that are not yet in git, by their path from its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    out = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [name for name in out.splitlines() if (PROJECT / name).exists()]


def import_benchmark(name):
    """A script of benchmarks/, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT / "benchmarks")
        return importlib.import_module(name)


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


def run_unprivileged(*arguments):
    """Run a script without the right of root to read and write everything."""
    command = [sys.executable, *map(str, arguments)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)


def assert_one_clear_error(result, *words):
    """Exit code 2, no traceback, and every word in the message."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, f"{word!r} not in: {result.stderr}"


def installed(loaders):
    """The loaders whose packages are there: all but perhaps DALI."""
    return [name for name in loaders if name != "DALI_GENERATOR" or HAS_DALI]


def full(loaders):
    """The loaders that do everything: DATASET.CACHE, all of AUGMENTATION."""
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
    contained = ("unet3plus", "unet3plus_deepsup", "unet")  # in tiny_unet3plus, unet3plus_deepsup_cgm, unet++
    return [pytest.param(name, marks=[pytest.mark.slow] if name in contained else []) for name in names]


# A network that trains in seconds; the phantom is prepared at this size.
TINY = ["MODEL.TYPE=tiny_unet3plus", "MODEL.FILTERS=[4,8]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48"]


def tf_config(cluster, job="worker", index=1):
    """What the environment variable TF_CONFIG says to one worker."""
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


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


def make_weights(folder, overrides, seed=0):
    """Save an untrained network as train.py does; returns the model that is run."""
    import keras

    cfg = load_config([f"WORK_DIR={folder}", *overrides])
    keras.utils.set_random_seed(seed)
    network = build_model(cfg)
    path = weights_path(cfg)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, path)
    save_config(cfg, path)
    return inference_model(network)


def huge_png(path):
    """A PNG whose header promises 40,000 x 40,000 pixels in a few bytes."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40000, 40000, 8, 0, 0, 0, 0)
    end = b"IEND"
    chunks = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, end)
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


SMALL = [
    "MODEL.TYPE=unet",
    "MODEL.FILTERS=[4,6]",
    "INPUT.HEIGHT=48",
    "INPUT.WIDTH=48",
    "HYPER_PARAMETERS.EPOCHS=1",
    "HYPER_PARAMETERS.LEARNING_RATE=1e-3",
    "loss=bce_dice",
    "VERBOSE=0",
    "RESUME=never",
]


def paths(data):
    for split in ("TRAIN", "VAL"):
        place = data / "data" / split.lower()
        yield f"DATASET.{split}.IMAGES_PATH={place / 'images'}"
        yield f"DATASET.{split}.MASK_PATH={place / 'mask'}"

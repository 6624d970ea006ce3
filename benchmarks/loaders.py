"""Time loaders side by side, all in turn: pairs a second, CPU seconds a pair, peak memory.

    python benchmarks/loaders.py --sizes 320 512 --augmentation none light --rounds 5
    python benchmarks/loaders.py --only TF_DATA DALI_GENERATOR "DALI_GENERATOR, through the host"

Every loader lives in a process of its own and reads the same pictures (made here) in batches of 4 with two workers; a
round is one epoch of each. References, written here: a PyTorch DataLoader with processes and the same augmentation; the
Sequence that reads one picture after the other, with OpenCV and the same augmentation, and as it is usually written for
NumPy arrays, with SciPy (knobs of `light` only); and, to see how far a loader is from the least that has to be done,
two threads that only decode image and mask and, with augmentation, warp each once. Images come as float32 in [0, 1],
from those marked `uint8` as train.py takes images of 8 bit. DALI_GENERATOR goes through DALI's TensorFlow plugin where
that is built, and then its other path is measured too.
"""

import argparse
import importlib.util
import itertools
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from utils.base.closed_output import survive_closed_output

BATCH, WORKERS, PAIRS = 4, 2, 64
GRAPH = ("AUGMENTATION.ENGINE=tensorflow",)
# name -> (loader, settings, the augmentations it is measured with; None: all)
OURS = {
    "TF_GENERATOR": ("TF_GENERATOR", (), None),
    "TF_DATA": ("TF_DATA", (), None),
    "TFRECORD": ("TFRECORD", (), None),
    "DALI_GENERATOR": ("DALI_GENERATOR", (), ("none", "light")),
    "DALI_GENERATOR, through the host": ("DALI_GENERATOR", (), ("none", "light")),
    "TF_DATA, graph operations": ("TF_DATA", GRAPH, ("light", "medical", "tpu_segmentation")),
    "TFRECORD, graph operations": ("TFRECORD", GRAPH, ("light", "medical", "tpu_segmentation")),
    "TF_GENERATOR, uint8": ("TF_GENERATOR", (), None),
    "TF_DATA, uint8": ("TF_DATA", (), None),
    "TF_DATA, cached in memory": ("TF_DATA", ("DATASET.CACHE=memory",), None),
    "TF_DATA, cached in a folder": ("TF_DATA", ("DATASET.CACHE=cache",), None),
}
DATALOADER, SEQUENCE, NUMPY, LEAST = "PyTorch DataLoader", "Sequence, OpenCV", "Sequence, NumPy", "decode and one warp"
NEEDS = {
    "DALI_GENERATOR": "nvidia.dali",
    "DALI_GENERATOR, through the host": "nvidia.dali_tf_plugin",
    DATALOADER: "torch",
}


def make_pictures(folder, size):
    """Photo-like pictures with blobs as masks, and shards of them."""
    import cv2
    import numpy as np

    from data_preparation.tfrecord import write_shards

    rng = np.random.default_rng(0)
    for kind in ("images", "mask"):
        (folder / kind).mkdir(parents=True)
    for number in range(PAIRS):
        smooth = cv2.resize(rng.random((size // 16, size // 16, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
        image = np.clip(255 * smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"images/{number:03d}.png"), image)
        cv2.imwrite(str(folder / f"mask/{number:03d}.png"), (smooth[:, :, 0] > 0.5).astype(np.uint8))
    write_shards(folder / "images", folder / "mask", folder / "shards", "train", 4, "none")


def config(folder, size, augmentation, name):
    from utils.config import load_config

    loader, settings, _ = OURS.get(name, ("TF_DATA", (), None))
    images = "shards" if loader == "TFRECORD" else "images"
    return load_config(
        [f"WORK_DIR={folder}", f"DATASET.TRAIN.IMAGES_PATH={images}", "DATASET.TRAIN.MASK_PATH=mask", "loss=dice"]
        + [f"INPUT.HEIGHT={size}", f"INPUT.WIDTH={size}", f"augmentation={augmentation}", "AUGMENTATION.FILL=zero"]
        + [f"HYPER_PARAMETERS.BATCH_SIZE={BATCH}", f"DATALOADER_WORKERS={WORKERS}"]
        + [f"DATA_GENERATOR_TYPE={loader}", *settings]
    )


def our_epochs(cfg, files, as_stored, through_host):
    from data_generators import build_dataset

    if through_host:
        from data_generators.loaders import dali

        dali.has_plugin = lambda: False
    dataset = build_dataset(cfg, "train", augment=True, as_stored=as_stored)
    while True:
        yield sum(len(batch[0]) for batch in dataset)


def plain_reader(cfg, files):
    """`function (number) -> image, mask` as such references are usually written."""
    import cv2
    import numpy as np

    from data_generators.augmentation.albumentations_engine import AlbumentationsAugmentation

    augmentation = AlbumentationsAugmentation.from_config(cfg)
    policy = augmentation.build() if augmentation else None

    def read(number):
        image = cv2.cvtColor(cv2.imread(files[number][0]), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(files[number][1], cv2.IMREAD_GRAYSCALE)
        if policy:
            found = policy(image=image, mask=mask)
            image, mask = found["image"], found["mask"]
        return image.astype(np.float32) / 255, mask[..., None]

    return read


def torch_epochs(cfg, files):
    from torch.utils.data import DataLoader, Dataset

    read = plain_reader(cfg, files)

    class Pairs(Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, number):
            return read(number)

    loader = DataLoader(
        Pairs(), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, multiprocessing_context="fork"
    )
    while True:
        yield sum(len(image) for image, _ in loader)


def sequence_epochs(cfg, files):
    return one_by_one(plain_reader(cfg, files), files)


def numpy_epochs(cfg, files):
    """Scaled first, then changed in floating point, one SciPy transform after the other; no threads."""
    import cv2
    import numpy as np
    from scipy import ndimage

    rng, knobs = np.random.default_rng(0), cfg.AUGMENTATION

    def value(name, key):
        return rng.uniform(*knobs[name][key]) if rng.random() < knobs[name].PROBABILITY else None

    def read(number):
        image = cv2.cvtColor(cv2.imread(files[number][0]), cv2.COLOR_BGR2RGB) / 255.0
        mask = cv2.imread(files[number][1], cv2.IMREAD_GRAYSCALE)
        if rng.random() < knobs.HORIZONTAL_FLIP.PROBABILITY:
            image, mask = image[:, ::-1], mask[:, ::-1]
        angle, zoom = value("ROTATION", "DEGREES"), value("ZOOM", "FACTOR")
        if angle is not None:
            image = ndimage.rotate(image, angle, reshape=False, order=1)
            mask = ndimage.rotate(mask, angle, reshape=False, order=0)
        if zoom is not None:
            centre = np.array(mask.shape) / 2
            corner = centre - centre / zoom + rng.uniform(-1, 1, 2) * knobs.ZOOM.PAN * centre
            image = ndimage.affine_transform(image, [1 / zoom, 1 / zoom, 1], [*corner, 0], order=1)
            mask = ndimage.affine_transform(mask, [1 / zoom, 1 / zoom], corner, order=0)
        image = image + (value("BRIGHTNESS", "SHIFT") or 0.0)
        image = np.clip(image * (value("CONTRAST", "FACTOR") or 1.0), 0, 1)
        return image.astype(np.float32), mask[..., None]

    return one_by_one(read, files)


def one_by_one(read, files):
    import numpy as np

    rng = np.random.default_rng(0)
    while True:
        order, seen = rng.permutation(len(files)), 0
        for first in range(0, len(files), BATCH):
            pairs = [read(number) for number in order[first : first + BATCH]]
            seen += len(np.stack([image for image, _ in pairs]))
            np.stack([mask for _, mask in pairs])
        yield seen


def least_epochs(cfg, files):
    """What no loader can do without, and nothing else: no batches, no floating point, no order."""
    import cv2
    import numpy as np

    size = (cfg.INPUT.WIDTH, cfg.INPUT.HEIGHT)
    matrix = np.float32([[0.99, -0.1, 12.0], [0.1, 0.99, -9.0]]) if cfg.AUGMENTATION.ROTATION.PROBABILITY else None
    cv2.setNumThreads(1)

    def read(paths):
        image, mask = cv2.imread(paths[0], cv2.IMREAD_UNCHANGED), cv2.imread(paths[1], cv2.IMREAD_UNCHANGED)
        if matrix is not None:
            cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
            cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST)

    with ThreadPoolExecutor(WORKERS) as threads:
        while True:
            deque(threads.map(read, files), maxlen=0)
            yield len(files)


REFERENCES = {DATALOADER: torch_epochs, SEQUENCE: sequence_epochs, NUMPY: numpy_epochs, LEAST: least_epochs}


def serve(pipe, name, folder, size, augmentation):
    """In a process of its own: an epoch for every message; answers with wall and CPU seconds."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    files = [(str(path), str(folder / "mask" / path.name)) for path in sorted((folder / "images").iterdir())]
    make = REFERENCES.get(name, partial(our_epochs, as_stored="uint8" in name, through_host="host" in name))
    epochs = make(config(folder, size, augmentation, name), files)
    next(epochs)
    pipe.send("ready")
    while pipe.recv() == "epoch":
        wall, cpu = time.perf_counter(), processor_seconds()
        assert next(epochs) == PAIRS
        pipe.send((time.perf_counter() - wall, processor_seconds() - cpu))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    os._exit(0)  # worker processes of a reference are not waited for


def processor_seconds():
    """CPU seconds of this process and of its children that live."""
    import psutil

    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(names, folder, size, augmentation, rounds):
    """{name: (pairs a second, CPU milliseconds a pair, peak MB of the main process)}, medians of the rounds."""
    context, pipes, found = multiprocessing.get_context("spawn"), {}, {name: [] for name in names}
    for name in names:
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, name, folder, size, augmentation)).start()
        theirs.close()
        pipes[name].recv()
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send("epoch")
            found[name].append(pipe.recv())
    result = {}
    for name, pipe in pipes.items():
        pipe.send("end")
        wall, cpu = (statistics.median(values) for values in zip(*found[name], strict=True))
        result[name] = PAIRS / wall, 1000 * cpu / PAIRS, pipe.recv()
    return result


@survive_closed_output()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[320], help="height and width, pixels")
    parser.add_argument("--augmentation", nargs="+", default=["none", "light"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", nargs="+", choices=[*REFERENCES, *OURS], metavar="LOADER", help="some of them, as named in the table"
    )
    options = parser.parse_args()
    columns = ["size", "augmentation", "loader", "pairs/s", f"to {DATALOADER}", f"to {SEQUENCE}", f"to {NUMPY}"]
    columns += [f"to {LEAST}", "CPU ms/pair", "peak MB"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for size, augmentation in itertools.product(options.sizes, options.augmentation):
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder), size)
            result = measure(names_for(augmentation, options.only), Path(folder), size, augmentation, options.rounds)
        for name, (speed, cpu, peak) in result.items():
            ratios = " | ".join(f"{speed / result[other][0]:.2f}" if other in result else "" for other in REFERENCES)
            print(f"| {size} | {augmentation} | {name} | {speed:.0f} | {ratios} | {cpu:.1f} | {peak:.0f} |", flush=True)


def names_for(augmentation, only=None):
    """The references and the loaders that are asked for, are installed and can do an augmentation."""
    able = {name: only for name, (_, _, only) in OURS.items()}
    able = dict.fromkeys(REFERENCES) | {NUMPY: ("none", "light")} | able
    asked = [name for name in able if not only or name in only]
    there = [name for name in asked if name not in NEEDS or is_installed(NEEDS[name])]
    return [name for name in there if able[name] is None or augmentation in able[name]]


def is_installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    main()

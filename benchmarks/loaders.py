"""Time loaders side by side, all in turn: pairs a second, CPU seconds a pair, peak memory.

    python benchmarks/loaders.py --sizes 320 512 --augmentation none light --rounds 5

Every loader lives in a process of its own and reads the same pictures (made here) in batches of 4 with two workers; a
round is one epoch of each. References, written here: a PyTorch DataLoader with processes and the same augmentation, and
the usual Sequence that reads one picture after the other with OpenCV.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BATCH, WORKERS, PAIRS = 4, 2, 64
OURS = ("TF_GENERATOR", "TF_DATA", "TFRECORD", "DALI_GENERATOR")
REFERENCES = ("PyTorch DataLoader", "usual Sequence")


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


def config(folder, size, augmentation, loader):
    from utils.config import load_config

    images = "shards" if loader == "TFRECORD" else "images"
    return load_config(
        [f"WORK_DIR={folder}", f"DATASET.TRAIN.IMAGES_PATH={images}", "DATASET.TRAIN.MASK_PATH=mask", "loss=dice"]
        + [f"INPUT.HEIGHT={size}", f"INPUT.WIDTH={size}", f"augmentation={augmentation}", "AUGMENTATION.FILL=zero"]
        + [f"HYPER_PARAMETERS.BATCH_SIZE={BATCH}", f"DATALOADER_WORKERS={WORKERS}"]
        + [f"DATA_GENERATOR_TYPE={loader if loader in OURS else 'TF_DATA'}"]
    )


def our_epochs(cfg, files):
    from data_generators import build_dataset

    dataset = build_dataset(cfg, "train", augment=True)
    while True:
        yield sum(len(batch[0]) for batch in dataset)


def plain_reader(cfg, files):
    """`function (number) -> image, mask` as such references are usually written."""
    import cv2
    import numpy as np

    from data_generators.augment import Augmentation

    augmentation = Augmentation.from_config(cfg)
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
    import numpy as np

    read, rng = plain_reader(cfg, files), np.random.default_rng(0)
    while True:
        order, seen = rng.permutation(len(files)), 0
        for first in range(0, len(files), BATCH):
            pairs = [read(number) for number in order[first : first + BATCH]]
            seen += len(np.stack([image for image, _ in pairs]))
            np.stack([mask for _, mask in pairs])
        yield seen


def serve(pipe, name, folder, size, augmentation):
    """In a process of its own: an epoch for every message; answers with wall and CPU seconds."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    files = [(str(path), str(folder / "mask" / path.name)) for path in sorted((folder / "images").iterdir())]
    make = {"PyTorch DataLoader": torch_epochs, "usual Sequence": sequence_epochs}.get(name, our_epochs)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[320], help="height and width, pixels")
    parser.add_argument("--augmentation", nargs="+", default=["none", "light"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    there = {"DALI_GENERATOR": "nvidia", "PyTorch DataLoader": "torch"}
    names = [name for name in (*REFERENCES, *OURS) if name not in there or importlib.util.find_spec(there[name])]
    print("| size | augmentation | loader | pairs/s | to DataLoader | to Sequence | CPU ms/pair | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size, augmentation in itertools.product(options.sizes, options.augmentation):
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder), size)
            able = [name for name in names if name != "DALI_GENERATOR" or augmentation in ("none", "light")]
            result = measure(able, Path(folder), size, augmentation, options.rounds)
        dataloader, sequence = (result.get(name, (float("nan"),))[0] for name in REFERENCES)
        for name, (speed, cpu, peak) in result.items():
            print(
                f"| {size} | {augmentation} | {name} | {speed:.0f} | {speed / dataloader:.2f} | {speed / sequence:.2f} "
                f"| {cpu:.1f} | {peak:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Compare data_preparation/preprocess_data.py with the usual way to turn LiTS scans into slices.

    python benchmarks/preparation.py --size 512 --slices 128 --repeats 3

The usual way: load a whole volume as float64, clip it, scale every slice, stack three, resize, write. Each measurement
runs in its own process, the two ways take turns, and the table shows medians. Memory is the peak of the process above
its memory before the scan was opened, so that imports do not count.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import cv2
import nibabel as nib
import numpy as np

from data_preparation.make_phantom import TRAIN_FOLDER, VAL_FOLDER, make_phantom
from data_preparation.preprocess_data import preprocess_data
from utils.base.closed_output import survive_closed_output
from utils.config import load_config

OUTPUT_SIZE = 320
# Name of the measurement: (way, processes, volumes of each split)
MEASUREMENTS = {
    "usual way, 2 volumes, 1 process": ("usual", 1, 1),
    "this project, 2 volumes, 1 process": ("project", 1, 1),
    "this project, 8 volumes, 1 process": ("project", 1, 4),
    "this project, 8 volumes, 2 processes": ("project", 2, 4),
}


def usual_way(volume: Path, segmentation: Path, output: Path) -> None:
    """Prepare one volume as published scripts do."""
    output.mkdir()
    scan_file, label_file = nib.Nifti1Image.from_filename(volume), nib.Nifti1Image.from_filename(segmentation)
    scan, labels = np.clip(scan_file.get_fdata(), -200, 250), label_file.get_fdata()
    count = scan.shape[2]
    for index in range(count):
        channels = []
        for neighbour in (max(index - 1, 0), index, min(index + 1, count - 1)):
            pixels = scan[:, :, neighbour]
            low, high = pixels.min(), pixels.max()
            channels.append(np.zeros_like(pixels) if high == low else (pixels - low) / (high - low) * 255)
        image = cv2.resize(np.rot90(np.stack(channels, axis=-1)), (OUTPUT_SIZE, OUTPUT_SIZE))
        mask = cv2.resize(np.rot90(labels[:, :, index]), (OUTPUT_SIZE, OUTPUT_SIZE), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(output / f"image_{index}.png"), image)
        cv2.imwrite(str(output / f"mask_{index}.png"), np.where(mask > 0, 1, mask))


def our_way(folder: Path, output: Path, processes: int) -> None:
    """Prepare all volumes with preprocess_data."""
    cfg = load_config(
        [
            "VERBOSE=0",
            f"WORK_DIR={output}",
            f"DATA_PREPARATION.SCANS_TRAIN_DATA_PATH='{folder / TRAIN_FOLDER}'",
            f"DATA_PREPARATION.SCANS_VAL_DATA_PATH='{folder / VAL_FOLDER}'",
            f"DATA_PREPARATION.WORKERS={processes}",
            f"INPUT.HEIGHT={OUTPUT_SIZE}",
            f"INPUT.WIDTH={OUTPUT_SIZE}",
        ]
    )
    preprocess_data(cfg)


def measure(way: str, processes: int, folder: Path) -> None:
    """Run one way in this process and print seconds and peak memory (MB) as JSON."""
    with tempfile.TemporaryDirectory() as output:
        cv2.setNumThreads(1)
        before = peak_memory()
        start = time.perf_counter()
        if way == "usual":
            for volume in sorted(folder.glob("*/volume-*.nii")):
                target = Path(output) / volume.stem
                usual_way(volume, volume.with_name(volume.name.replace("volume", "segmentation")), target)
        else:
            our_way(folder, Path(output), processes)
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, peak_memory() - before]))


def peak_memory() -> float:
    """The peak memory of this process in MB (Linux); mapped files count."""
    # getrusage would also count the process that started this one.
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024


def run_in_process(way: str, processes: int, folder: Path) -> list[float]:
    """Measure one way in a new process; returns seconds and MB."""
    command = [sys.executable, __file__, "--measure", way, str(processes), str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@survive_closed_output()
def main() -> None:
    """Run all measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="pixels along both sides of a slice (default 512)")
    parser.add_argument("--slices", type=int, default=128, help="slices of a volume (default 128)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement (default 3)")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, processes, folder = arguments.measure
        measure(way, int(processes), Path(folder))
        return

    with tempfile.TemporaryDirectory() as temporary:
        folders = {}
        for volumes in {volumes for _, _, volumes in MEASUREMENTS.values()}:
            folders[volumes] = Path(temporary) / str(volumes)
            make_phantom(folders[volumes], volumes, volumes, size=arguments.size, slices=arguments.slices)
        results: dict[str, list[list[float]]] = {name: [] for name in MEASUREMENTS}
        for _ in range(arguments.repeats):
            for name, (way, processes, volumes) in MEASUREMENTS.items():
                results[name].append(run_in_process(way, processes, folders[volumes]))

    print(f"{arguments.size}x{arguments.size}x{arguments.slices} voxels, medians of {arguments.repeats} runs")
    print(f"{'':36}{'ms per slice':>14}{'against usual':>15}{'peak memory':>14}")
    usual = None
    for name, (_, processes, volumes) in MEASUREMENTS.items():
        per_slice = statistics.median(run[0] for run in results[name]) / (2 * volumes * arguments.slices) * 1000
        usual = usual or per_slice
        # With several processes the measured one only waits for the others.
        memory = f"{statistics.median(run[1] for run in results[name]):.0f} MB" if processes == 1 else "-"
        print(f"{name:36}{per_slice:14.2f}{usual / per_slice:14.2f}x{memory:>14}")


if __name__ == "__main__":
    main()

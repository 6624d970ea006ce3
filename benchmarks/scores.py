"""How fast masks of a folder are scored, and in how much memory: python benchmarks/scores.py

Writes random blobs as 2,000 PNG pairs of 512x512 and 100 NIfTI pairs of 128^3, and scores them with
`evaluate.py EVALUATION.PREDICTIONS=`, a process each, also half of them: memory is flat if both peaks are alike.

    python benchmarks/scores.py --surface

times HD95 of such volumes beside MONAI's and surface-distance's, as far as they are installed (pip install monai
surface-distance): all take their n-th volume before any takes the next, and the table shows medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np
from scipy.ndimage import zoom

from losses.surface import surface_scores
from utils.base.closed_output import survive_closed_output

PROJECT = Path(__file__).resolve().parents[1]
SIZE, SIDE = 512, 128  # of the images and volumes
SPACING = (2.0, 1.0, 1.0)  # mm along slice, row, column
COARSE = 8  # blobs are noise of a grid so much coarser


def make_blobs(shape: tuple[int, ...], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A true and a predicted mask, uint8, of the same blobs with another border; about a tenth is foreground."""
    coarse = [-(-length // COARSE) + 3 for length in shape]
    smooth, other = (zoom(random.normal(size=coarse), COARSE, order=1) for _ in range(2))
    corner = tuple(slice(COARSE, COARSE + length) for length in shape)
    smooth, other = smooth[corner], other[corner]
    limit = np.quantile(smooth, 0.9)
    return (smooth > limit).astype(np.uint8), (smooth + 0.15 * other > limit).astype(np.uint8)


def write_pairs(folder: Path, kind: str, count: int) -> None:
    """Write `truth/` and `predicted/` with so many masks."""
    random = np.random.default_rng(0)
    for name in ("truth", "predicted"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        if kind == "png":
            import cv2

            for name, mask in zip(("truth", "predicted"), make_blobs((SIZE, SIZE), random), strict=True):
                cv2.imwrite(str(folder / name / f"case{number:04}.png"), mask)
        else:
            import nibabel as nib

            affine = np.diag([*SPACING[::-1], 1])
            for name, mask in zip(("truth", "predicted"), make_blobs((SIDE,) * 3, random), strict=True):
                nib.save(nib.Nifti1Image(mask, affine), folder / name / f"case{number:04}.nii.gz")


def score(folder: Path, *overrides: str) -> tuple[float, float, float]:
    """Score a folder: seconds of the pass, of the whole command, and its peak memory in GiB."""
    command = [sys.executable, str(PROJECT / "evaluate.py"), f"WORK_DIR={folder}", "EVALUATION.PREDICTIONS=predicted"]
    command += ["DATASET.VAL.MASK_PATH=truth", "DATASET.VAL.IMAGES_PATH=null", "OUTPUT.CLASSES=2", "VERBOSE=0"]
    begin = time.perf_counter()
    process = subprocess.Popen([*command, *overrides], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    whole = time.perf_counter() - begin
    if status:
        raise SystemExit(f"evaluate.py ended with status {status}")
    entry = json.loads((folder / "predicted.evaluation/evaluation.json").read_text())["splits"]["val"]
    return entry["images"] / entry["images_per_second"], whole, usage.ru_maxrss / 2**20


def score_folders(images: int, volumes: int) -> None:
    """The table of folders: cases per second, and peak memory of half and all of them."""
    more = ["EVALUATION.METRICS=[boundary,objects]"]
    settings: dict[str, tuple[int, dict[str, list[str]]]] = {
        "png": (images, {"pixels": [], "borders and objects": more}),
        "nifti": (volumes, {"pixels": [], "surfaces": ["EVALUATION.SURFACE=True"]}),
    }
    print("| masks | scores | cases | cases/s | command, s | peak, GiB |\n| --- | --- | --- | --- | --- | --- |")
    for kind, (count, rows) in settings.items():
        for part in (count // 2, count):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "masks"
                write_pairs(folder, kind, part)
                for name, overrides in rows.items():
                    seconds, whole, memory = score(folder, *overrides)
                    speed = f"{part / seconds:.1f} | {whole:.1f}"
                    print(f"| {kind} | {name} | {part} | {speed} | {memory:.2f} |", flush=True)


def hd95_ways() -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """`{name: function of two bool volumes}` of what is installed."""
    ways: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "this project, with ASSD and NSD": lambda one, two: surface_scores(one, two, SPACING, 2.0)["hd95_mm"]
    }
    try:
        import torch
        from monai.metrics import compute_hausdorff_distance

        def monai(one: np.ndarray, two: np.ndarray) -> float:
            tensors = [torch.from_numpy(mask[np.newaxis, np.newaxis]) for mask in (two, one)]
            found = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=list(SPACING))
            return float(found[0, 0])

        ways["MONAI"] = monai
    except ImportError:
        print("MONAI is not installed")
    try:
        import surface_distance

        ways["surface-distance"] = lambda one, two: surface_distance.compute_robust_hausdorff(
            surface_distance.compute_surface_distances(one, two, SPACING), 95
        )
    except ImportError:
        print("surface-distance is not installed")
    return ways


def time_surfaces(volumes: int) -> None:
    """The table of HD95 of single volumes."""
    random, ways = np.random.default_rng(0), hd95_ways()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(volumes + 1):
        truth, predicted = (mask.astype(bool) for mask in make_blobs((SIDE,) * 3, random))
        for name, way in ways.items():
            begin = time.perf_counter()
            value = way(truth, predicted)
            if number:  # the first one warms up
                seconds[name].append(time.perf_counter() - begin)
                values[name].append(value)
    own = statistics.median(next(iter(seconds.values())))
    print(f"| HD95 of {volumes} volumes of {SIDE}^3 | ms, median | ratio | mean in mm |\n| --- | --- | --- | --- |")
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"| {name} | {1000 * median:.0f} | {median / own:.2f} | {statistics.mean(values[name]):.3f} |")


@survive_closed_output()
def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="PNG pairs (default 2000)")
    parser.add_argument("--volumes", type=int, default=100, help="NIfTI pairs (default 100)")
    parser.add_argument("--surface", action="store_true", help="HD95 beside MONAI and surface-distance")
    options = parser.parse_args()
    if options.surface:
        time_surfaces(options.volumes)
    else:
        score_folders(options.images, options.volumes)


if __name__ == "__main__":
    main()

"""What a GPU does with these networks, in one command and in under eight minutes: python benchmarks/gpu.py --out FOLDER

It needs JAX, but no network and no data; PyTorch and TensorFlow are measured where they are installed. Every case runs
in a process of its own with a time limit, the important ones first; a case that fails is a row that says why. --only
takes a regular expression that is looked for in the names of cases, as --list prints them. Compare ratios: "x plain"
and "x PyTorch" are the images/s over those of the same network from stock Keras layers, and of the fastest PyTorch.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_case import IMPLEMENTATIONS, MARK, NO_DEVICE, Case, as_argument

from utils.base.closed_output import survive_closed_output

CHILD = Path(__file__).with_name("gpu_case.py")
LEAST_SECONDS = 20  # what a case needs to come to anything
SHOWN = 12  # names of cases left out below the table; gpu.json has them all
VGG19, UNETPP = ("unet3plus_vgg19",), ("unet++_efficientnetb0", "unet++_resnet50")
WITH_REFERENCE = ("unet3plus", "unet", "unet3plus_vgg16")
THREE = ("ours", "plain layers", "PyTorch, compiled, channels last")
BOTH = ("training", "inference")
# networks, modes, precisions, batches, implementations: the important first; the product of each line is measured
PLAN = (
    (VGG19, BOTH, ("bfloat16",), (16,), THREE),
    (VGG19, ("training",), ("tf32",), (16,), THREE),
    (("unet3plus", "unet"), ("training",), ("bfloat16",), (16,), THREE),
    (UNETPP, ("training",), ("bfloat16",), (16,), ("ours",)),
    (VGG19, ("inference",), ("bfloat16",), (1,), THREE),
    (VGG19, ("inference",), ("tf32", "float32"), (16,), ("ours",)),
    (VGG19, ("training",), ("float32",), (16,), THREE),
    (VGG19, BOTH, ("bfloat16",), (16,), tuple(IMPLEMENTATIONS)),
    (WITH_REFERENCE, BOTH, ("bfloat16",), (16,), THREE),
    (UNETPP, ("inference",), ("bfloat16",), (16,), ("ours", "ours, TensorFlow")),
    (VGG19, BOTH, ("bfloat16",), (1, 8, 32, 64), THREE),
    ((*WITH_REFERENCE, *UNETPP), BOTH, ("bfloat16",), (1, 64), ("ours", "plain layers")),
)
PUBLISHED = """\
Published for UNet 3+ with VGG-19 at 320x320, 16 images per GPU (NVIDIA DeepLearningExamples,
TensorFlow2/Segmentation/Contrib/UNet3P, contributed by its users), whole runs with their data and the hybrid loss:
  training, images/s: 26 on one A100 80 GB without AMP; 423 on eight with AMP, XLA and DALI (53 each)
  inference, images/s: 71 on one A100 80 GB without AMP and XLA, 104 with both"""
NOTES = """\
peak GiB: memory of the device by the library's own count, what it tried while compiling included; on a CPU that of
the process.
diff.: of probabilities to float64, new weights, the statistics of the image. first s: start, build, compile, step.
Training: cross-entropy, Adam; ours and plain layers by the step of train.py, its metrics included."""
COLUMNS = ("network", "mode", "precision", "batch", "implementation")
FIGURES = {  # heading -> (key of a row, format)
    "images/s": ("images_per_second", ".1f"),
    "ms": ("milliseconds", ".1f"),
    "peak GiB": ("peak_gib", ".2f"),
    "x plain": ("over_plain", ".2f"),
    "x PyTorch": ("over_pytorch", ".2f"),
    "first s": ("first_step_seconds", ".0f"),
    "max diff.": ("difference", ".1e"),
    "mean diff.": ("mean_difference", ".1e"),
}


def cases(toy: bool = False) -> list[Case]:
    """Every case, in the order in which they run. `toy`: small ones for a CPU, at one size of batch."""
    found = {}
    for networks, modes, precisions, batches, implementations in PLAN:
        for key in itertools.product(networks, modes, precisions, batches, implementations):
            network, mode, precision, batch, implementation = key
            case = Case(network, mode, implementation, precision, 2 if toy else batch, 32 if toy else 320, toy=toy)
            if exists(case):
                found.setdefault(name_of(case), case)
    checked: set[tuple[str, str, str]] = set()  # once for each: it takes seconds
    for name, case in found.items():
        combination = (case.network, case.implementation, case.precision)
        if case.mode == "inference" and combination not in checked:
            checked.add(combination)
            found[name] = replace(case, check=True)
    return list(found.values())


def exists(case: Case) -> bool:
    """UNet++ has no reference: on JAX it consists of stock layers. A loss is for training."""
    if "++" in case.network and not case.implementation.startswith("ours"):
        return False
    return case.mode == "training" or "loss" not in case.implementation


def name_of(case: Case) -> str:
    return f"{case.network} {case.mode} {case.precision} b{case.batch} {case.implementation}"


def run_case(case: Case, seconds: float) -> dict[str, Any]:
    """The row of a case: what its process measured, or "reason". It is ended after so many seconds."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, CHILD, as_argument(case)], stdout=output, stderr=errors, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
        output.seek(0), errors.seek(0)
        reports = [line.removeprefix(MARK) for line in output if line.startswith(MARK)]
        last_error = ([line.strip() for line in errors if line.strip()] or ["no message"])[-1][:200]
    row = json.loads(reports[-1]) if reports else {}
    problem = None
    if status is None:
        problem = f"stopped after {seconds:.1f} s"
    elif status == NO_DEVICE:
        row["no_device"] = True
    elif status < 0:
        problem = f"killed by {signal.Signals(-status).name}, perhaps for memory"
    elif status:
        problem = last_error
    if problem and "reason" not in row:  # once there are figures, only the comparison with float64 is lost
        row["note" if "milliseconds" in row else "reason"] = problem
    return asdict(case) | row


def end(process: subprocess.Popen) -> None:
    """End the process and those that it started (compilers)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(chosen: list[Case], options: argparse.Namespace) -> Iterator[tuple[list[dict], dict[str, list[str]]]]:
    """Run them in turn; yield (rows, {why: names of those left out}) after each."""
    deadline = time.monotonic() + 60 * options.minutes
    installed = {library: importlib.util.find_spec(library) is not None for library in ("jax", "tensorflow", "torch")}
    unusable = {library: f"{library} is not installed" for library, there in installed.items() if not there}
    rows: list[dict] = []
    left_out: dict[str, list[str]] = {}
    for case in chosen:
        left = deadline - time.monotonic()
        why = unusable.get(case.library) or ("no time left" if left < min(LEAST_SECONDS, options.case_seconds) else "")
        if why:
            left_out.setdefault(why, []).append(name_of(case))
            continue
        row = run_case(case, min(options.case_seconds, left))
        if row.pop("no_device", False):
            unusable[case.library] = row["reason"]
            left_out.setdefault(row["reason"], []).append(name_of(case))
        else:
            rows.append(row)
            result = row.get("reason") or f"{row['images_per_second']:.1f} images/s"
            print(f"{name_of(case)}: {result}", file=sys.stderr, flush=True)
        yield with_ratios(rows), left_out
    yield with_ratios(rows), left_out


def with_ratios(rows: list[dict]) -> list[dict]:
    """The rows that belong together side by side, with "over_plain" and "over_pytorch" where those were measured."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in COLUMNS[:4]), []).append(row)
    result = []
    for group in groups.values():
        speeds = {row["implementation"]: row["images_per_second"] for row in group if "milliseconds" in row}
        pytorch = max((speed for name, speed in speeds.items() if name.startswith("PyTorch")), default=None)
        references = {"over_plain": speeds.get("plain layers"), "over_pytorch": pytorch}
        for row in group:
            speed = speeds.get(row["implementation"])
            ratios = {key: speed / reference for key, reference in references.items() if speed and reference}
            result.append(row | ratios)
    return result


def table(rows: list[dict]) -> str:
    """Markdown: a line for each row; one that failed says why in place of its figures."""
    lines = [[*COLUMNS, *FIGURES], ["---"] * (len(COLUMNS) + len(FIGURES))]
    for row in rows:
        cells = [format(row[key], form) if key in row else "" for key, form in FIGURES.values()]
        if "reason" in row:
            cells[0] = row["reason"].replace("|", "/")
        lines.append([*(str(row[key]) for key in COLUMNS), *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> dict[str, Any]:
    """GPU and driver as nvidia-smi names them, versions, and how busy the processor is; names no host."""
    packages = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "keras", "torch", "tensorflow", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    gpus = "no nvidia-smi here"
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total,utilization.gpu"
        found = subprocess.run(["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True)
        gpus = "; ".join((found.stdout or found.stderr).split("\n")).strip("; ")
    return {
        "gpu, driver, memory, load": gpus,
        "processor": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, " + ", ".join(map(" ".join, versions.items())),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def page(facts: dict[str, Any], rows: list[dict], left_out: dict[str, list[str]]) -> str:
    """The machine, the table, what it means, and what was left out."""
    devices = sorted({row["device"] for row in rows if "device" in row})
    parts = [*(f"{name}: {value}" for name, value in facts.items()), f"device: {', '.join(devices)}", "", table(rows)]
    notes = [f"{name_of_row(row)}: {row['note']}" for row in rows if "note" in row]
    missing = [
        f"Left out, {why} ({len(names)}): {'; '.join(names[:SHOWN])}{'; ... (--list)' if names[SHOWN:] else ''}"
        for why, names in left_out.items()
    ]
    return "\n".join([*parts, "", NOTES, PUBLISHED, *notes, *missing])


def name_of_row(row: dict) -> str:
    return " ".join(str(row[key]) for key in COLUMNS)


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for gpu.json and gpu.md, written after every case")
    parser.add_argument("--minutes", type=float, default=7.5, help="then the remaining cases are left out")
    parser.add_argument("--case-seconds", type=float, default=90, help="then a case is stopped")
    parser.add_argument("--only", default="", metavar="PATTERN", help="the cases whose names it is found in")
    parser.add_argument("--toy", action="store_true", help="tiny networks, on a CPU if need be: tries the script")
    parser.add_argument("--list", action="store_true", help="print the names of the cases, in order")
    options = parser.parse_args()
    try:
        chosen = [case for case in cases(options.toy) if re.search(options.only, name_of(case))]
    except re.error as error:
        parser.error(f"--only {options.only}: {error}")
    if not chosen:
        parser.error(f"--only {options.only} is found in no name; --list prints them")
    if options.list:
        print("\n".join(map(name_of, chosen)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the case that runs is ended, too
    facts, rows, left_out = machine(), [], {}
    try:
        for rows, left_out in run(chosen, options):
            if options.out:
                options.out.mkdir(parents=True, exist_ok=True)
                content = {"machine": facts, "rows": rows, "left_out": left_out, "published": PUBLISHED}
                (options.out / "gpu.json").write_text(json.dumps(content, indent=1) + "\n")
                (options.out / "gpu.md").write_text(page(facts, rows, left_out) + "\n")
    except KeyboardInterrupt:
        left_out = {**left_out, "stopped by you": ["the rest"]}
    if not rows:
        parser.error(f"nothing was measured: {'; '.join(left_out)}. --toy tries the script on a CPU.")
    print(page(facts, rows, left_out))


if __name__ == "__main__":
    main()

"""U-Nets side by side with PyTorch's: python benchmarks/peers.py --peers-python peers/bin/python --out FOLDER

Run it in the application's environment; --peers-python is that of an environment of its own:
    python -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements.txt

Every implementation of a case is a process of its own. They are started one after the other (command to first step) and
then take turns, with pauses; a round gives one ratio to the first peer. Rounds go on until half of the ratios lie
within 4 % of each other, or --rounds are over. Compare ratios: seconds depend on the machine and on its load.
"""

import argparse
import contextlib
import json
import os
import platform
import queue
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from case import MARK, NETWORKS, OURS, OWN_FORM, Case

from utils.base.closed_output import survive_closed_output

HERE = Path(__file__).resolve().parent
# modes, precisions, batches (None: that of the network): the important first
PLAN = (
    ("training", "float32", None),
    ("inference", "float32", 1),
    ("inference", "float32", 8),
    ("epoch", "float32", 8),
    ("training", "bfloat16", None),
    ("inference", "bfloat16", 8),
)
WITH_EPOCHS = ("unet_mobilenetv2", "unet_efficientnetb0", "unet_16")
FEWEST, SPREAD, PAUSE = 5, 0.04, 0.3  # rounds; of the quartiles, as a share of the median; seconds before each turn
ROUND_SECONDS = 0.5  # a turn lasts so long at least
NOTES = """\
s: median of a step, of an epoch for `epoch`. ratio: median over rounds to the first implementation of the case, and
quartiles. CPU s: of all cores, less sensitive to other load; waiting threads of PyTorch count. peak GiB: of the
process; worker processes of a DataLoader are not in it. first step s: from the command to the end of the first step,
once, with verification of the files for `epoch`. built GiB: peak before that step, so libraries and weights. `ours` is
the network of the first implementation, layer for layer; `ours, own form` is what the application builds without the
settings that make it so."""
HEADS = ("case", "implementation", "parameters M", "s", "images/s", "ratio", "rounds", "CPU s", "ratio")
HEADS += ("built GiB", "peak GiB", "ratio", "first step s", "ratio")


def cases() -> list[Case]:
    """Every case, the first implementation of a group first."""
    found = []
    for mode, precision, batch in PLAN:
        for name, network in NETWORKS.items():
            if mode == "epoch" and name not in WITH_EPOCHS:
                continue
            own = (OWN_FORM,) if network.same and mode == "training" else ()
            for implementation in (*network.peers, OURS, *own):
                found.append(Case(name, mode, precision, batch or network.batch, implementation))
    return found


class Worker:
    """A process that builds a case and takes steps when it is told to.

    Attributes:
        found: what it reported at the start: first_seconds, parameters, images, built_gib.
        peak_gib: its memory so far.
        cpu_seconds: of its cores, for a step of the last turn.
    """

    def __init__(self, case: Case, python: str, seconds: float) -> None:
        script = HERE / "peers" / ("keras_side.py" if case.implementation.startswith(OURS) else "torch_side.py")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, script, case.as_argument(time.time())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.seconds, self.peak_gib, self.cpu_seconds = seconds, 0.0, 0.0
        try:
            self.found = self.answer()
        except BaseException:
            self.end()
            raise

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(MARK):
                self.lines.put(line.removeprefix(MARK))
        self.lines.put("")

    def answer(self) -> dict[str, Any]:
        """The next line.

        Raises:
            RuntimeError: none came in time, or the process ended.
        """
        try:
            line = self.lines.get(timeout=self.seconds)
        except queue.Empty:
            raise RuntimeError(f"stopped after {self.seconds:.0f} s") from None
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        said = [text.strip() for text in self.errors if text.strip()]
        raise RuntimeError((said or [f"ended with status {self.process.returncode}"])[-1][:200])

    def steps(self, number: int) -> float:
        """Let it take so many steps; return the seconds of one."""
        assert self.process.stdin
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        found = self.answer()
        self.peak_gib, self.cpu_seconds = found["peak_gib"], found["cpu_seconds"]
        return found["seconds"]

    def end(self) -> None:
        """End the process and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.errors.close()


def measure(group: Sequence[Case], options: argparse.Namespace, data: str) -> list[dict[str, Any]]:
    """The rows of a group; those that failed say why under "reason"."""
    rows: list[dict[str, Any]] = []
    workers: dict[int, Worker] = {}
    try:
        for number, case in enumerate(group):
            rows.append({"group": case.group, "implementation": case.implementation})
            python = sys.executable if case.implementation.startswith(OURS) else options.peers_python
            try:
                worker = Worker(replace(case, data=data if case.mode == "epoch" else ""), python, options.case_seconds)
            except RuntimeError as error:
                rows[number]["reason"] = str(error)
                continue
            workers[number] = worker
            rows[number] |= worker.found
            progress(f"  {case.implementation}: first step after {worker.found['first_seconds']:.1f} s")
        take_rounds(rows, workers, group[0].mode, options)
    finally:
        for worker in workers.values():
            worker.end()
    return with_ratios(rows)


def take_rounds(
    rows: Sequence[dict[str, Any]], workers: dict[int, Worker], mode: str, options: argparse.Namespace
) -> None:
    """Fill in "seconds" and "cpu_seconds" (one for each round) and "peak_gib"."""
    deadline = time.monotonic() + options.case_seconds
    try:
        warm_up = 1 if mode == "epoch" else 2
        warm = {number: min(worker.steps(1) for _ in range(warm_up)) for number, worker in workers.items()}
        steps = {number: max(1, round(ROUND_SECONDS / seconds)) for number, seconds in warm.items()}
        for number in workers:
            rows[number] |= {"seconds": [], "cpu_seconds": []}
        for turn in range(1, options.rounds + 1):
            for number, worker in workers.items():
                time.sleep(PAUSE)
                rows[number]["seconds"].append(worker.steps(steps[number]))
                rows[number]["cpu_seconds"].append(worker.cpu_seconds)
                rows[number]["peak_gib"] = worker.peak_gib
            if time.monotonic() > deadline or (turn >= min(FEWEST, options.rounds) and settled(rows)):
                return
    except RuntimeError as error:
        progress(f"  broken off: {error}")
        for number in workers:
            if len(rows[number].get("seconds", ())) < 1:
                rows[number].setdefault("reason", str(error))


def settled(rows: Sequence[dict[str, Any]]) -> bool:
    return all(row["high"] - row["low"] <= SPREAD * row["ratio"] for row in with_ratios(rows) if "ratio" in row)


def with_ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with "median", images/s, and, where the first row was measured, "ratio" to it with "low" and "high"."""
    found = []
    base = rows[0].get("seconds") or []
    for row in rows:
        seconds = row.get("seconds") or []
        if not seconds:
            found.append(row | {"reason": row.get("reason", "not measured")})
            continue
        new = row | {"median": statistics.median(seconds)}
        new["cpu_median"] = statistics.median(row["cpu_seconds"])
        new["images_per_second"] = row["images"] / new["median"]
        if base:
            ratios = [mine / theirs for mine, theirs in zip(seconds, base, strict=False)]
            quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
            new |= {"low": quartiles[0], "ratio": quartiles[1], "high": quartiles[2]}
            new["cpu_ratio"] = new["cpu_median"] / statistics.median(rows[0]["cpu_seconds"])
            new["peak_ratio"] = row["peak_gib"] / rows[0]["peak_gib"]
            new["first_ratio"] = row["first_seconds"] / rows[0]["first_seconds"]
        found.append(new)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + " --- |" * len(HEADS)]
    for row in rows:
        cells = [row["group"], row["implementation"]]
        if "reason" in row:
            cells += [row["reason"].replace("|", "/")] + [""] * (len(HEADS) - 3)
        else:
            ratio = f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if "ratio" in row else ""
            cells += [
                f"{row['parameters'] / 1e6:.2f}",
                f"{row['median']:.3f}",
                f"{row['images_per_second']:.2f}",
                ratio,
            ]
            cells += [str(len(row["seconds"])), f"{row['cpu_median']:.2f}", shown(row.get("cpu_ratio"))]
            cells += [f"{row['built_gib']:.2f}", f"{row['peak_gib']:.2f}", shown(row.get("peak_ratio"))]
            cells += [f"{row['first_seconds']:.1f}", shown(row.get("first_ratio"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def page(rows: Sequence[dict[str, Any]], facts: dict[str, str]) -> str:
    return "\n\n".join([*(f"{name}: {value}" for name, value in facts.items()), table(rows), NOTES])


def write(folder: Path, rows: Sequence[dict[str, Any]], facts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")
    (folder / "peers.md").write_text(page(rows, facts) + "\n")


def make_data(folder: str, chosen: Sequence[Case]) -> str:
    """PNG files of 256x256, if a case reads some."""
    if not any(case.mode == "epoch" for case in chosen):
        return ""
    from loaders import make_pictures

    make_pictures(Path(folder) / "data", 256)
    return f"{folder}/data"


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", help="the Python with benchmarks/peers/requirements.txt")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for peers.json and peers.md, written as it goes on")
    parser.add_argument("--cases", default="", metavar="PATTERN", help="those in whose names it is found")
    parser.add_argument("--rounds", type=int, default=15, help="at most, for each case")
    parser.add_argument("--case-seconds", type=float, default=240, help="for its rounds, and for each start")
    parser.add_argument("--quick", action="store_true", help="three rounds, and no more than 90 s for a case")
    parser.add_argument("--list", action="store_true", help="print the names of the cases, in order")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.case_seconds = 3, 90.0
    chosen = [case for case in cases() if re.search(options.cases, case.group)]
    groups: dict[str, list[Case]] = {}
    for case in chosen:
        groups.setdefault(case.group, []).append(case)
    if not groups:
        parser.error(f"--cases {options.cases} is found in no name; --list prints them")
    if options.list:
        print("\n".join(groups))
        return
    if not options.peers_python:
        parser.error("--peers-python is missing: the Python of an environment with benchmarks/peers/requirements.txt")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes are ended, too
    facts = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "load before": load()}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(folder, chosen)
        for number, (name, group) in enumerate(groups.items(), 1):
            progress(f"{number}/{len(groups)} {name} (load {load()})")
            rows += measure(group, options, data)
            progress(table(rows[-len(group) :]))
            facts["load after"] = load()
            if options.out:
                write(options.out, rows, facts)
    print(page(rows, facts))


if __name__ == "__main__":
    main()

"""Two programs that take turns: while one runs the other is stopped, so that both meet the same load of the machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TURN = 20.0  # seconds
POLL = 0.25


class Score(NamedTuple):
    """What a program had reached after so many seconds of its own."""

    seconds: float
    epoch: int
    value: float


class Program:
    """A training in a session of its own, stopped until its turn.

    Args:
        name: for the lines that are printed.
        command: what is run.
        log: file for its output.
        read: gives the validation scores so far, one for each epoch.
        by_cpu: count the seconds of its cores, divided by their number, instead of those of its turns: for a machine
            that does much else, where turns of the same length give different amounts of work.

    Attributes:
        seconds: that it has run.
        scores: in the order of the epochs.
        peak_gib: the most memory of its processes, shared pages counted once.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, read: Callable[[], list[float]], by_cpu: bool = False
    ) -> None:
        self.name, self.read, self.by_cpu = name, read, by_cpu
        self.seconds, self.scores, self.peak_gib = 0.0, [], 0.0
        self.log = log.open("w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        self.send(signal.SIGSTOP)

    def send(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def take_turn(self, seconds: float) -> None:
        """Let it run for so long, and note what it reaches meanwhile.

        Raises:
            SystemExit: it ended by itself.
        """
        begin, before = time.monotonic(), self.seconds
        self.send(signal.SIGCONT)
        while (passed := time.monotonic() - begin) < seconds:
            time.sleep(min(POLL, seconds - passed))
            self.seconds = cpu_seconds(self.process.pid) if self.by_cpu else before + time.monotonic() - begin
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with status {self.process.returncode}: see {self.log.name}")
            for value in self.read()[len(self.scores) :]:
                self.scores.append(Score(self.seconds, len(self.scores) + 1, value))
                print(f"{self.name:<30}{self.seconds:6.0f} s  epoch {len(self.scores):<4}{value:.4f}", flush=True)
        self.peak_gib = max(self.peak_gib, memory_gib(self.process.pid))
        self.send(signal.SIGSTOP)

    def finish(self) -> None:
        """Ask it to stop, and wait for that."""
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.terminate()
            self.process.wait()
        self.log.close()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
            self.process.wait()


def take_turns(programs: Sequence[Program], seconds: float) -> None:
    """Let each run for so many seconds, in turns; then ask each to stop and wait, one after the other."""
    try:
        while any(program.seconds < seconds for program in programs):
            for program in programs:
                if (left := seconds - program.seconds) > 0:
                    program.take_turn(min(TURN, left))
        for program in programs:
            program.finish()
    finally:
        for program in programs:
            program.kill()


def memory_gib(process: int) -> float:
    """Memory of a process and of those that it started (proportional set size)."""
    return sum(map(proportional_kib, descendants(process))) / 2**20


def descendants(process: int) -> Iterator[int]:
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from descendants(int(child))


def cpu_seconds(process: int) -> float:
    """Seconds of all cores that a process and those that it started have used, divided by the number of cores."""
    fields = (Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split() for number in descendants(process))
    ticks = sum(sum(map(int, found[11:15])) for found in fields)  # its own and those of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


def proportional_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

"""Progress with a clock that ticks: a line per task at the foot of a terminal.

Elsewhere, where lines stay: one as a task begins, one every ten seconds while it lasts, one at its end if it was long.
"""

import contextlib
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from utils.base.streams import PLAIN_WIDTH, is_terminal, make_console, write_line

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

PER_SECOND = 4  # times that a line is drawn again
PLAIN_EVERY = 10  # seconds between plain lines
LOOK_EVERY = 1  # seconds between looks whether a plain line is due
WORTH_A_LINE = 1  # seconds that a task takes to leave a line in the terminal
BAR = 12  # columns of the longest bar

Item = TypeVar("Item")


class Task:
    """Something that takes time: a context manager.

    Args:
        name: what is done, such as "loading TensorFlow".
        total: how many steps it has, if they are known; a bar shows them.
        quiet: says nothing.
        leave: whether a terminal keeps the last line.
        announce: whether a place without a terminal gets a line at the beginning.
        settle: steps after which the time left is told.
        compiles: whether the first step compiles a graph: the line says so, and the time left does without that step.

    Attributes:
        done: steps so far.
        text: what stands at the end of the line: words, of which the last are left out where it is narrow.
    """

    def __init__(
        self,
        name: str,
        total: int | None = None,
        *,
        quiet: bool = False,
        leave: bool = True,
        announce: bool = True,
        settle: int = 2,
        compiles: bool = False,
    ) -> None:
        self.name, self.total, self.quiet, self.leave = name, total, quiet, leave
        self.announce, self.settle, self.compiles = announce, settle, compiles
        self.done = 0
        self.text: Sequence[str] = ("compiling the first step",) if compiles else ()
        self.begin = self.said = time.monotonic()
        self.drawn = False  # by a display, in a terminal
        self.time_from_here()

    def __enter__(self) -> Self:
        if not self.quiet:
            display.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        if not self.quiet:
            display.remove(self)

    def update(self, steps: int = 1, text: Sequence[str] | None = None) -> None:
        """Count steps as done, and change the text."""
        self.done += steps
        if self.compiles and self.done:
            self.compiles, self.text = False, ()
            self.time_from_here()
        if text is not None:
            self.text = text
        if not self.quiet and not self.drawn:
            self.say_now_and_then()

    def say_now_and_then(self) -> None:
        """Write a plain line, unless there was one in the last seconds."""
        now = time.monotonic()
        if now - self.said >= PLAIN_EVERY:
            self.said = now
            write_line(self.line(PLAIN_WIDTH, now, None).plain, "stderr")

    def time_from_here(self) -> None:
        """Tell the time left from the steps that follow."""
        self.timed = (self.done, time.monotonic())

    def seconds_a_step(self, now: float) -> float | None:
        """How long the steps took so far; None until `settle` of them are done."""
        steps = self.done - self.timed[0]
        return (now - self.timed[1]) / steps if steps and self.done >= self.settle else None

    def line(self, width: int, now: float, symbols: str | None = "━╌") -> "Text":
        """The task on one line.

        Args:
            width: columns.
            now: of `time.monotonic`.
            symbols: of the bar, for done and to do; None is no bar.
        """
        from rich.text import Text

        clock = clock_time(now - self.begin)
        words = [f"{self.done}/{self.total}", clock] if self.total is not None else [clock]
        if self.total is None and self.done:
            words.insert(0, f"{self.done}")
        pace = self.seconds_a_step(now)
        if self.total and pace and self.done < self.total:
            words.append(f"left {clock_time(pace * (self.total - self.done))}")
        for word in self.text:
            if len("  ".join([self.name, *words, word])) < width:
                words.append(word)
        end = "  ".join(words)
        room = min(BAR, width - 1 - len(self.name) - len(end) - 4)
        if symbols is None or not self.total or room < 4:
            return Text(f"{self.name}  {end}")
        full = min(room * self.done // self.total, room)
        return Text.assemble(f"{self.name}  {symbols[0] * full}", (symbols[1] * (room - full), "dim"), f"  {end}")


class Display:
    """The tasks that are under way, on stderr, by a thread: also while the main one is inside native code.

    What others print meanwhile appears above.
    """

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.live: Live | None = None
        self.looking: threading.Thread | None = None
        self.lock = threading.RLock()

    def add(self, task: Task) -> None:
        """Begin to show a task."""
        with self.lock:
            self.tasks.append(task)
            task.drawn = is_terminal("stderr")
            if not task.drawn and task.announce:
                write_line("  ".join([task.name, *([f"{task.total}"] if task.total else []), *task.text]), "stderr")
            if task.drawn and self.live is None:
                self.start()
            if not task.drawn and self.looking is None:
                self.looking = threading.Thread(target=self.look, name="progress", daemon=True)
                self.looking.start()

    def look(self) -> None:
        """Let the innermost task write its plain lines, until there is none."""
        while True:
            time.sleep(LOOK_EVERY)
            with self.lock:
                plain = [task for task in self.tasks if not task.drawn]
                if not plain:
                    self.looking = None
                    return
                plain[-1].say_now_and_then()

    def start(self) -> None:
        """Begin to draw."""
        from rich.live import Live

        console = make_console("stderr")
        self.live = Live(
            get_renderable=lambda: self.draw(console),
            console=console,
            refresh_per_second=PER_SECOND,
            transient=True,
            redirect_stdout=is_terminal("stdout"),  # a file gets what is written to it
        )
        self.live.start(refresh=True)

    def draw(self, console: "Console") -> "Text":
        """The lines of all tasks."""
        from rich.text import Text

        symbols = "#." if console.options.ascii_only else "━╌"
        lines = [task.line(console.width, time.monotonic(), symbols) for task in list(self.tasks) if task.drawn]
        for line in lines:
            line.truncate(console.width - 1)
        return Text("\n").join(lines)

    def remove(self, task: Task) -> None:
        """End a task: stop drawing after the last one, and keep its line if it is worth it."""
        with self.lock:
            if task not in self.tasks:
                return
            self.tasks.remove(task)
            if self.live is not None and not self.tasks:
                self.live.stop()
                self.live = None
            now = time.monotonic()
            if now - task.begin >= (WORTH_A_LINE if task.drawn else PLAIN_EVERY) and task.leave:
                with self.paused():
                    write_line(task.line(PLAIN_WIDTH, now, None).plain, "stderr")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn inside this block, so that lines can be written."""
        with self.lock:
            live, self.live = self.live, None
            if live is not None:
                live.stop()
            try:
                yield
            finally:
                if live is not None:
                    self.start()

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Tasks that begin inside this block end with it, however it ends."""
        before = list(self.tasks)
        try:
            yield
        finally:
            for task in [task for task in self.tasks if task not in before]:
                task.leave = False
                self.remove(task)


def brief_task(cfg: "DictConfig", name: str, quiet: bool = False) -> Task:
    """A task of a command that is one of many and leaves no line, such as "building unet"; silent with VERBOSE=0."""
    return Task(name, quiet=quiet or not cfg.VERBOSE, leave=False)


def clock_time(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> clock_time(75), clock_time(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def track(
    items: Iterable[Item], name: str, total: int | None = None, *, quiet: bool = False, leave: bool = True
) -> Generator[Item, None, None]:
    """Yield the items and show how many are done.

    >>> list(track([1, 2], "measure", 2, quiet=True))
    [1, 2]
    """
    with Task(name, total, quiet=quiet, leave=leave) as task:
        for item in items:
            yield item
            task.update()


display = Display()

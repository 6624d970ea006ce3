"""Tables, lines and progress: what they look like in a terminal of a width, and without one."""

import io
import sys
import time

import pytest
from rich.text import Text

from utils.base import progress, streams
from utils.base.progress import Task, clock_time, display, track
from utils.base.terminal import make_table, render, say, show


class Screen(io.TextIOWrapper):
    """A terminal, or a file, that keeps what is written to it."""

    def __init__(self, encoding="utf-8", terminal=True):
        super().__init__(io.BytesIO(), encoding, write_through=True)
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    @property
    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


def open_screen(monkeypatch, terminal=True, **environment):
    """Make both streams a terminal of 80 columns, or a file; not a fixture, as pytest sets them before each call."""
    screen = Screen(terminal=terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "80", **environment}.items():
        monkeypatch.setenv(name, value)
    return screen


def test_numbers_are_aligned_to_the_right_and_nothing_is_lost():
    rows = [["liver", "0.9350", Text("-")], ["a tumour with a name of many words", 0.5, "12 %"]]
    assert render(make_table(["class", "Dice", "share"], rows)).splitlines() == [
        "class                                 Dice  share",
        "─────────────────────────────────────────────────",
        "liver                               0.9350      -",
        "a tumour with a name of many words     0.5   12 %",
    ]
    narrow = render(make_table(["class", "Dice", "share"], rows), width=24)
    assert max(map(len, narrow.splitlines())) <= 24
    for word in ("0.9350", "tumour", "12 %"):
        assert word in narrow


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_a_character_shows_an_escape(encoding, monkeypatch):
    file = Screen(encoding, terminal=False)
    monkeypatch.setattr(sys, "stdout", file)
    show(make_table(["class"], [["日"]]))
    say("日")
    assert file.text.count("\\u65e5") == 2
    assert file.text.isascii()


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_where_there_is_no_terminal_lines_are_plain(setting, monkeypatch):
    screen = open_screen(monkeypatch, terminal=bool(setting), **setting)
    with Task("loading TensorFlow"):
        say("a line")
    show(make_table(["class"], [["liver"]]))
    assert list(track("ab", "measure", 2)) == ["a", "b"]
    assert screen.text == "loading TensorFlow\na line\nclass\n─────\nliver\nmeasure  2\n"


def test_without_a_terminal_a_long_task_says_a_line_now_and_then(monkeypatch):
    screen = open_screen(monkeypatch, terminal=False)
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Task("verify", 40) as task:
        for _ in range(40):
            now += 0.5
            task.update()
    assert screen.text == "verify  40\nverify  20/40  0:10  left 0:10\nverify  40/40  0:20\nverify  40/40  0:20\n"


def test_without_a_terminal_a_task_inside_native_code_says_a_line_too(monkeypatch):
    screen = open_screen(monkeypatch, terminal=False)
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.1)
    monkeypatch.setattr(progress, "LOOK_EVERY", 0.02)
    with Task("an epoch"), Task("converting"):
        deadline = time.monotonic() + 10
        while screen.text.count("converting  0:0") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
    beginning, *lines, end = screen.text.removesuffix("\n").split("\n")[1:]
    assert beginning == "converting" and len(lines) > 2 and end.startswith("an epoch  0:0")
    assert all(line.startswith("converting  0:0") for line in lines)


def test_in_a_terminal_lines_appear_above_the_progress(monkeypatch):
    screen = open_screen(monkeypatch)
    with Task("verify", 4) as task:
        assert display.live is not None
        print("printed")
        say("Next: " + "x" * 100)
        task.update(2)
        display.live.refresh()
    assert display.live is None and sys.stdout is screen
    assert "printed" in screen.text and "Next: " + "x" * 100 in screen.text  # in one piece
    assert "verify  ━━━━━━" in screen.text and "2/4" in screen.text
    assert "\x1b[?25l" not in screen.text  # the cursor is never hidden


def test_tasks_inside_each_other_are_one_display_and_an_error_ends_it(monkeypatch):
    open_screen(monkeypatch)
    with pytest.raises(ValueError, match="broken"), display.cleared():
        Task("epoch 1", 10).__enter__()
        with Task("saving"):
            assert len(display.tasks) == 2
        raise ValueError("broken")
    assert display.live is None and display.tasks == []


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("done", [0, 1, 50, 100])
def test_a_line_of_progress_fits(width, done):
    task = Task("verify train", 100)
    task.update(done)
    line = task.line(width, task.begin + 75.5).plain
    assert len(line) < width
    assert f"{done}/100  1:15" in line
    assert ("left" in line) == (done == 50)


def test_time_left_is_told_from_the_steps_after_the_first():
    task = Task("epoch", 100, quiet=True, settle=10)
    task.update()
    task.timed = (1, task.begin + 60)  # the first step took a minute
    task.update(8)
    assert task.seconds_a_step(task.begin + 68) is None
    task.update()
    assert task.seconds_a_step(task.begin + 69) == 1
    assert "left 1:30" in task.line(80, task.begin + 69).plain


def test_nothing_is_said_where_the_stream_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    say("lost")
    assert not streams.is_terminal()


def test_a_clock():
    assert [clock_time(seconds) for seconds in (0, 59.9, 60, 3600)] == ["0:00", "0:59", "1:00", "1:00:00"]


def test_a_task_that_compiles_says_so_and_the_time_left_is_told_from_the_steps_after(monkeypatch):
    screen = open_screen(monkeypatch, terminal=False)
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Task("evaluate val", 4, compiles=True) as task:
        for seconds in (30, 1):
            now += seconds
            task.update()
        assert "left 0:02" in task.line(80, now).plain
    assert screen.text.startswith("evaluate val  4  compiling the first step\nevaluate val  1/4  0:30\n")

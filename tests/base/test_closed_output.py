"""A command goes on when the reader of its output is gone."""

import io
import os
import subprocess
import sys

import pytest
from helpers import PROJECT

from utils.base.closed_output import ForgivingStream, survive_closed_output

CODE = """
import os, sys, time
def work(cfg=None):
    for number in range(2000):
        print("a line of output", number, flush=True)
        print("a line of errors", number, file=sys.stderr)
    open(os.environ["RESULT"], "w").write("went on")
"""
ENDS = {
    "a block": "from utils.base.closed_output import survive_closed_output as block\nwith block(): work()",
    "a command": "from utils.config.command import command\ncommand(work)()",
    "a command of options": "from utils.config.command import option_command as end\nend(work)()",
    "a preparation": "from data_preparation.common.command_line import errors_in_one_line as end\nwith end(): work()",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe(end, stream, tmp_path):
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: subprocess.PIPE}
    environment = {**os.environ, "RESULT": str(tmp_path / "result")}
    process = subprocess.Popen([sys.executable, "-c", CODE + ENDS[end]], cwd=PROJECT, env=environment, **streams)
    pipe = getattr(process, stream)
    pipe.readline()
    pipe.close()
    assert process.wait(60) == 0
    assert (tmp_path / "result").read_text() == "went on"


def test_no_output_from_the_start(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with survive_closed_output():
        print("nowhere")
    assert sys.stdout is None


def test_a_library_cannot_close_the_stream_of_the_process():
    stream = io.StringIO()
    ForgivingStream(stream).close()
    assert not stream.closed


@pytest.mark.parametrize("command", [["evaluate.py", "--help"], ["benchmarks/peers.py", "--list"]])
def test_a_command_that_nobody_reads(command):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run([sys.executable, *command], cwd=PROJECT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, "")

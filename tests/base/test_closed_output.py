"""A command goes on when the reader of its output is gone."""

import io
import subprocess
import sys

from helpers import PROJECT

from utils.base.closed_output import ForgivingStream

CODE = """
import sys, time
from utils.base.closed_output import survive_closed_output
with survive_closed_output():
    for number in range(2000):
        print("a line of output", number, flush=True)
        print("a line of errors", number, file=sys.stderr)
open(sys.argv[1], "w").write("went on")
"""


def test_a_closed_pipe(tmp_path):
    for stream in ("stdout", "stderr"):
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path / stream)], cwd=PROJECT, **streams)
        pipe = getattr(process, stream)
        pipe.readline()
        pipe.close()
        assert process.wait(60) == 0
        assert (tmp_path / stream).read_text() == "went on"


def test_a_library_cannot_close_the_stream_of_the_process():
    stream = io.StringIO()
    ForgivingStream(stream).close()
    assert not stream.closed

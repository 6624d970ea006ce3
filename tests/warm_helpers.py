"""Commands in processes that have imported Keras already: half of what a short training takes is that import.

A process of its own has done it and forks itself for each command, before TensorFlow has started. For what the tests
want to know of the import itself, of what is said meanwhile, and of commands that need none, there is `run_command`.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import types
from multiprocessing import forkserver

from helpers import PROJECT, run_command

context = multiprocessing.get_context("forkserver")


def become(arguments, cwd, environment, stdout, stderr):
    """Run `python ARGUMENTS` in this process, which writes to those connections."""
    for number, (name, connection) in enumerate([("stdout", stdout), ("stderr", stderr)], start=1):
        os.dup2(connection.fileno(), number)
        # The streams there were remember the file of the server.
        setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    how, *rest = arguments
    sys.argv = [how, *rest[1:]] if how in ("-c", "-m") else [how, *rest]
    folder = {"-c": "", "-m": cwd}.get(how, str((PROJECT / how).parent))
    ours = {str(PROJECT / "tests"), str(PROJECT)}
    sys.path[:] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)),
                   *(path for path in sys.path if path not in ours and path)]  # fmt: skip
    try:
        if how == "-c":
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
        elif how == "-m":
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(how, run_name="__main__")
    finally:
        atexit._run_exitfuncs()


class WarmProcess:
    """What tests use of `subprocess.Popen`; `stdout` and `stderr` are text, the second may go to the first."""

    def __init__(self, arguments, cwd=PROJECT, merge=False, **environment):
        start_server()
        readers, writers = zip(context.Pipe(duplex=False), context.Pipe(duplex=False), strict=True)
        target = (list(map(str, arguments)), str(cwd), {**os.environ, **environment}, writers[0], writers[not merge])
        self.process = context.Process(target=become, args=target)
        self.process.start()
        for writer in writers:
            writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno()), encoding="utf-8") for reader in readers)
        for reader in readers:
            reader.close()
        self.pid = self.process.pid

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.process.exitcode

    def wait(self, timeout=None):
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("a warm process", timeout)
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.process.kill()

    def communicate(self, timeout=300):
        """What it still writes to both, once it has ended."""
        found = {}

        def read(name):
            with getattr(self, name) as stream:
                found[name] = stream.read()

        threads = [threading.Thread(target=read, args=(name,)) for name in ("stdout", "stderr")]
        for thread in threads:
            thread.start()
        try:
            self.wait(timeout)
        except BaseException:
            self.kill()
            raise
        finally:
            for thread in threads:
                thread.join()
        return found["stdout"], found["stderr"]


def start(*arguments, merge=False, **environment):
    """A process that runs `python ARGUMENTS` in the folder of the project; with JAX, which does not fork, a new one."""
    if {**os.environ, **environment}.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        return WarmProcess(arguments, merge=merge, **environment)
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        text=True,
    )


def run_warm(*arguments, cwd=PROJECT, timeout=300, **environment):
    """As `run_command`."""
    if {**os.environ, **environment}.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        return run_command(*arguments, cwd=cwd, timeout=timeout, **environment)
    process = WarmProcess(arguments, cwd, **environment)
    output, errors = process.communicate(timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def start_server():
    """Start the process that imports Keras, if there is none."""
    if forkserver._forkserver._forkserver_pid is None:
        context.set_forkserver_preload(["warm_keras"])
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "tests"), str(PROJECT), *filter(None, [before])])
        forkserver.ensure_running()
        atexit.register(forkserver._forkserver._stop)
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before

"""What a summary says of the machine and of the code."""

import platform
import subprocess

from utils.base.version import find_commit
from utils.devices.machine import describe_machine, lacks_instructions, processor_name


def test_the_processor_has_its_name(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Fast One\n")
    assert processor_name(cpuinfo) == "Fast One"
    cpuinfo.write_text("processor\t: 0\n")  # some ARM kernels name none
    assert processor_name(cpuinfo) == processor_name(tmp_path / "none") == platform.machine()


def test_precisions_that_a_processor_imitates(tmp_path):
    """On a processor with AVX2 alone a step in bfloat16 took ten times as long as in float32."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx2 fma\n")
    assert [lacks_instructions(amp, cpuinfo) for amp in (False, "bfloat16", True)] == [False, True, True]
    cpuinfo.write_text("flags\t\t: fpu avx2 avx512_bf16\n")
    assert [lacks_instructions(amp, cpuinfo) for amp in (False, "bfloat16", True)] == [False, False, True]
    assert not lacks_instructions(True, tmp_path / "none")
    cpuinfo.write_text("Features\t: fp asimd\n")  # ARM
    assert not lacks_instructions("bfloat16", cpuinfo)


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3}, raising=False)
    assert describe_machine()["cores"] == 1


def test_the_commit_says_whether_files_differ(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert find_commit(tmp_path) is None
    (tmp_path / "file").write_text("a")
    git("init")
    git("add", "file")
    git("commit", "-m", "a")
    head = git("rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("b")
    assert find_commit(tmp_path) == head
    (tmp_path / "file").write_text("b")
    assert find_commit(tmp_path) == f"{head}-dirty"

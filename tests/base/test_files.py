"""Files that are written completely or not at all."""

import subprocess
import sys

import pytest
from helpers import PROJECT

from utils.base.errors import UserError
from utils.base.files import atomic_write, check_folder_writable, staging_folder


def test_a_staging_folder_is_removed_however_its_block_ends(tmp_path):
    with pytest.raises(ValueError), staging_folder(tmp_path, "shards") as staging:
        (staging / "one").touch()
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_a_staging_folder_of_a_killed_process_is_removed_and_of_a_running_one_stays(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from utils.base.files import atomic_write, staging_folder\n"
        "with staging_folder(Path(sys.argv[1]), 'shards') as staging:\n"
        "    print(staging, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as other:
        held = tmp_path / other.stdout.readline().strip()
        with staging_folder(tmp_path, "shards") as staging:
            assert set(tmp_path.iterdir()) == {held, staging}
        other.kill()
        other.wait()
        assert set(tmp_path.iterdir()) == {held}
        with staging_folder(tmp_path, "shards") as staging:
            assert set(tmp_path.iterdir()) == {staging}


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "x." + "ä." * 81 + ".nii.gz", "é" * 125 + ".json"])
def test_a_name_may_be_as_long_as_the_file_system_allows(name, tmp_path):
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("1")
        assert temporary.name.endswith(name[-4:])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_in_place_of_a_folder_is_called_that(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"EVALUATION\.PATH: .*file is no folder"):
        check_folder_writable(tmp_path / "file" / "scores", "EVALUATION.PATH")

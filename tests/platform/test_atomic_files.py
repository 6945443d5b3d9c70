"""Files are written whole; temporary ones that a killed process left are removed."""

import subprocess
import sys

from legato._platform import atomic_files
from legato._platform.atomic_files import write_whole

KILLED = """if True:
    import os, signal, sys
    from pathlib import Path
    from legato._platform.atomic_files import write_whole
    def write(path):
        path.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    write_whole(Path(sys.argv[1]) / "m.keras", write)
"""


def test_what_a_killed_process_left_is_removed(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -9
    assert [len([*each.iterdir()]) for each in tmp_path.iterdir()] == [1]
    write_whole(tmp_path / "other.state", lambda at: at.write_text("whole"))
    assert [each.name for each in tmp_path.iterdir()] == ["other.state"]


def test_what_is_being_written_is_not_removed(tmp_path):
    def write(temporary):
        temporary.write_text("outer")
        atomic_files._SWEPT.clear()
        write_whole(tmp_path / "b", lambda at: at.write_text("inner"))
        assert temporary.read_text() == "outer"

    write_whole(tmp_path / "a", write)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "outer"

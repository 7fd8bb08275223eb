"""The lock of a folder, and file systems that have none."""

import errno
import fcntl
import os

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.locks import locked_folder


def lock(folder):
    return locked_folder(folder, "train.sh", "choose another folder")


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "new" / "folder"
    with lock(folder):
        with pytest.raises(UserError, match="^another process works in .*; wait for it, or choose another folder$"):
            with lock(folder):
                pass
        # As another process sees it.
        with open(folder / ".lock", "a") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock(folder):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write to .*file: File exists; free space, or choose another folder"):
        with lock(tmp_path / "file"):
            pass


def test_an_error_in_the_block_ends_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with lock(tmp_path):
            raise ZeroDivisionError
    with lock(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_that_cannot_lock(tmp_path, monkeypatch, capsys, number):
    """Work goes on there, as it would have to anyway, and the user is told."""

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    done = []
    with lock(tmp_path):
        done.append("work")
    (line,) = capsys.readouterr().err.splitlines()
    assert f"train.sh: warning: the file system of {tmp_path} cannot lock ({os.strerror(number)})" in line
    assert done

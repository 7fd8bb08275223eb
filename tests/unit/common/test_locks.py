"""The lock of a folder, and file systems that have none."""

import errno
import fcntl
import os

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.locks import lock_folder


def lock(folder):
    return lock_folder(folder, "train.sh", "another process trains here; wait for it", "choose another folder")


def test_one_process_at_a_time(tmp_path):
    descriptor = lock(tmp_path / "new" / "folder")
    with pytest.raises(UserError, match="^another process trains here; wait for it$"):
        lock(tmp_path / "new" / "folder")
    os.close(descriptor)
    os.close(lock(tmp_path / "new" / "folder"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write to .*file: File exists; free space, or choose another folder"):
        lock(tmp_path / "file")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_that_cannot_lock(tmp_path, monkeypatch, capsys, number):
    """Work goes on there, as it would have to anyway, and the user is told."""

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    os.close(lock(tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"train.sh: warning: the file system of {tmp_path} cannot lock ({os.strerror(number)})" in line

"""Files that appear under their final name only when they are complete."""

import os
import stat
import subprocess
import sys

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_output(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with atomic_output(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_the_result_has_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    with atomic_output(tmp_path / "result") as temporary:
        temporary.write_text("")
    assert (tmp_path / "result").stat().st_mode == ordinary.stat().st_mode


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*file/result: .*; free space or choose another folder"):
        with atomic_output(tmp_path / "file" / "result"):
            pass
    with pytest.raises(UserError, match="No space left"), atomic_output(tmp_path / "result") as temporary:
        with open("/dev/full", "wb", buffering=0) as stream, open(temporary, "rb") as _:
            stream.write(b"x")


def test_errors_of_other_files_are_left_alone(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "result"):
        open(tmp_path / "absent")


def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path):
    target, link, dangling = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "dangling"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "new" / "file")
    for path in (link, dangling):
        write_text(path, "new")
        assert path.is_symlink() and path.read_text() == "new"
    assert target.read_text() == "new" and (tmp_path / "new" / "file").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "folder", "link", "new"]
    assert list(target.parent.iterdir()) == [target]


def test_fifos_and_devices_are_written_to_and_stay(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(fifo, "text")
        assert os.read(descriptor, 100) == b"text"
    finally:
        os.close(descriptor)
    assert stat.S_ISFIFO(fifo.stat().st_mode) and list(tmp_path.iterdir()) == [fifo]
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    for path in (os.devnull, link):
        write_text(path, "text")
        assert stat.S_ISCHR(os.stat(path).st_mode)
    with pytest.raises(UserError, match="cannot write /dev/full: No space left on device; free space or choose"):
        write_text("/dev/full", "text")
    assert link.is_symlink() and stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_standard_output_by_name_is_not_replaced(tmp_path):
    code = "import sys; from rdrop_fairseq.common.files import write_text; write_text('/dev/stdout', 'a'); print('b')"
    with open(tmp_path / "file", "wb") as stream:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=stream)
    assert b"b" in (tmp_path / "file").read_bytes() and list(tmp_path.iterdir()) == [tmp_path / "file"]
    piped = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert piped.stdout == "ab\n"


def test_a_folder_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*: it is a folder"), atomic_output(tmp_path):
        raise AssertionError("the block has begun")
    assert list(tmp_path.iterdir()) == []

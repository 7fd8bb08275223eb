"""Files that appear under their final name only when they are complete."""

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output


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

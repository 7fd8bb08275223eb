"""Lines of text as corpus tools count them, and progress on a terminal and in a log."""

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.progress import progress_bar
from rdrop_fairseq.common.text import iterate_lines, last_line, read_lines


@pytest.mark.parametrize(
    "content, lines",
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", ["one", "\ufefftwo"]),
        ("a\u2028b\x85c\vd\fe\x1cf\rg\n".encode(), ["a\u2028b\x85c\vd\fe\x1cf\rg"]),
        (b"one\r\r\n\n", ["one\r", ""]),
        (b"nul\0 inside\n", ["nul\0 inside"]),
    ],
)
def test_only_line_feeds_end_lines(tmp_path, content, lines):
    path = tmp_path / "text"
    path.write_bytes(content)
    assert list(iterate_lines(path)) == lines == read_lines(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="no such file: .*absent; check the path"):
        read_lines(tmp_path / "absent")
    with pytest.raises(UserError, match="is a folder; give the path of a text file"):
        read_lines(tmp_path)
    path = tmp_path / "text"
    path.write_bytes(b"good\nbad \xff\n")
    with pytest.raises(UserError, match="text, line 2: not UTF-8"):
        read_lines(path)
    for content in (b"", b" \n\t\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is empty; give a file that has text in it"):
            read_lines(path)
        assert [line.strip() for line in iterate_lines(path)] == [""] * content.count(b"\n")


def test_the_last_line_that_is_not_blank(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo \xff\n\n  \n")
    assert last_line(path).startswith("two")
    path.write_bytes(b"\n")
    assert last_line(path) == "it printed nothing"


def test_progress_in_a_log_is_made_of_whole_lines(capsys):
    with progress_bar("train.en", 10, " lines") as bar:
        bar.delay = bar.mininterval = 0
        for _ in range(10):
            bar.update(1)
            bar.refresh()
    printed = capsys.readouterr().err
    assert "train.en: 100%" in printed and "10.0/10.0" in printed
    assert "\r" not in printed and printed.endswith("\n")

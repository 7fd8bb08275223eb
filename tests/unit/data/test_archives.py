"""Downloads that are cut off and continued, and archives that are not what they should be."""

import errno
import hashlib
import http.client
import os
import ssl

import pytest
from official_archives import Server

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import archives, download
from rdrop_fairseq.data.archives import Archive

CONTENT = os.urandom(1000) * 300
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def server(request, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SECONDS_TO_WAIT", (0,))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.tgz").write_bytes(CONTENT)
    server = Server(tmp_path / "served", ranges=request.param)
    server.ranges = request.param
    yield server
    server.close()


def archive(server, size=SIZE, sha256=SHA256, name="a.tgz"):
    return Archive("part", size, sha256, f"http://{server.address}/{name}")


def test_download_then_only_checked(server, tmp_path):
    path = archives.obtain([archive(server)], tmp_path / "archives", None)
    assert path.read_bytes() == CONTENT and len(server.requests) == 1
    assert archives.obtain([archive(server)], tmp_path / "archives", None) == path
    assert len(server.requests) == 1 and os.listdir(path.parent) == ["a.tgz"]


def test_a_connection_that_ends_is_continued(server, tmp_path):
    server.cut_after = 12345
    path = archives.obtain([archive(server)], tmp_path / "archives", None)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a.tgz", None), ("/a.tgz", "bytes=12345-")]


@pytest.mark.parametrize("error", [ssl.SSLError("bad record"), OSError(errno.EHOSTUNREACH, "No route to host")])
def test_an_error_of_the_network_is_none_of_the_disk(server, tmp_path, monkeypatch, error):
    """Whatever reading from the server raises: it is tried again, from where it was."""
    read = http.client.HTTPResponse.read
    failures = [error]

    def read_or_fail(response, *arguments):
        if failures and response.status == 200:
            raise failures.pop()
        return read(response, *arguments)

    monkeypatch.setattr(http.client.HTTPResponse, "read", read_or_fail)
    path = archives.obtain([archive(server)], tmp_path / "archives", None)
    assert path.read_bytes() == CONTENT and len(server.requests) == 2 and not failures


def test_a_later_command_continues(server, tmp_path):
    partial = tmp_path / "archives" / "a.tgz.partial"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[:100])
    assert archives.obtain([archive(server)], partial.parent, None).read_bytes() == CONTENT
    assert server.requests == [("/a.tgz", "bytes=100-")] and not partial.exists()


@pytest.mark.parametrize("size", [SIZE, None], ids=["size known", "size unknown"])
def test_all_was_received_before(server, tmp_path, size):
    """The kill came between the last byte and the new name."""
    partial = tmp_path / "archives" / "a.tgz.partial"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT)
    assert archives.obtain([archive(server, size=size)], partial.parent, None).read_bytes() == CONTENT


def test_a_server_that_fails(server, tmp_path):
    """It is asked again, then the error names URL and remedy; what was received is kept for the next command."""
    folder = tmp_path / "archives"
    with pytest.raises(UserError, match="404.*--raw-dir"):
        archives.obtain([archive(server, name="absent.tgz")], folder, None)
    assert len(server.requests) == 1, "a file that is not there does not appear by asking again"
    server.status = 503
    with pytest.raises(UserError, match="503"):
        archives.obtain([archive(server)], folder, None)
    assert len(server.requests) == 1 + download.ATTEMPTS
    server.status = None
    assert archives.obtain([archive(server)], folder, None).read_bytes() == CONTENT


def test_an_alternative_is_tried_in_turn(server, tmp_path):
    path = archives.obtain([archive(server, name="absent.tgz"), archive(server)], tmp_path / "archives", None)
    assert path.name == "a.tgz"


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 7}, {"size": 7, "sha256": None}])
def test_a_wrong_file_gets_no_name(server, tmp_path, wrong):
    """Neither is the name used, nor is the wrong file there to be continued."""
    with pytest.raises(UserError, match="a.tgz is damaged or another file"):
        archives.obtain([archive(server, **wrong)], tmp_path / "archives", None)
    assert list((tmp_path / "archives").glob("a.tgz*")) == []


def test_a_mirror_is_asked_after_a_wrong_file(server, tmp_path):
    """A page in place of the archive is told by its size before it is received."""
    (tmp_path / "served" / "wrong.tgz").write_bytes(b"<html>")
    alternatives = [archive(server, name="wrong.tgz"), archive(server, size=6, name="wrong.tgz"), archive(server)]
    path = archives.obtain(alternatives, tmp_path / "archives", None)
    assert path.name == "a.tgz" and os.listdir(path.parent) == ["a.tgz"] and len(server.requests) == 3


def test_files_of_the_user_are_checked_and_left_alone(server, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.tgz").write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="has 299999 bytes and not 300000"):
        archives.obtain([archive(server)], tmp_path / "archives", raw)
    assert (raw / "a.tgz").read_bytes() == CONTENT[:-1] and server.requests == []
    (raw / "a.tgz").write_bytes(CONTENT)
    assert archives.obtain([archive(server)], tmp_path / "archives", raw) == raw / "a.tgz"
    assert os.listdir(raw) == ["a.tgz"]


def test_an_unknown_sum_is_noted_and_holds_from_then_on(server, tmp_path):
    unknown = archive(server, size=None, sha256=None)
    path = archives.obtain([unknown], tmp_path / "archives", None)
    assert os.listdir(path.parent) == ["a.tgz"], "not before its text could be read"
    archives.note([[unknown]], [path.parent], path.parent)
    noted = (path.parent / archives.SUMS).read_text()
    assert noted == f"{hashlib.sha256(CONTENT).hexdigest()}  a.tgz\n"
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match="it has SHA-256 .*SHA256SUMS .remove that line if the file is right"):
        archives.obtain([unknown], path.parent, None)


@pytest.mark.parametrize("damage", [b"x a.tgz\n", b"\xff\n", b"abcd\n"])
def test_noted_sums_that_are_damaged(server, tmp_path, damage):
    archives.note([[archive(server, sha256=None)]], [tmp_path / "served"], tmp_path)
    with open(tmp_path / archives.SUMS, "ab") as stream:
        stream.write(damage)
    with pytest.raises(UserError, match="SHA256SUMS.*remove"):
        archives.obtain([archive(server, sha256=None)], tmp_path, tmp_path / "served")


def test_too_little_disk(tmp_path):
    with pytest.raises(UserError, match=r"needs 1,000,000\.0 GB .* free; free space or choose another folder"):
        archives.check_space(tmp_path / "not" / "there", 10**15, "it")


@pytest.mark.parametrize(
    "line", ["part 12 -", "part x - http://x/y", "part - abcd http://x/y", "pairs many", "part - - /a/b.tgz", ""]
)
def test_a_table_that_is_none(tmp_path, line):
    (tmp_path / "table").write_text(f"# archives\n{line}\n")
    with pytest.raises(UserError, match="table"):
        archives.read_table(tmp_path / "table")
    with pytest.raises(UserError, match="cannot read the table"):
        archives.read_table(tmp_path / "absent")


def test_the_tables_of_the_recipes():
    """Every part of every recipe is in its table, and no table has a part that nobody asks for."""
    from rdrop_fairseq.data.corpora import CORPORA, TABLES

    for name, corpus in CORPORA.items():
        table = archives.read_table(TABLES / f"{name}.txt")
        files = [file for files in corpus.files.values() for file in files]
        assert set(table.parts) == {file.part.format(language) for file in files for language in corpus.languages}

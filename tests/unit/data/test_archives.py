"""Downloads that are cut off and continued, and archives that are not what they should be."""

import hashlib
import os
import shutil

import pytest
from official_archives import Server

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import archives
from rdrop_fairseq.data.archives import Archive

CONTENT = os.urandom(1000) * 300
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def server(request, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SECONDS_TO_WAIT", (0, 0, 0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
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
    again = [] if server.ranges else [("/a.tgz", None)]
    assert server.requests == [("/a.tgz", None), ("/a.tgz", "bytes=12345-"), *again]


def put_before_curl(folder, monkeypatch, script):
    """Have a shell script run in the place of curl; it knows the real one as $curl, and which call it is as $call."""
    folder.mkdir()
    known = f"echo x >> '{folder}/calls'\ncall=$(wc -l < '{folder}/calls')\ncurl='{shutil.which('curl')}'\n"
    (folder / "curl").write_text(f"#!/bin/sh\n{known}{script}")
    (folder / "curl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("status", [6, 7, 28, 35, 56])
def test_an_error_of_the_network_is_none_of_the_disk(server, tmp_path, monkeypatch, status):
    """No such host, no route, time-out, TLS, a reset connection: it is tried again, from where it was."""
    script = f'[ "$call" -eq 1 ] || exec "$curl" "$@"\n"$curl" "$@"\nexit {status}\n'
    put_before_curl(tmp_path / "programs", monkeypatch, script)
    server.cut_after = 12345
    path = archives.obtain([archive(server)], tmp_path / "archives", None)
    assert path.read_bytes() == CONTENT and len(server.requests) >= 2


def test_a_network_that_never_works(server, tmp_path, monkeypatch):
    put_before_curl(tmp_path / "programs", monkeypatch, "printf '000 no such host: x'; exit 6\n")
    with pytest.raises(UserError, match="cannot download a.tgz: .*no such host: x; the same command continues"):
        archives.obtain([archive(server)], tmp_path / "archives", None)
    assert (tmp_path / "programs" / "calls").read_text() == "x\n" * 4


def test_without_curl(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no program curl.*install it, or .*--raw-dir"):
        archives.obtain([archive(server)], tmp_path / "archives", None)


def test_a_disk_that_cannot_be_written(server, tmp_path):
    (tmp_path / "archives" / "a.tgz.partial").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot write .*a.tgz.partial; free space or choose another folder"):
        archives.obtain([archive(server)], tmp_path / "archives", None)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*a.tgz.partial"):
        archives.obtain([archive(server)], tmp_path / "file", None)


def test_a_server_that_is_busy_for_a_while(server, tmp_path, monkeypatch):
    put_before_curl(
        tmp_path / "programs", monkeypatch, '[ "$call" -gt 2 ] || { printf 429; exit 22; }\nexec "$curl" "$@"\n'
    )
    assert archives.obtain([archive(server)], tmp_path / "archives", None).read_bytes() == CONTENT


def test_a_later_command_continues(server, tmp_path):
    partial = tmp_path / "archives" / "a.tgz.partial"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[:100])
    assert archives.obtain([archive(server)], partial.parent, None).read_bytes() == CONTENT
    # A server without ranges is asked for the whole.
    again = [] if server.ranges else [("/a.tgz", None)]
    assert server.requests == [("/a.tgz", "bytes=100-"), *again] and not partial.exists()


def test_more_was_received_than_there_is(server, tmp_path):
    """Of another edition, say: it cannot be continued."""
    partial = tmp_path / "archives" / "a.tgz.partial"
    partial.parent.mkdir()
    partial.write_bytes(CONTENT + b"more")
    assert archives.obtain([archive(server)], partial.parent, None).read_bytes() == CONTENT


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
    assert len(server.requests) == 1 + 4
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


def test_a_file_that_is_too_large_is_not_received(server, tmp_path):
    """The server says its size first."""
    with pytest.raises(UserError, match="it has more than 7 bytes"):
        archives.obtain([archive(server, size=7)], tmp_path / "archives", None)
    assert len(server.requests) == 1


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
    archives.note_sums(path.parent, {"a.tgz": path})
    noted = (path.parent / archives.SUMS).read_text()
    assert noted == f"{hashlib.sha256(CONTENT).hexdigest()}  a.tgz\n"
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match="it has SHA-256 .*SHA256SUMS .remove that line if the file is right"):
        archives.obtain([unknown], path.parent, None)


@pytest.mark.parametrize("damage", [b"x a.tgz\n", b"\xff\n", b"abcd\n"])
def test_noted_sums_that_are_damaged(server, tmp_path, damage):
    archives.note_sums(tmp_path, {"a.tgz": tmp_path / "served" / "a.tgz"})
    with open(tmp_path / archives.SUMS, "ab") as stream:
        stream.write(damage)
    with pytest.raises(UserError, match="SHA256SUMS.*remove"):
        archives.obtain([archive(server, sha256=None)], tmp_path, tmp_path / "served")


def test_too_little_disk(tmp_path):
    with pytest.raises(UserError, match=r"needs 1,000,000\.0 GB .* free; free space or choose another folder with --x"):
        archives.check_space(tmp_path / "not" / "there", 10**15, "it", "--x")


def test_little_space_is_told_in_megabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(UserError, match="it needs 2.0 MB and .* has 1.0 MB free"):
        archives.check_space(tmp_path, 2 * 10**6, "it")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(UserError, match="it needs 20.0 kB and .* has 0.0 kB free"):
        archives.check_space(tmp_path, 20_000, "it")


def test_sums_in_capital_letters(server, tmp_path):
    """As some programs write them; in the table and in the noted sums."""
    (tmp_path / "table").write_text(f"part {SIZE} {SHA256.upper()} http://{server.address}/a.tgz\n")
    known = archives.read_table(tmp_path / "table").parts["part"]
    path = archives.obtain(known, tmp_path / "archives", None)
    (path.parent / archives.SUMS).write_text(f"{SHA256.upper()}  a.tgz\n")
    assert archives.obtain([archive(server, sha256=None)], path.parent, None) == path


@pytest.mark.parametrize(
    "line", ["part 12 -", "part x - http://x/y", "part - abcd http://x/y", "pairs many", "part - - /a/b.tgz", ""]
)
def test_a_table_that_is_none(tmp_path, line):
    (tmp_path / "table").write_text(f"# archives\n{line}\n")
    with pytest.raises(UserError, match="table"):
        archives.read_table(tmp_path / "table")
    with pytest.raises(UserError, match="no such file: .*absent; check the path"):
        archives.read_table(tmp_path / "absent")


def test_the_tables_of_the_recipes():
    """Every part of every recipe is in its table, and no table has a part that nobody asks for."""
    from rdrop_fairseq.data.raw_text import TABLES
    from rdrop_fairseq.data.recipes import RECIPES

    for name, recipe in RECIPES.items():
        table = archives.read_table(TABLES / f"{name}.txt")
        files = [file for files in recipe.corpus.files.values() for file in files]
        assert set(table.parts) == {file.part.format(language) for file in files for language in recipe.languages}

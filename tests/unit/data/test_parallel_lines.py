"""Lines through a function on several processes: the same in any number of them, in bounded memory."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import parallel_lines
from rdrop_fairseq.data.parallel_lines import map_lines


def make_reversed(suffix):
    return lambda line: line[::-1] + suffix


def make_killed():
    return lambda line: os.kill(os.getpid(), signal.SIGKILL) if line == "die" else line


def make_failing():
    def function(line):
        raise UserError(f"cannot use {line}; give another")

    return function


@pytest.fixture
def many_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel_lines, "LINES_PER_CHUNK", 7)
    path = tmp_path / "many"
    # What other tools take for the end of a line ends none here.
    lines = [f"line {number} gr\u00fcn \u2028 \u0085 \r x" for number in range(1000)]
    path.write_bytes(("\ufeff" + "\n".join(lines) + "\r\n\nlast without an end").encode("utf-8"))
    return path, [*lines, "", "last without an end"]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_in_order_whatever_the_number_of_workers(many_lines, tmp_path, workers):
    path, lines = many_lines
    map_lines(make_reversed, ("!",), path, tmp_path / "out", workers)
    assert (tmp_path / "out").read_bytes().decode("utf-8") == "".join(line[::-1] + "!\n" for line in lines)


@pytest.mark.parametrize("workers", [1, 2])
def test_mistakes_leave_no_file(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(parallel_lines, "LINES_PER_CHUNK", 1)
    path = tmp_path / "text"
    path.write_bytes(b"one\ntwo\n\xff\n")
    with pytest.raises(UserError, match="text, line 3: not UTF-8"):
        map_lines(make_reversed, ("",), path, tmp_path / "out", workers)
    with pytest.raises(UserError, match="cannot use one; give another"):
        map_lines(make_failing, (), path, tmp_path / "out", workers)
    with pytest.raises(UserError, match="cannot read .*absent"):
        map_lines(make_reversed, ("",), tmp_path / "absent", tmp_path / "out", workers)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("lines", "processes"), [(0, 0), (6, 0), (7, 0), (8, 2), (20, 3), (21, 3), (700, 5)])
def test_no_more_workers_than_work(tmp_path, monkeypatch, lines, processes):
    monkeypatch.setattr(parallel_lines, "LINES_PER_CHUNK", 7)
    started = []

    class Pool(parallel_lines.ProcessPoolExecutor):
        def __init__(self, workers, *arguments):
            started.append(workers)
            super().__init__(workers, *arguments)

    monkeypatch.setattr(parallel_lines, "ProcessPoolExecutor", Pool)
    path = tmp_path / "text"
    path.write_text("line\n" * lines)
    map_lines(make_reversed, ("",), path, tmp_path / "out", 5)
    assert sum(started) == processes
    assert (tmp_path / "out").read_text() == "enil\n" * lines, "a last chunk that is not full has its lines, too"


def test_a_worker_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel_lines, "LINES_PER_CHUNK", 1)
    path = tmp_path / "text"
    path.write_text("one\ndie\n")
    with pytest.raises(UserError, match="was killed .*fewer --workers"):
        map_lines(make_killed, (), path, tmp_path / "out", 2)
    assert list(tmp_path.iterdir()) == [path]


_PROGRAM = """
import sys, time
from pathlib import Path
sys.argv[0] = "-m"
from rdrop_fairseq.data.parallel_lines import map_lines
def make(seconds):
    def function(line):
        if seconds:
            time.sleep(seconds)
        return line
    return function
map_lines(make, (float(sys.argv[2]),), Path(sys.argv[1]), Path(sys.argv[1] + ".out"), 2)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def test_memory_does_not_grow_with_the_file(tmp_path):
    """The largest resident set of the process that reads and writes, for 40 times as many lines."""
    peaks = []
    for factor in (1, 40):
        path = tmp_path / f"text{factor}"
        path.write_text("a line of some length, as sentences have\n" * 20_000 * factor)
        result = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(path), "0"], capture_output=True, text=True, check=True
        )
        peaks.append(int(result.stdout.split()[-1]) / 1024)
    # The longer file has 32 MiB; what is under way at a time, 6 chunks of 2000 lines, below 2 MiB.
    assert peaks[1] < peaks[0] + 8, peaks


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    path = tmp_path / "text"
    path.write_text("line\n" * 100_000)
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(path), "0.001"])

    def children():
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as stream:
            return [int(number) for number in stream.read().split()]

    def running(number):
        try:
            with open(f"/proc/{number}/stat") as stream:
                return stream.read().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    deadline = time.monotonic() + 60
    while not (workers := children()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while any(map(running, workers)):
        assert time.monotonic() < deadline, "the workers go on"
        time.sleep(0.05)
    assert not (tmp_path / "text.out").exists()

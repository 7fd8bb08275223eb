"""What scripts/stages.sh gives to the other scripts."""

import fcntl
import subprocess
import sys
import time
from pathlib import Path

COMMON = Path(__file__).resolve().parents[2] / "scripts" / "common.sh"
START = f"set -euo pipefail; source '{COMMON}'; source '{COMMON.parent}/stages.sh'; use_environment\n"


def wait_for_the_end_of(process, deadline):
    while process.exists() and "State:\tZ" not in (process / "status").read_text():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


def test_a_program_ends_with_the_script_that_is_killed(tmp_path):
    """Otherwise it would hold the lock of the folder, and write to it, for as long as it takes."""
    process = subprocess.Popen(["bash", "-c", START + f"quietly '{tmp_path}/log' sh -c 'echo $$; exec sleep 60'"])
    log = tmp_path / "log"
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text().endswith("\n")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    child = Path(f"/proc/{int(log.read_text())}")
    process.kill()
    process.wait()
    wait_for_the_end_of(child, deadline)


_FORKING = """
import sys, os, time
from rdrop_fairseq.data import binarise
import fairseq_cli.preprocess as preprocess
def cli_main():
    child = os.fork()
    os.write(1, f"{child or os.getpid()}\\n".encode())
    time.sleep(60)
preprocess.cli_main = cli_main
binarise.main()
"""


def test_the_processes_of_fairseq_preprocess_end_with_it():
    process = subprocess.Popen([sys.executable, "-c", _FORKING], stdout=subprocess.PIPE, text=True)
    # Both say which process the child is: it is certain to have come that far.
    child = [Path(f"/proc/{int(process.stdout.readline())}") for _ in range(2)][0]
    process.kill()
    process.wait()
    wait_for_the_end_of(child, time.monotonic() + 30)


def open_work_folder(folder, programs):
    """In a new bash, with programs that come before those of the system."""
    command = START + f"PATH='{programs}':$PATH; open_work_folder '{folder}' settings --data-dir 'x*'; echo opened"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True)


def test_one_process_at_a_time_in_a_work_folder(tmp_path):
    folder, programs = tmp_path / "work", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    with open(folder / ".lock", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        result = open_work_folder(folder, programs)
        assert result.returncode == 1 and "another process works in" in result.stderr
    result = open_work_folder(folder, programs)
    assert (result.stdout, result.stderr) == ("opened\n", "")
    # A file system without locks, as flock(1) of util-linux reports it.
    (programs / "flock").write_text('#!/bin/sh\necho "flock: $2: Function not implemented" >&2\nexit 65\n')
    (programs / "flock").chmod(0o755)
    result = open_work_folder(folder, programs)
    assert result.stdout == "opened\n"
    assert result.stderr.count("\n") == 1 and "warning: cannot lock" in result.stderr
    assert "Function not implemented" in result.stderr

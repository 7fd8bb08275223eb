"""fairseq-preprocess, whose processes must not outlive the preparation that started it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

# As fairseq-preprocess forks its workers; both processes say which one the worker is.
FORKING = """
import os, time
from rdrop_fairseq.data import binarise
import fairseq_cli.preprocess as preprocess
def cli_main():
    child = os.fork()
    os.write(1, f"{child or os.getpid()}\\n".encode())
    time.sleep(60)
preprocess.cli_main = cli_main
binarise.main()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_the_processes_of_fairseq_preprocess_end_with_it():
    process = subprocess.Popen([sys.executable, "-c", FORKING], stdout=subprocess.PIPE, text=True)
    # The second line is there when the worker has come that far.
    worker = [Path(f"/proc/{int(process.stdout.readline())}") for _ in range(2)][0]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while worker.exists() and "State:\tZ" not in (worker / "status").read_text():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)

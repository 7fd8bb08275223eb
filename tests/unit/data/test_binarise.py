"""fairseq-preprocess: how many processes it takes, how it fails, and that all of them end with their parent."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdrop_fairseq.data import binarise as module
from rdrop_fairseq.data.binarise import binarise

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
    deadline = time.monotonic() + 30
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


@pytest.mark.parametrize(("lines", "workers", "processes"), [
    (0, 8, 1), (1999, 8, 1), (2000, 8, 2), (15999, 8, 8), (16000, 8, 8), (16000, 1, 1),
])  # fmt: skip
def test_a_small_corpus_takes_few_processes(tmp_path, monkeypatch, lines, workers, processes):
    (tmp_path / "train.en").write_text("a\n" * lines)
    started = []
    monkeypatch.setattr(module, "run_quietly", lambda command, log, name: started.append([name, *command]))
    binarise(tmp_path, ("en", "de"), tmp_path / "bin", workers, tmp_path / "log")
    assert started[0][started[0].index("--workers") + 1] == str(processes)
    assert started[0][0] == "fairseq-preprocess", "what messages call it"

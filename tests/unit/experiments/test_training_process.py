"""A training's output, progress, end and exit status, with small programs in the place of fairseq-train."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.experiments.training_process import TrainingProcess, full_environment, message_of_failure

UPDATE = (
    '2026-11-21 04:08:11 | INFO | train_inner | {"epoch": 1, "update": 0.2, "loss": "13.0", "nll_loss": "5.957", '
    '"rdrop_kl_loss": "0.237", "ppl": "62.1", "num_updates": "7", "lr": "0.001"}'
)


def start(tmp_path, program: str) -> TrainingProcess:
    return TrainingProcess([sys.executable, "-c", program], full_environment({"ADDED": "yes"}), tmp_path / "log")


@pytest.mark.parametrize(
    "end, status", [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", 128 + 9)]
)
def test_exit_status_and_log(tmp_path, end, status):
    (tmp_path / "log").write_text("earlier\n")
    program = f"import os, signal, sys; print(os.environ['ADDED']); print('why', file=sys.stderr, flush=True); {end}"
    process = start(tmp_path, program)
    assert process.follow("rdrop") == status
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "earlier" and sorted(lines[1:]) in (["why"], ["why", "yes"])
    assert process.last_message() in ("why", "yes")


def test_progress_is_shown(tmp_path, capsys):
    assert start(tmp_path, f"print({UPDATE!r})").follow("rdrop") == 0
    assert "update 7" in capsys.readouterr().err


def test_a_training_goes_on_when_its_reader_goes_away(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        program = f"import time; print({UPDATE!r}, flush=True); time.sleep(0.5); print('at its end')"
        assert start(tmp_path, program).follow("rdrop") == 0
        say("train.sh", "done")
        with contextlib.suppress(OSError):
            stderr.close()
    assert (tmp_path / "log").read_text().endswith("at its end\n")


# What torchrun writes when it is told to end; its status is 1, whatever its processes do then.
CLOSING = "W1121 04:20:09 27879 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 3 closing signal"
TORCHRUN = (
    "Traceback (most recent call last):\n"
    "torch.distributed.elastic.multiprocessing.api.SignalException: Process 27879 got signal: 15"
)
FULL = "cannot write checkpoints to x: No space left on device; choose another --save-dir, or free space"
GONE = "[rank1]: RuntimeError: Connection closed by peer"


@pytest.mark.parametrize(
    "written, end, status, message",
    [
        (["ended"], 143, 143, "ended"),
        (["ended"], -9, 143, "ended"),
        (["ended"], 0, 0, "ended"),
        ([FULL], 1, 1, FULL),
        ([CLOSING, TORCHRUN], 1, 143, "ready"),
        ([CLOSING, GONE, TORCHRUN], 1, 143, "ready"),
        ([CLOSING, FULL, GONE, TORCHRUN], 1, 1, FULL),
        ([CLOSING, "[rank0]: OSError: this", TORCHRUN], 1, 1, "OSError: this"),
        (["RuntimeError: DataLoader worker (pid 5) is killed by signal: Terminated."], 1, 143, None),
    ],
)
def test_a_signal_reaches_the_training(tmp_path, written, end, status, message):
    """A training that completes or fails after it has its own status."""
    text = "\n".join(written)
    last = f"sys.exit({end})" if end >= 0 else f"os.kill(os.getpid(), {-end})"
    program = (
        "import os, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (print({text!r}, flush=True), {last}))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    process = start(tmp_path, program)

    def send() -> None:
        while "ready" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        time.sleep(0.3)  # until the signal is waited for
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    assert process.follow("rdrop") == status
    thread.join()
    assert (tmp_path / "log").read_text() == f"ready\n{text}\n"
    assert message is None or process.last_message() == message


def test_an_ignored_signal_stays_ignored(tmp_path):
    """As nohup leaves SIGHUP: the terminal does not reach the training, whose torchrun heeds such a signal."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(tmp_path, "import os, time; time.sleep(1); print(os.getsid(0) == os.getpid())")
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGHUP))
        timer.start()
        assert process.follow("rdrop") == 0
        timer.join()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert (tmp_path / "log").read_text() == "True\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_a_worker_ends_with_its_parent():
    worker = [sys.executable, "-m", "rdrop_fairseq.common.processes", "sh", "-c", "echo $$; exec sleep 60"]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({worker})"], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and running(child):
        time.sleep(0.02)
    assert not running(child)


def running(process: int) -> bool:
    """Whether it runs; one that has ended but that nobody has waited for does not."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_message_of_failure():
    assert message_of_failure("") == ""
    assert message_of_failure("INFO\nTraceback\nValueError: this\n\n") == "ValueError: this"
    report = (
        "W1121 04:20:09 27879 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 3 closing signal\n"
        "E1121 04:20:09 27879 torch/distributed/elastic/multiprocessing/api.py:987] failed (exitcode: 1)\n"
        "Root Cause (first observed failure):\n[0]:\n  time : now\n  host : here\n  rank      : 1 (local_rank: 1)\n"
    )
    # The other process complains later, of the one that failed.
    text = "[rank1]: Traceback\n[rank1]: ValueError: this\n[rank0]: RuntimeError: Connection closed by peer\n"
    assert message_of_failure(text + report) == "ValueError: this"
    # An error in one line has no rank in front.
    text = "cannot write checkpoints to x: disk full; free space\n[rank0]: RuntimeError: Connection closed by peer\n"
    assert message_of_failure(text + report) == "cannot write checkpoints to x: disk full; free space"

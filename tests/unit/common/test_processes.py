"""Programs that are started: found without an activated environment, quiet, and ended with this process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.processes import available_cores, program_path, run_quietly


def test_programs_of_the_interpreter_are_found_without_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert Path(program_path("fairseq-train")).parent == Path(sys.executable).parent
    with pytest.raises(UserError, match="no program absent-program beside .* or on PATH; run scripts/setup.sh"):
        program_path("absent-program")


def test_output_goes_to_the_log_and_a_failure_is_its_last_line(tmp_path):
    log = tmp_path / "new" / "log"
    run_quietly(["sh", "-c", "echo one; echo two >&2"], log)
    assert sorted(log.read_text().split()) == ["one", "two"]
    with pytest.raises(UserError, match=f"sh failed with status 3: why; the whole message is in {log}"):
        run_quietly(["sh", "-c", "echo because; echo why; echo; exit 3"], log)
    with pytest.raises(UserError, match="sh failed with status 1: it printed nothing"):
        run_quietly(["sh", "-c", "exit 1"], log)


def test_a_failure_on_a_full_disk_says_so(tmp_path):
    """Its last words are missing, or were cut off. A limit on the size of files stands for the disk."""
    code = (
        "import resource, sys; from pathlib import Path; from rdrop_fairseq.common.processes import run_quietly; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "run_quietly([sys.executable, '-c', 'print(5000 * chr(97), flush=True)'], Path(sys.argv[1]))"
    )
    log, root = tmp_path / "log", Path(__file__).resolve().parents[3]
    result = subprocess.run([sys.executable, "-c", code, log], cwd=root, capture_output=True, text=True)
    assert result.stderr == f"cannot write {log}: File too large; free space or choose another folder\n"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*file/log: File exists; free space or choose another"):
        run_quietly(["true"], tmp_path / "file" / "log")


def test_a_long_last_line_is_shortened(tmp_path):
    with pytest.raises(UserError) as error:
        run_quietly(["sh", "-c", "echo Namespace $(seq 5000); exit 1"], tmp_path / "log")
    assert "Namespace 1 2 3" in str(error.value) and len(str(error.value)) < 500 + len(str(tmp_path))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_a_program_ends_with_the_one_that_is_killed(tmp_path):
    """Otherwise it would write on, beside the one that is started in its place."""
    log = tmp_path / "log"
    code = (
        "from pathlib import Path; from rdrop_fairseq.common.processes import run_quietly; "
        f"run_quietly(['sh', '-c', 'echo $$; exec sleep 60'], Path({str(log)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[3])
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text().endswith("\n")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    child = Path(f"/proc/{int(log.read_text())}")
    process.kill()
    process.wait()
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


def test_cores():
    assert available_cores() >= 1

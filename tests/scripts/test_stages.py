"""What scripts/stages.sh gives to the other scripts."""

import subprocess
import time
from pathlib import Path

COMMON = Path(__file__).resolve().parents[2] / "scripts" / "common.sh"
START = f"set -euo pipefail; source '{COMMON}'; source '{COMMON.parent}/stages.sh'; use_environment\n"


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
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)

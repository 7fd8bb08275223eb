"""Programs that this one starts: found beside its interpreter, and ended when it ends.

    python -m rdrop_fairseq.common.processes PROGRAM ARGUMENT...

runs a program in the place of this process, so that it ends when the process that started it ends. Otherwise a training
whose launcher was killed (SIGKILL, out of memory) would go on unseen, and write to the same checkpoints as the one that
is started in its place.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import check_can_grow
from rdrop_fairseq.common.text import last_line

# In front of a command line: has it end with this process.
ENDING_WITH_PARENT = (sys.executable, "-m", "rdrop_fairseq.common.processes")
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def available_cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def program_path(name: str) -> str:
    """The program ``name`` of the environment in use: beside its interpreter, activated or not, else on PATH.

    Raises:
        UserError: it is not there.
    """
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if path is None:
        raise UserError(f"no program {name} beside {sys.executable} or on PATH; run scripts/setup.sh")
    return path


def run_quietly(command: Sequence[str], log: Path, name: Optional[str] = None) -> None:
    """Run a program with all its output in ``log``; it ends with this process.

    Args:
        command: its words.
        log: is written anew.
        name: what messages call it; the first word unless given.

    Raises:
        UserError: it failed; the message is its last line, or says that the log cannot be written.
    """
    words: List[str] = [*ENDING_WITH_PARENT, program_path(command[0]), *command[1:]]
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = open(log, "wb")  # noqa: SIM115, the program writes to it
    except OSError as error:
        raise UserError(f"cannot write {log}: {error.strerror}; free space or choose another folder") from error
    with stream:
        status = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT).returncode
    if status != 0:
        check_can_grow(log)  # on a full disk its last words are missing
        raise UserError(
            f"{name or command[0]} failed with status {status}: {last_line(log)}; the whole message is in {log}"
        )


def end_with_parent(parent: Optional[int] = None) -> None:
    """Have the kernel kill this process when its parent ends, also after it has become another program.

    Only Linux can do this; elsewhere nothing is changed.

    Args:
        parent: its process number, where it is known: so a parent is noticed that ended before this began.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = os.getppid() if parent is None else parent
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return  # a C library without prctl
    if os.getppid() != parent:
        sys.exit(1)  # it ended before the kernel knew


def main() -> None:
    """The command line."""
    if len(sys.argv) < 2:
        raise UserError("no program to run; usage: python -m rdrop_fairseq.common.processes PROGRAM ARGUMENT...")
    end_with_parent()
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        raise UserError(f"cannot run {sys.argv[1]}: {error.strerror}; run scripts/setup.sh") from error


if __name__ == "__main__":
    main()

"""Runs a program in the place of this process, so that it ends when the process that started it ends.

    python -m rdrop_fairseq.recipes.worker PROGRAM ARGUMENT...

Otherwise a training whose launcher was killed (SIGKILL, out of memory) would go on unseen, and write to the same
checkpoints as the one that is started in its place.
"""

import os
import signal
import sys

from rdrop_fairseq.errors import UserError

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, also after it has become another program.

    Only Linux can do this; elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = os.getppid()
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return  # a C library without prctl
    if os.getppid() != parent:
        sys.exit(1)  # it ended before the kernel knew


def main() -> None:
    """The command line."""
    if len(sys.argv) < 2:
        raise UserError("no program to run; usage: python -m rdrop_fairseq.recipes.worker PROGRAM ARGUMENT...")
    end_with_parent()
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        raise UserError(f"cannot run {sys.argv[1]}: {error.strerror}; run scripts/setup.sh") from error


if __name__ == "__main__":
    main()

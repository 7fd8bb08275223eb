"""Keeping a second process out of a folder in which one works."""

import fcntl
import os
from pathlib import Path

from rdrop_fairseq.errors import UserError
from rdrop_fairseq.evaluation.command_line import say


def lock_folder(folder: Path, program: str, taken: str, another_place: str) -> int:
    """Make a folder and keep every other process from it until this one, and its children, have ended.

    Some file systems cannot lock (Lustre without the mount option flock, some of NFS). This is said there, and work
    goes on.

    Args:
        folder: the folder; the lock is the file ``.lock`` in it.
        program: the name of the program, for what it says.
        taken: the message if another process holds the lock.
        another_place: what to do where the folder cannot be written, for the message.

    Returns:
        The file descriptor that holds the lock, for children to inherit; closed, it ends the lock.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; free space, or {another_place}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(taken) from error
    except OSError as error:
        say(
            program,
            f"warning: the file system of {folder} cannot lock ({error.strerror}): nothing keeps a second process "
            "out of this folder; do not start one",
        )
    return descriptor

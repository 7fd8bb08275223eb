"""Keeping a second process out of a folder in which one works."""

import contextlib
import inspect
from pathlib import Path
from typing import Iterator

from filelock import FileLock, Timeout

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError

# Newer versions put a file in the place of a lock that the file system does not have; after a kill it would stay.
_OPTIONS = {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters else {}


@contextlib.contextmanager
def locked_folder(folder: Path, program: str, remedy: str) -> Iterator[None]:
    """Make a folder and keep every other process from it for the time of the block.

    The system ends the lock with the process that holds it, however that ends. Some file systems cannot lock (Lustre
    without the mount option flock, some of NFS). This is said there, and work goes on.

    Args:
        folder: the folder; the lock is the file ``.lock`` in it.
        program: the name of the program, for what it says.
        remedy: what to do where the folder is in use or cannot be written, for the message.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; free space, or {remedy}") from error
    lock = FileLock(str(path), timeout=0, **_OPTIONS)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"another process works in {folder}; wait for it, or {remedy}") from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        say(
            program,
            f"warning: the file system of {folder} cannot lock ({reason}): nothing keeps a second process out of this "
            "folder; do not start one",
        )
    try:
        yield
    finally:
        lock.release()

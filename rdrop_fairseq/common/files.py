"""Output files that appear under their final name only when they are complete, and files that stay what they are."""

import contextlib
import errno
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, Iterator, Optional, Union

from rdrop_fairseq.common.errors import UserError

PathLike = Union[str, Path]
_BLOCK = 1 << 20


@contextlib.contextmanager
def atomic_output(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it.

    A reader, or a run that continues after a kill, therefore sees either the previous file or the whole
    new one. Parent folders are made. The data are synchronised to disk before the rename, because
    otherwise a crash of the machine can leave the new name with empty contents.

    A symbolic link stays: the file that it leads to is replaced. A FIFO or a device cannot be replaced; the block
    gets its own path and writes to it directly.

    Raises:
        UserError: the folder cannot be written (read-only, full), or ``path`` is a folder; it is as it was before.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise _cannot_write(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
    if _is_stream(path):
        with _explaining(path, path):
            yield path
        return
    target = Path(os.path.realpath(path))
    with _explaining(path, None):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not by the module tempfile, whose files nobody else may read.
        temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
        temporary.touch(exist_ok=False)
    try:
        with _explaining(path, temporary):
            yield temporary
            with open(temporary, "rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _is_stream(path: Path) -> bool:
    """Whether ``path`` is a FIFO, a device, or an open file under its name in the system (/dev/stdout)."""
    is_special = os.path.exists(path) and not os.path.isfile(path)
    return is_special or os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))


@contextlib.contextmanager
def _explaining(path: Path, written: Optional[Path]) -> Iterator[None]:
    """Turn an error of writing ``written`` (None: of any file) into the UserError about ``path``.

    An error about another file, one that the block reads, speaks for itself. A full disk names no file, and a copy
    names both.
    """
    try:
        yield
    except OSError as error:
        named = {str(name) for name in (error.filename, error.filename2) if name is not None}
        if written is None or not named or str(written) in named:
            raise _cannot_write(path, error) from error
        raise


def write_text(path: PathLike, text: str) -> None:
    """Write a UTF-8 file, which appears when it is complete; raises a UserError as :func:`atomic_output` does."""
    with atomic_output(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)


def write_json(path: PathLike, content: Any) -> None:
    """Write JSON for people and programs alike; raises a UserError as :func:`atomic_output` does."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def check_can_grow(path: PathLike) -> None:
    """Assert that more can be written to a file of a program that failed, perhaps because the disk is full.

    Raises:
        UserError: nothing can be written to it.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        try:
            with open(path, "ab") as stream:
                stream.write(b" " * _BLOCK)
        finally:
            os.truncate(path, size)
    except OSError as error:
        raise _cannot_write(path, error) from error


def sha256_of(path: PathLike) -> str:
    """The SHA-256 of a file in hexadecimal.

    Raises:
        UserError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give an existing, readable file") from error
    return digest.hexdigest()


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder")

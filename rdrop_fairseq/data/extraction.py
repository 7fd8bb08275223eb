"""Files inside archives, read as streams: nothing is unpacked, so no member can write anywhere."""

import contextlib
import gzip
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Iterator

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.text import decode_line

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, lzma.LZMAError, EOFError)


def lines_of_member(archive: Path, name: str) -> Iterator[str]:
    """The lines of the member called ``name``, or ``name.gz``, in whatever folder of the archive.

    ``archive`` is a tar (compressed or not), a zip, or itself ``name`` or ``name.gz``.

    Raises:
        UserError: the archive is damaged or lacks the member, or the member is not UTF-8.
    """
    name = PurePosixPath(name).name  # the user's may be in a folder of the raw text
    inside = archive if archive.name == name else archive / name
    try:
        with _open_member(archive, name) as stream:
            for number, line in enumerate(stream, start=1):
                yield decode_line(line, number, inside)
    except _DAMAGE as error:
        raise UserError(
            f"{archive} is damaged or no archive ({error}); remove it and run the same command again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror or error}; give an existing, readable file") from error


@contextlib.contextmanager
def _open_member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The member as a stream of what it holds when it is decompressed."""
    if _is_called(archive.name, name):
        with open(archive, "rb") as stream:
            yield _decompressed(stream, archive.name)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                if _is_called(member.filename, name):
                    with members.open(member) as stream:
                        yield _decompressed(stream, member.filename)
                    return
            raise _missing(archive, name)
    else:
        # "r|*" reads from the front to the end once, as a large compressed archive should be.
        with tarfile.open(archive, "r|*") as members:
            for member in members:
                if member.isfile() and _is_called(member.name, name):
                    yield _decompressed(members.extractfile(member), member.name)
                    return
            raise _missing(archive, name)


def _is_called(path: str, name: str) -> bool:
    return PurePosixPath(path).name in (name, f"{name}.gz")


def _decompressed(stream: IO[bytes], name: str) -> IO[bytes]:
    return gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream


def _missing(archive: Path, name: str) -> UserError:
    return UserError(f"{archive} has no member {name}; give the official archive, or the extracted file with --raw-dir")

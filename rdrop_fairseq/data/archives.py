"""The archives of a corpus: a table of what they are, downloads that resume, and checks on every run."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence
from urllib.parse import urlsplit

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of, write_text
from rdrop_fairseq.common.processes import ENDING_WITH_PARENT
from rdrop_fairseq.common.text import iterate_lines

SUMS = "SHA256SUMS"  # in a folder: sums of files that a later command must find unchanged

SECONDS_TO_WAIT = (1, 5, 20)  # before the second attempt to download and so on
_SECONDS_WITHOUT_A_BYTE = "60"
# Exit statuses of curl that have a meaning of their own here; any other is the network's.
_HTTP_ERROR, _NO_RANGES, _CANNOT_WRITE, _TOO_LARGE = 22, 33, 23, 63


class Archive(NamedTuple):
    """A file to be had at ``url``; ``size`` in bytes and ``sha256`` in hexadecimal where they are known."""

    part: str
    size: Optional[int]
    sha256: Optional[str]
    url: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


class Table(NamedTuple):
    """What a recipe is made from: for each part the archives that hold it, any of which will do."""

    parts: Dict[str, List[Archive]]
    pairs: Optional[int]
    """How many pairs of lines all parts together have, empty ones too, where that is known."""


def read_table(path: Path) -> Table:
    """Read a table: lines of part, bytes, SHA-256 and URL, or of ``pairs`` and their number; ``-`` for unknown.

    Raises:
        UserError: the file is missing or a line is something else.
    """
    parts: Dict[str, List[Archive]] = {}
    pairs = None
    for number, line in enumerate(iterate_lines(path), start=1):
        words = line.split("#", 1)[0].split()
        try:
            if len(words) == 2 and words[0] == "pairs":
                pairs = int(words[1])
            elif words:
                part, size, sha256, url = words
                known_size = None if size == "-" else int(size)
                archive = Archive(part, known_size, None if sha256 == "-" else _digest(sha256), url)
                # A path would be none: what lies in a folder is taken from there by --raw-dir.
                if not urlsplit(url).scheme or not archive.name:
                    raise ValueError
                parts.setdefault(part, []).append(archive)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: give part, bytes, SHA-256 and URL, - for unknown") from error
    if not parts:
        raise UserError(f"{path} names no archive; give lines of part, bytes, SHA-256 and URL")
    return Table(parts, pairs)


def find(alternatives: Sequence[Archive], folders: Sequence[Path]) -> Optional[Path]:
    """The first of the archives that lies in one of the folders, unchecked, or None."""
    paths = [folder / archive.name for archive in alternatives for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def obtain(alternatives: Sequence[Archive], folder: Path, raw_folder: Optional[Path]) -> Path:
    """One of the archives, checked: from ``raw_folder`` or ``folder`` if it lies there, else downloaded to ``folder``.

    Raises:
        UserError: an archive is damaged, or none can be downloaded.
    """
    present = find(alternatives, [raw_folder, folder] if raw_folder else [folder])
    if present:
        fault = _find_fault(present, next(it for it in alternatives if it.name == present.name), folder)
        if fault:
            raise UserError(
                f"{present.name} is damaged or another file: it has {fault}; remove {present}, "
                "or put the right one there"
            )
        return present
    failures = []
    for archive in alternatives:
        try:
            return _download(archive, folder)
        except UserError as error:
            failures.append(str(error))
    raise UserError(
        f"cannot download {alternatives[0].name}: {'; '.join(failures)}; the same command continues where this one "
        "ended, and --raw-dir takes the file from a folder"
    )


def _find_fault(path: Path, archive: Archive, folder: Path) -> Optional[str]:
    """Compare size and SHA-256 with the table's; where that has none, with the one noted in ``folder``.

    Returns:
        What the file has that differs, or None.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        return f"{size} bytes and not {archive.size}"
    expected = archive.sha256 or _noted_sums(folder).get(archive.name)
    digest = sha256_of(path) if expected else None
    if digest == expected:
        return None
    # There may be a newer edition of an archive whose sum is not published.
    noted = "" if archive.sha256 else f", noted in {folder / SUMS} (remove that line if the file is right)"
    return f"SHA-256 {digest} and not {expected}{noted}"


def note_sums(folder: Path, files: Dict[str, Path]) -> None:
    """Note the SHA-256 of ``files``, by name, in ``folder`` beside those of other names.

    Raises:
        UserError: a file cannot be read, or ``folder`` not written.
    """
    if files:
        sums = {**_noted_sums(folder), **{name: sha256_of(path) for name, path in files.items()}}
        # The format of the program sha256sum.
        write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def _noted_sums(folder: Path) -> Dict[str, str]:
    """The sums noted in ``folder``, by name; raises a UserError if the file that has them is damaged."""
    path = folder / SUMS
    try:
        pairs = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: _digest(digest) for digest, name in pairs}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: every line must be a SHA-256, two blanks and a name; remove the line that is not, "
            "or the file"
        ) from error


def _digest(text: str) -> str:
    """A SHA-256 in hexadecimal, in small letters; raises a ValueError if it is none."""
    if not re.fullmatch("[0-9a-f]{64}", text.lower()):
        raise ValueError
    return text.lower()


def check_unchanged(folder: Path, paths: Iterable[Path], option: str = "--output-dir") -> None:
    """Compare the sums of files with those noted in ``folder`` under their paths, where there are any.

    A file that is gone has served its purpose. ``option`` chooses another folder of results, for the message.

    Raises:
        UserError: a file is another one by now.
    """
    sums = _noted_sums(folder)
    for path in paths:
        if str(path) in sums and path.exists() and sha256_of(path) != sums[str(path)]:
            raise UserError(
                f"{path} has changed since its text was taken; put the earlier file back, or prepare the new one in "
                f"another folder with {option}"
            )


def check_space(folder: Path, needed: int, what: str, option: str = "--output-dir") -> None:
    """Raises a UserError unless ``needed`` bytes are free where ``folder`` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{what} needs {readable_size(needed)} and {folder} has {readable_size(free)} free; free space or choose "
            f"another folder with {option}"
        )


def _download(archive: Archive, folder: Path) -> Path:
    """Fetch an archive with curl; it gets its name in ``folder`` when it is complete and the right file.

    What was received before lies there with ``.partial`` added to the name; only the rest is asked for, where the
    server can send it.

    Raises:
        UserError: the server or the network failed, or it cannot be written, and what was received is kept; or the
            server has another file, which is removed; or there is no curl.
    """
    path, partial = folder / archive.name, folder / f"{archive.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(partial) from error
    waits = iter(SECONDS_TO_WAIT)
    # Not by --retry of curl: every attempt would begin where the first one did.
    while not partial.exists() or partial.stat().st_size != archive.size:
        failure = _receive(archive, partial)
        if failure is None:
            break
        seconds = next(waits, None)
        if seconds is None:
            raise UserError(failure)
        time.sleep(seconds)
    fault = _find_fault(partial, archive, folder)
    if fault:
        partial.unlink()
        raise UserError(f"{archive.url} is damaged or another file: it has {fault}")
    return partial.replace(path)


def _receive(archive: Archive, partial: Path) -> Optional[str]:
    """Append to ``partial`` what it lacks; returns what went wrong if another attempt may help, else None.

    Raises:
        UserError: another attempt would not help.
    """
    curl = shutil.which("curl")
    if curl is None:
        raise UserError("no program curl, which downloads; install it, or give the files in a folder with --raw-dir")
    words = [*ENDING_WITH_PARENT, curl, "--progress-bar" if sys.stderr.isatty() else "--silent"]
    words += ["--fail", "--location", "--globoff", "--connect-timeout", _SECONDS_WITHOUT_A_BYTE]
    words += ["--speed-limit", "1", "--speed-time", _SECONDS_WITHOUT_A_BYTE]
    words += ["--max-filesize", str(archive.size)] if archive.size else []
    words += ["--continue-at", "-", "--output", str(partial), "--write-out", "%{http_code} %{errormsg}", archive.url]
    result = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    status = result.returncode
    answer, _, message = result.stdout.strip().partition(" ")
    code = int(answer or 0)
    if code == 416 or status == _NO_RANGES:
        # What was received is no beginning of the file, or the server sends whole files only: all of it once more.
        partial.unlink()
        return f"{archive.url} cannot be continued"
    if status == _TOO_LARGE:
        partial.unlink(missing_ok=True)
        raise UserError(f"{archive.url} is damaged or another file: it has more than {archive.size} bytes")
    if status == _CANNOT_WRITE:
        raise _cannot_write(partial)
    # A server that is busy (429, 5xx) may answer later; one that has no such file will not.
    if status == _HTTP_ERROR and code < 500 and code not in (408, 429):
        raise UserError(f"{archive.url} answers {code}")
    return f"{archive.url}: {message or f'curl ends with status {status}'}" if status else None


def _cannot_write(path: Path) -> UserError:
    return UserError(f"cannot write {path}; free space or choose another folder")


def readable_size(size: float) -> str:
    """A number of bytes for a person."""
    unit, name = next((it for it in ((1e9, "GB"), (1e6, "MB")) if size >= it[0]), (1e3, "kB"))
    return f"{size / unit:,.1f} {name}"

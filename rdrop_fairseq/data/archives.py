"""The archives of a corpus: a table of what they are, downloads that resume, and checks on every run."""

import shutil
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence
from urllib.parse import urlsplit

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of
from rdrop_fairseq.data.checksums import DIGITS, SUMS, note_sums, noted_sums
from rdrop_fairseq.data.download import DownloadError, download


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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the table of archives {path}; give an existing text file") from error
    for number, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        try:
            if len(words) == 2 and words[0] == "pairs":
                pairs = int(words[1])
            elif words:
                part, size, sha256, url = words
                archive = Archive(
                    part, None if size == "-" else int(size), None if sha256 == "-" else sha256.lower(), url
                )
                if archive.sha256 and len(bytes.fromhex(archive.sha256)) * 2 != DIGITS:
                    raise ValueError
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
    return next(
        (folder / archive.name for archive in alternatives for folder in folders if (folder / archive.name).is_file()),
        None,
    )


def obtain(alternatives: Sequence[Archive], folder: Path, raw_folder: Optional[Path]) -> Path:
    """One of the archives, checked: from ``raw_folder`` or ``folder`` if it lies there, else downloaded to ``folder``.

    Raises:
        UserError: an archive is damaged, or none can be downloaded.
    """
    present = find(alternatives, [raw_folder, folder] if raw_folder else [folder])
    if present:
        fault = find_fault(present, next(it for it in alternatives if it.name == present.name), folder)
        if fault:
            raise UserError(
                f"{present.name} is damaged or another file: it has {fault}; remove {present}, "
                "or put the right one there"
            )
        return present
    failures = []
    for archive in alternatives:
        try:
            path = folder / archive.name
            download(archive.url, path, archive.size, lambda received, it=archive: find_fault(received, it, folder))
            return path
        except DownloadError as error:
            failures.append(str(error))
    raise UserError(
        f"cannot download {alternatives[0].name}: {'; '.join(failures)}; the same command continues where this one "
        "ended, and --raw-dir takes the file from a folder"
    )


def find_fault(path: Path, archive: Archive, folder: Path) -> Optional[str]:
    """Compare size and SHA-256 with the table's; where that has none, with the one that :func:`note` took.

    Returns:
        What the file has that differs, or None.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        return f"{size} bytes and not {archive.size}"
    expected = archive.sha256 or noted_sums(folder).get(archive.name)
    digest = sha256_of(path) if expected else None
    if digest == expected:
        return None
    # There may be a newer edition of an archive whose sum is not published.
    noted = "" if archive.sha256 else f", noted in {folder / SUMS} (remove that line if the file is right)"
    return f"SHA-256 {digest} and not {expected}{noted}"


def note(parts: Iterable[Sequence[Archive]], folders: Sequence[Path], folder: Path) -> None:
    """Note in ``folder`` the SHA-256 of the archives that lie in ``folders`` and for which the table has none.

    To be called when their text has been extracted: before, one that is cut off would pass as the right one.
    """
    files = {}
    for alternatives in parts:
        path = find(alternatives, folders)
        if path and not next(archive for archive in alternatives if archive.name == path.name).sha256:
            files[path.name] = path
    note_sums(folder, files)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises a UserError unless ``needed`` bytes are free where ``folder`` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{what} needs {needed / 1e9:,.1f} GB and {folder} has {free / 1e9:,.1f} GB free; free space or choose "
            "another folder with --output-dir"
        )

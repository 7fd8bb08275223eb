"""The archives of a corpus: a table of what they are, downloads that resume, and checks on every run."""

import hashlib
import shutil
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

from rdrop_fairseq.atomic_files import atomic_output
from rdrop_fairseq.data.download import DownloadError, download
from rdrop_fairseq.errors import UserError

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20


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
    """How many sentence pairs all parts together have, where that is published."""


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
                if archive.sha256 and len(bytes.fromhex(archive.sha256)) != hashlib.sha256().digest_size:
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
        check(present, next(archive for archive in alternatives if archive.name == present.name), folder)
        return present
    failures = []
    for archive in alternatives:
        try:
            download(archive.url, folder / archive.name, archive.size, lambda path, it=archive: check(path, it, folder))
            return folder / archive.name
        except DownloadError as error:
            failures.append(str(error))
    raise UserError(
        f"cannot download {alternatives[0].name}: {'; '.join(failures)}; the same command continues where this one "
        "ended, and --raw-dir takes the file from a folder"
    )


def check(path: Path, archive: Archive, folder: Path) -> None:
    """Compare size and SHA-256 with the table's; where that has none, with the one noted at the first good download.

    Raises:
        UserError: they differ.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise _damaged(path, archive, f"{size} bytes and not {archive.size}")
    digest = sha256_of(path)
    noted = _noted_sums(folder)
    expected = archive.sha256 or noted.get(archive.name)
    if expected and digest != expected:
        raise _damaged(path, archive, f"SHA-256 {digest} and not {expected}")
    if not expected:
        noted[archive.name] = digest
        with atomic_output(folder / SUMS) as temporary:
            # The format of the program sha256sum.
            temporary.write_text("".join(f"{value}  {name}\n" for name, value in sorted(noted.items())))


def _damaged(path: Path, archive: Archive, what: str) -> UserError:
    remedy = "run the same command again" if path.name != archive.name else f"remove {path}, or put the right one there"
    return UserError(f"{archive.name} is damaged or another file: it has {what}; {remedy}")


def _noted_sums(folder: Path) -> Dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines if line.strip())}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


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

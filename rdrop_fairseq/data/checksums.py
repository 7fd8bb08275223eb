"""SHA-256 sums of files, noted in a folder so that a later command can tell whether a file is still the same."""

import hashlib
from pathlib import Path
from typing import Dict, Iterable

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output, sha256_of

SUMS = "SHA256SUMS"
DIGITS = 2 * hashlib.sha256().digest_size


def noted_sums(folder: Path) -> Dict[str, str]:
    """The sums noted in ``folder``, by name.

    Raises:
        UserError: the file that has them is damaged.
    """
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}; remove it") from error
    sums = {}
    for number, line in enumerate(lines, start=1):
        digest, _, name = line.partition("  ")
        try:
            if len(bytes.fromhex(digest)) * 2 != DIGITS or not name:
                raise ValueError
        except ValueError as error:
            raise UserError(f"{path}, line {number} is damaged; remove the line") from error
        sums[name] = digest
    return sums


def note_sums(folder: Path, files: Dict[str, Path]) -> None:
    """Note the sums of ``files``, by name, in ``folder`` beside those of other names.

    Raises:
        UserError: a file cannot be read, or ``folder`` not written.
    """
    if not files:
        return
    sums = {**noted_sums(folder), **{name: sha256_of(path) for name, path in files.items()}}
    with atomic_output(folder / SUMS) as temporary:
        # The format of the program sha256sum.
        temporary.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())), encoding="utf-8")


def check_unchanged(folder: Path, paths: Iterable[Path]) -> None:
    """Compare the sums of files with those noted in ``folder`` under their paths, where there are any.

    A file that is gone has served its purpose.

    Raises:
        UserError: a file is another one by now.
    """
    sums = noted_sums(folder)
    for path in paths:
        if str(path) in sums and path.exists() and sha256_of(path) != sums[str(path)]:
            raise UserError(
                f"{path} has changed since its text was taken; put the earlier file back, or prepare the new one in "
                "another folder with --output-dir"
            )

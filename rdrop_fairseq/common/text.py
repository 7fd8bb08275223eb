"""Reading text: UTF-8, one sentence a line; strictly, so that a damaged file is refused and never used in part."""

from pathlib import Path
from typing import Iterator, List

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike


def iterate_lines(path: PathLike) -> Iterator[str]:
    """The lines of a UTF-8 file without their line ends, one after the other; only LF (or CR LF) ends a line.

    ``str.splitlines`` would also split at U+2028, U+0085 and the like, which occur inside sentences of crawled
    corpora, and text mode at a lone CR; other tools do not.

    Raises:
        UserError: the file is missing or not UTF-8.
    """
    try:
        with open(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield decode_line(line, number, path)
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; give the path of a text file") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the file and its permissions") from error


def decode_line(line: bytes, number: int, path: PathLike) -> str:
    """A line without its end, as :func:`iterate_lines` gives it; ``number`` counts from 1.

    A byte order mark before the first line is left out.

    Raises:
        UserError: it is not UTF-8.
    """
    line = line[:-1] if line.endswith(b"\n") else line
    line = line[:-1] if line.endswith(b"\r") else line
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file to UTF-8") from error


def read_lines(path: PathLike) -> List[str]:
    """The lines of a UTF-8 file that must hold text.

    Raises:
        UserError: as :func:`iterate_lines`; or the file holds nothing but white space.
    """
    lines = list(iterate_lines(path))
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty; give a file that has text in it")
    return lines


def count_lines(path: PathLike) -> int:
    """How many lines a file has."""
    with open(path, "rb") as stream:
        return sum(1 for _ in stream)


def last_line(path: PathLike, longest: int = 300) -> str:
    """The last line of a program's output that is not blank, or words that say that there is none.

    Of a longer one the beginning; fairseq prints its whole configuration in one line.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    line = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    return line if len(line) <= longest else f"{line[:longest]} ..."

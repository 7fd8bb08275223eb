"""Reading text that is to be scored: strictly, so that a damaged file is refused and never scored in part."""

from pathlib import Path
from typing import List, Union

from rdrop_fairseq.errors import UserError


def read_text(path: Union[str, Path]) -> str:
    """The whole text of a UTF-8 file, without a byte order mark.

    Raises:
        UserError: the file is missing, unreadable, empty, or not UTF-8 (the message names the line).
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; give the path of a text file") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the file and its permissions") from error
    if not content.strip():
        raise UserError(f"{path} is empty; give a file that has text in it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path} is not UTF-8 text (line {line}: {error.reason}); convert it to UTF-8") from error


def split_lines(text: str) -> List[str]:
    r"""Lines of a text as every corpus tool counts them: ended by ``\n``, and by nothing else.

    ``str.splitlines`` would also split at U+2028, U+0085 and the like, which occur inside sentences of
    crawled corpora, and so shift all the lines after them. The ``\r`` of a Windows line end is removed.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


def read_lines(path: Union[str, Path]) -> List[str]:
    """The lines of a UTF-8 file, one sentence each; raises :class:`UserError` as :func:`read_text` does."""
    return split_lines(read_text(path))

"""What the command lines of this package have in common."""

import argparse
import logging
import os
import re
import sys
import time
from pathlib import Path
from typing import Dict, List, NoReturn, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError

# Names stand in tables and legends: letters, digits and a few signs that mean nothing there.
NAME = re.compile(r"[^\W_][\w .,+()-]*")


def quiet_libraries() -> None:
    """Keep messages of other libraries below warnings off the terminal.

    Importing fairseq turns on those of every library; warnings (about tokenised text, say) stay visible.
    """
    for library in ("fairseq", "filelock", "matplotlib", "PIL", "sacrebleu"):
        logging.getLogger(library).setLevel(logging.WARNING)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are ``UserError``, in one line, and name the command to ask for help."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[0].lower()}{message[1:]}; see {self.prog} --help")


def split_words(words: Sequence[str], parser: argparse.ArgumentParser) -> Tuple[List[str], List[str]]:
    """The words of a command line that are for ``parser``, and those that go to a command of fairseq.

    Options of the parser may stand anywhere. Other options are fairseq's, and what follows them are their values, which
    argparse would take for positional arguments.
    """
    positional: List[str] = []
    own: List[str] = []
    others: List[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        action = parser._option_string_actions.get(word.partition("=")[0])  # argparse has no public way to ask
        if action is not None:
            own.append(word)
            if action.nargs != 0 and "=" not in word and remaining:
                own.append(remaining.pop(0))
        elif others or word.startswith("-"):
            others.append(word)
        else:
            positional.append(word)
    return positional + own, others


def some_text(value: str) -> str:
    """The ``type`` of an argument that must not be empty."""
    if not value:
        raise argparse.ArgumentTypeError("needs a value")
    return value


def positive_number(text: str) -> int:
    """The ``type`` of an argument that is a whole number above 0."""
    return whole_number(text, r"[1-9]\d*", "a whole number above 0")


def whole_number(text: str, pattern: str = r"\d+", description: str = "a whole number") -> int:
    """The ``type`` of an argument that is a whole number from 0, or one that matches a pattern."""
    if not re.fullmatch(pattern, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not {description}")
    return int(text)


def show(line: str) -> None:
    """Print a line on standard error, if there is still somebody to read it.

    A pipe whose reader has gone, or a terminal that was closed, must not end work of days.
    """
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, for whatever comes later


def say(program: str, message: str) -> None:
    """:func:`show` a message as the log function of scripts/common.sh writes it."""
    show(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {program}: {message}")


def name_of_path(path: Path) -> str:
    """The name of a folder, or of a file without its ending, as it may stand in tables; empty if nothing is left."""
    path = path.resolve()
    return re.sub(r"[^\w .,+()-]", "_", path.name if path.is_dir() else path.stem).lstrip("_ .,+()-")


def parse_named_paths(arguments: Sequence[str], flag: str) -> Dict[str, Path]:
    """``NAME=PATH`` arguments as a dictionary in the order given.

    Raises:
        UserError: an argument has no ``=``, a name is given twice or has signs that break tables and legends.
    """
    paths: Dict[str, Path] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        name = name.strip()
        if not equals or not path:
            raise UserError(f"{flag} {argument}: expected NAME=PATH, for example {flag} baseline=path/to/it")
        if not NAME.fullmatch(name):
            raise UserError(
                f"{flag} {argument}: the name {name!r} must begin with a letter or digit and hold only "
                "letters, digits, spaces and _.,+()-; choose another name"
            )
        if name in paths:
            raise UserError(f"{flag}: the name {name!r} is given twice; give every system a name of its own")
        paths[name] = Path(path)
    return paths

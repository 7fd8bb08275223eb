"""What the command lines of this package have in common."""

import logging
import re
from pathlib import Path
from typing import Dict, Sequence

from rdrop_fairseq.errors import UserError

# Names stand in tables and legends: letters, digits and a few signs that mean nothing there.
_NAME = re.compile(r"[^\W_][\w .,+()-]*")


def quiet_libraries() -> None:
    """Keep the messages of sacreBLEU and matplotlib below warnings off the terminal.

    Importing fairseq turns on those of every library; warnings (about tokenised text, say) stay visible.
    """
    for library in ("sacrebleu", "matplotlib", "PIL"):
        logging.getLogger(library).setLevel(logging.WARNING)


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
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{flag} {argument}: the name {name!r} must begin with a letter or digit and hold only "
                "letters, digits, spaces and _.,+()-; choose another name"
            )
        if name in paths:
            raise UserError(f"{flag}: the name {name!r} is given twice; give every system a name of its own")
        paths[name] = Path(path)
    return paths

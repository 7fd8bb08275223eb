"""Saying how far long work has come: a bar on a terminal, a line now and then in a log."""

import sys
from typing import Optional

from tqdm import tqdm

_SECONDS_BETWEEN_REPORTS = {True: 0.5, False: 15.0}  # on a terminal, in a log


def progress_bar(name: str, total: Optional[int], unit: str) -> tqdm:
    """A bar on standard error, to be used as a context manager and advanced with ``update(count)``.

    Args:
        name: what is worked on.
        total: how many units there are, None where that is not known.
        unit: ``"B"`` for bytes, which are then shown with their prefixes, or for example ``" lines"``.
    """
    on_terminal = sys.stderr.isatty()
    return tqdm(
        desc=name,
        total=total,
        unit=unit,
        unit_scale=True,
        leave=on_terminal,
        dynamic_ncols=on_terminal,
        file=sys.stderr if on_terminal else _Lines(),
        mininterval=_SECONDS_BETWEEN_REPORTS[on_terminal],
        delay=_SECONDS_BETWEEN_REPORTS[on_terminal],
    )


class _Lines:
    """Where there is no terminal, lines that each stand by themselves in the place of one that changes."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()

"""The versions that this package is tested with, and a warning for others."""

import logging
import multiprocessing
import os
import sys
from typing import NamedTuple, Optional, Tuple

import torch

from rdrop_fairseq.common.versions import package_versions

logger = logging.getLogger(__name__)

Version = Tuple[int, int]


class Tested(NamedTuple):
    """A distribution of fairseq, with the oldest and the newest Python and torch that it is tested with."""

    fairseq: str
    python: Tuple[Version, Version]
    torch: Tuple[Version, Version]


# The corners of the matrix in noxfile.py, which docs/installation.md has as a table.
TESTED = (
    Tested("0.12.2", ((3, 8), (3, 10)), ((1, 13), (2, 6))),
    Tested("0.12.3.1 (fairseq-fixed)", ((3, 11), (3, 13)), ((2, 6), (2, 13))),
)


def torch_version() -> Version:
    """The first two numbers of torch's version."""
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def warn_of_untested_versions() -> None:
    """Say in one line that these versions of Python, fairseq and torch have not been tested together, if so.

    Of the processes of one command only the first says it.
    """
    if os.environ.get("RANK", "0") != "0" or multiprocessing.parent_process() is not None:
        return
    import fairseq

    distribution = package_versions()["fairseq"]
    if distribution == "not installed":  # it may lie in a folder on the path of modules
        distribution = getattr(fairseq, "__version__", "of unknown version")
    remark = remark_on_versions(distribution, sys.version_info[:2], torch_version())
    if remark is not None:
        logger.warning(remark)


def remark_on_versions(fairseq: str, python: Version, torch: Version) -> Optional[str]:
    """What to say of these versions; None if they are among the tested ones."""
    for tested in TESTED:
        (oldest, newest), (lowest, highest) = tested.python, tested.torch
        if fairseq == tested.fairseq and oldest <= python <= newest and lowest <= torch <= highest:
            return None
    known = [
        f"fairseq {tested.fairseq} with Python {_range(tested.python)} and torch {_range(tested.torch)}"
        for tested in TESTED
    ]
    return (
        f"untested: fairseq {fairseq} with Python {_text(python)} and torch {_text(torch)}; if something fails, take "
        f"{', or '.join(known)}"
    )


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _range(versions: Tuple[Version, Version]) -> str:
    return " to ".join(map(_text, versions))

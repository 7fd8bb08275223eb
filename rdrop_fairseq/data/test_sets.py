"""Test sets by their sacreBLEU name: sacreBLEU downloads and verifies them, and keeps them in its own folder.

The environment variable SACREBLEU names that folder; the default is ~/.sacrebleu.
"""

import logging
from pathlib import Path
from typing import Tuple

from sacrebleu.dataset import DATASETS
from sacrebleu.utils import get_reference_files, get_source_file

from rdrop_fairseq.common.errors import UserError


def files_of_test_set(name: str, source_language: str, target_language: str) -> Tuple[Path, Path]:
    """The files of source and reference, one sentence a line.

    Raises:
        UserError: there is no such test set or language pair, or it cannot be downloaded.
    """
    pair = f"{source_language}-{target_language}"
    if name not in DATASETS:
        raise UserError(f"sacreBLEU has no test set {name}; `sacrebleu --list` shows those it has")
    if pair not in DATASETS[name].langpairs:
        pairs = ", ".join(sorted(DATASETS[name].langpairs))
        raise UserError(f"test set {name} has no language pair {pair}; it has {pairs}")
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    try:
        return Path(get_source_file(name, pair)), Path(get_reference_files(name, pair)[0])
    except (Exception, SystemExit) as error:  # sacreBLEU ends the process where the server does not answer
        raise UserError(
            f"sacreBLEU cannot get test set {name} {pair} ({error or type(error).__name__}); let sacreBLEU download it "
            "elsewhere and copy its folder (~/.sacrebleu)"
        ) from error

"""Text that its user has tokenised: checked when it is taken, and later that it is still the same.

    python -m rdrop_fairseq.data.tokenised_text take DIR --source-lang de --target-lang en --sums OUT

checks train, valid and test of DIR and notes their sums in the folder OUT; ``check`` compares them with these.
"""

import argparse
import logging
from pathlib import Path
from typing import List, Optional

from rdrop_fairseq.data.checksums import check_unchanged, note_sums
from rdrop_fairseq.data.parallel_text import SPLITS, check_pair

logger = logging.getLogger(__name__)


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line.

    Raises:
        UserError: a file is missing, empty, not UTF-8, not aligned with its other side, or has changed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.data.tokenised_text", description=__doc__.splitlines()[0]
    )
    parser.add_argument("command", choices=["take", "check"])
    parser.add_argument("folder", type=Path, help="folder with train.LANG, valid.LANG and test.LANG")
    parser.add_argument("--source-lang", required=True)
    parser.add_argument("--target-lang", required=True)
    parser.add_argument("--sums", type=Path, required=True, help="folder for the sums of the files")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S", force=True)
    languages = (options.source_lang, options.target_lang)
    pairs = {split: [options.folder / f"{split}.{language}" for language in languages] for split in SPLITS}
    paths = [path for pair in pairs.values() for path in pair]
    if options.command == "check":
        check_unchanged(options.sums, paths)
        return
    for split, pair in pairs.items():
        logger.info(f"{split}: {check_pair(*pair):,} sentence pairs")
    note_sums(options.sums, {str(path): path for path in paths})


if __name__ == "__main__":
    main()

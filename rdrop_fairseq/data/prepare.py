"""Check a folder of parallel text and split it into sub-words, ready for fairseq-preprocess.

    python -m rdrop_fairseq.data.prepare --data DIR --source-lang en --target-lang de --output OUT

reads train.en, train.de, valid.* or val.*, and test*.*, and writes to OUT sentencepiece.model, the three splits as
sub-words (train.en and so on), and the test set as it was (reference.de, source.en), to score against.
"""

import argparse
import logging
import shutil
from pathlib import Path
from typing import List, Optional

from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.data.parallel_text import check_pair, find_splits
from rdrop_fairseq.data.subwords import encode_file, learn

logger = logging.getLogger(__name__)


def prepare(
    data: Path,
    source_language: str,
    target_language: str,
    output: Path,
    vocabulary_size: int,
    test_set: Optional[str] = None,
) -> None:
    """Write ``output`` as described above; every file appears when it is complete.

    Raises:
        UserError: a split or language is missing, text is empty or undecodable, line counts differ, the vocabulary
            size does not suit the text, or ``output`` cannot be written.
    """
    splits = find_splits(data, source_language, target_language, test_set)
    for split, pair in splits.items():
        logger.info(f"{split}: {check_pair(*pair)} sentence pairs")

    model = output / "sentencepiece.model"
    logger.info(f"learning {vocabulary_size} joined BPE sub-words from {' and '.join(map(str, splits['train']))}")
    learn(splits["train"], vocabulary_size, model)
    for split, pair in splits.items():
        for language, path in zip((source_language, target_language), pair):
            encode_file(model, path, output / f"{split}.{language}")
    test_source, test_target = splits["test"]
    for path, name in ((test_source, f"source.{source_language}"), (test_target, f"reference.{target_language}")):
        with atomic_output(output / name) as temporary:
            shutil.copyfile(path, temporary)
    logger.info(f"wrote sub-words to {output}")


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rdrop_fairseq.data.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.LANG, valid.LANG, test*.LANG")
    parser.add_argument("--source-lang", required=True)
    parser.add_argument("--target-lang", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--vocab-size", type=int, default=6000, help="joined sub-words (default: %(default)s)")
    parser.add_argument("--test-set", help="name of the test set without language, where there are several")
    options = parser.parse_args(arguments)
    # fairseq's import has configured logging already, in another form and for every library.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S", force=True)
    prepare(
        options.data,
        options.source_lang,
        options.target_lang,
        options.output,
        options.vocab_size,
        options.test_set,
    )


if __name__ == "__main__":
    main()

"""How a folder of binarised data was made: what training and evaluation need to know of its text.

    python -m rdrop_fairseq.data.preparation --output data/wmt14_en_de/bin --recipe wmt14_en_de ...

writes preparation.json; scripts/prepare_*.sh call it. With it raw text goes in and out of a model: it says which
tokeniser to give to fairseq-generate and fairseq-interactive.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.versions import package_versions, plugin_state

FILE_NAME = "preparation.json"
MODEL_NAME = "sentencepiece.model"


@dataclass(frozen=True)
class Preparation:
    """The languages, the steps between raw text and sub-words, and where both test texts come from."""

    recipe: str
    source_language: str
    target_language: str
    tokenizer: Optional[str]
    """"moses" or None: what ``--tokenizer`` of fairseq's commands is to be."""
    moses_no_dash_splits: bool
    moses_no_escape: bool
    lowercase: bool
    vocabulary_size: int
    test_set: str
    """For reports; sacreBLEU's name where it has one."""
    sentences: Dict[str, int]
    versions: Dict[str, str]

    def text_flags(self, folder: Path) -> List[str]:
        """Flags for fairseq-generate to give, and fairseq-interactive to take, raw text; ``folder`` has the data."""
        flags = ["--bpe", "sentencepiece", "--sentencepiece-model", str(folder / MODEL_NAME)]
        if self.tokenizer:
            flags += ["--tokenizer", self.tokenizer]
            flags += ["--moses-no-dash-splits"] * self.moses_no_dash_splits
            flags += ["--moses-no-escape"] * self.moses_no_escape
        return flags


def read_preparation(folder: Path) -> Optional[Preparation]:
    """What ``folder`` says of itself, or None where it says nothing.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / FILE_NAME
    try:
        return Preparation(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged or of another version; run the prepare script again") from error


def write_preparation(preparation: Preparation, folder: Path) -> None:
    """Write it into ``folder``, for :func:`read_preparation`."""
    with atomic_output(folder / FILE_NAME) as temporary:
        temporary.write_text(json.dumps(asdict(preparation), indent=2) + "\n", encoding="utf-8")


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.data.preparation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of binarised data")
    parser.add_argument("--text", required=True, metavar="PREFIX", help="PREFIX/SPLIT.LANGUAGE are counted")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--source-lang", required=True)
    parser.add_argument("--target-lang", required=True)
    parser.add_argument("--tokenizer", choices=["moses"])
    parser.add_argument("--moses-no-dash-splits", action="store_true")
    parser.add_argument("--moses-no-escape", action="store_true")
    parser.add_argument("--lowercase", action="store_true")
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--test-set", required=True)
    options = parser.parse_args(arguments)
    sentences = {}
    for split in ("train", "valid", "test"):
        with open(Path(options.text) / f"{split}.{options.source_lang}", "rb") as stream:
            sentences[split] = sum(1 for _ in stream)
    preparation = Preparation(
        recipe=options.recipe,
        source_language=options.source_lang,
        target_language=options.target_lang,
        tokenizer=options.tokenizer,
        moses_no_dash_splits=options.moses_no_dash_splits,
        moses_no_escape=options.moses_no_escape,
        lowercase=options.lowercase,
        vocabulary_size=options.vocab_size,
        test_set=options.test_set,
        sentences=sentences,
        versions={**package_versions(), "rdrop_fairseq": plugin_state()},
    )
    write_preparation(preparation, options.output)


if __name__ == "__main__":
    main()

"""A folder of binarised data: how it was made, whether it can be trained on, and what tells it from another."""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of, write_json
from rdrop_fairseq.common.records import read_record
from rdrop_fairseq.common.text import count_lines

RECORD_NAME = "preparation.json"
MODEL_NAME = "sentencepiece.model"
# Every dictionary of fairseq begins with these, which its file does not list: beginning, padding, end, unknown.
SPECIAL_SYMBOLS = 4


@dataclass(frozen=True)
class PreparationRecord:
    """How a folder was made, as its preparation.json says: what training and evaluation need to know of its text."""

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
    """By split."""
    versions: Dict[str, str]

    def __post_init__(self) -> None:
        """Raises a ValueError for what no preparation writes."""
        if self.tokenizer not in (None, "moses"):
            raise ValueError(f"tokenizer is {self.tokenizer!r}")

    def text_flags(self, folder: Path) -> List[str]:
        """Flags for fairseq-generate to give, and fairseq-interactive to take, raw text; ``folder`` has the data."""
        flags = ["--bpe", "sentencepiece", "--sentencepiece-model", str(folder / MODEL_NAME)]
        if self.tokenizer:
            flags += ["--tokenizer", self.tokenizer]
            flags += ["--moses-no-dash-splits"] * self.moses_no_dash_splits
            flags += ["--moses-no-escape"] * self.moses_no_escape
        return flags


def read_preparation(folder: Path) -> Optional[PreparationRecord]:
    """What ``folder`` says of itself, or None where it says nothing.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    return read_record(path, PreparationRecord, "a prepare script", "run the prepare script again")


def write_preparation(record: PreparationRecord, folder: Path) -> None:
    """Write it into ``folder``, for :func:`read_preparation`."""
    write_json(folder / RECORD_NAME, asdict(record))


def check_binarised_data(folder: Path, source_language: str, target_language: str, remedy: str) -> None:
    """Assert that the folder can be trained on: dictionaries, train and valid split of the language pair.

    Args:
        folder: what fairseq-preprocess made, or scripts/prepare_RECIPE.sh.
        source_language: the language to translate from.
        target_language: the language to translate into.
        remedy: how to get such a folder, for the message.

    Raises:
        UserError: something is missing.
    """
    pair = f"{source_language}-{target_language}"
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; {remedy}")
    check_path(folder)
    for dictionary in (dictionary_path(folder, language) for language in (source_language, target_language)):
        if not dictionary.is_file():
            there = " and ".join(_language_pairs(folder))
            holds = f"it holds {there}" if there else "it is no folder of fairseq-preprocess"
            raise UserError(f"no {dictionary} for {pair}: {holds}; {remedy}")
    for split in ("train", "valid"):
        if not split_files(folder, split, source_language, target_language):
            there = " and ".join(_language_pairs(folder, split))
            holds = f"{split} is there for {there}" if there else f"there is no {split} split"
            if (folder / f"{split}.{pair}.{source_language}").is_file():
                holds = f"{split}.{pair}.{source_language} is text, of --dataset-impl raw"
                remedy = f"run fairseq-preprocess without that flag, or {remedy}"
            raise UserError(f"no {split} data for {pair} in {folder}: {holds}; {remedy}")


def check_path(path: Path, remedy: str = "rename that folder") -> None:
    """Assert that fairseq's commands can be given this path of data or of a checkpoint; else raise a ``UserError``."""
    if os.pathsep in str(path):
        raise UserError(f"fairseq takes {path} for several paths, because of its {os.pathsep}; {remedy}")


def dictionary_path(folder: Path, language: str) -> Path:
    """The dictionary of a language."""
    return folder / f"dict.{language}.txt"


def vocabulary_size(folder: Path, language: str) -> int:
    """How many symbols a model has for a language: rows of its embedding."""
    return count_lines(dictionary_path(folder, language)) + SPECIAL_SYMBOLS


def sentence_lengths(folder: Path, split: str, source_language: str, target_language: str) -> Tuple[Any, Any]:
    """The lengths of sources and targets in sub-words, with the symbol for the end: two arrays of shape (sentences,).

    They are empty where the split is not there.
    """
    # Not at the top: this takes seconds.
    import numpy
    from fairseq.data.data_utils import load_indexed_dataset

    files = split_files(folder, split, source_language, target_language)
    if not files:
        return numpy.zeros(0), numpy.zeros(0)
    datasets = [load_indexed_dataset(str(file.with_suffix(""))) for file in files[::2]]
    # Copies: a dataset that goes takes the memory of its own array along.
    return numpy.array(datasets[0].sizes), numpy.array(datasets[1].sizes)


def dictionary_digests(folder: Path, languages: Tuple[str, str]) -> Dict[str, str]:
    """What tells the vocabulary of this data from another's."""
    description = {}
    for language in languages:
        digest = sha256_of(dictionary_path(folder, language))
        description[f"dictionary of {language}"] = f"{vocabulary_size(folder, language)} symbols ({digest[:12]})"
    return description


def fingerprint(folder: Path, source_language: str, target_language: str) -> Dict[str, str]:
    """What tells this data from another's: the dictionaries' contents, and the size of the training data."""
    description = dictionary_digests(folder, (source_language, target_language))
    files = split_files(folder, "train", source_language, target_language)
    description["training data"] = " ".join(f"{path.name}:{path.stat().st_size}" for path in files)
    return description


def split_files(folder: Path, split: str, source_language: str, target_language: str) -> Tuple[Path, ...]:
    """The data files of both languages; fairseq names them after the pair it was told, in either order."""
    for pair in (f"{source_language}-{target_language}", f"{target_language}-{source_language}"):
        files = tuple(
            folder / f"{split}.{pair}.{language}.{ending}"
            for language in (source_language, target_language)
            for ending in ("bin", "idx")
        )
        if all(path.is_file() for path in files):
            return files
    return ()


def _language_pairs(folder: Path, split: str = "*") -> List[str]:
    """The language pairs for which the folder has data."""
    names = (re.fullmatch(r"[^.]+\.([^.]+-[^.]+)\.[^.]+\.idx", path.name) for path in folder.glob(f"{split}.*.idx"))
    return sorted({match[1] for match in names if match})

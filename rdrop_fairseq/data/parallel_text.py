"""Parallel text: two UTF-8 files with one sentence a line, aligned line by line."""

import itertools
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import iterate_lines

SPLITS = ("train", "valid", "test")
PairOfFiles = Tuple[Path, Path]


class PairCount(NamedTuple):
    """What :func:`check_pair` found: how many pairs there are, and how many of them have text on one side at most."""

    pairs: int
    half_empty: int
    first_half_empty: Optional[int]
    """The line of the first such pair, from 1."""

    def __str__(self) -> str:
        text = f"{self.pairs:,} sentence pairs"
        if self.half_empty:
            text += f", {self.half_empty:,} of them with an empty side (the first in line {self.first_half_empty})"
        return text


def numbered_pairs(files: PairOfFiles) -> Iterator[Tuple[int, Tuple[str, str]]]:
    """The pairs of lines, each with its number from 1.

    Raises:
        UserError: a file is missing or not UTF-8; or, when all pairs have been given, one file has more lines.
    """
    counts = [0, 0]
    for number, pair in enumerate(itertools.zip_longest(*map(iterate_lines, files)), start=1):
        for side, line in enumerate(pair):
            counts[side] += line is not None
        if counts[0] == counts[1]:
            yield number, pair
    check_aligned([str(path) for path in files], counts)


def check_aligned(names: List[str], counts: List[int]) -> None:
    """Raises a UserError unless both sides, with these names, have the same number of lines."""
    if counts[0] != counts[1]:
        raise UserError(
            f"{names[0]} has {counts[0]} lines but {names[1]} has {counts[1]}; "
            "the files of a pair must be aligned line by line"
        )


def check_pair(source: Path, target: Path) -> PairCount:
    """Count the sentence pairs of two files.

    Raises:
        UserError: a file is missing, empty, blank, or not UTF-8, or the line counts differ.
    """
    for path in (source, target):
        if not any(line.strip() for line in iterate_lines(path)):
            raise UserError(f"{path} holds no text; give a file with one sentence a line")
    number = half_empty = 0
    first = None
    for number, pair in numbered_pairs((source, target)):
        if not all(line.strip() for line in pair):
            half_empty += 1
            first = first or number
    return PairCount(number, half_empty, first)


def find_splits(
    folder: Path, source_language: str, target_language: str, test_set: Optional[str] = None
) -> Dict[str, PairOfFiles]:
    """The pair of files (source, target) of each of train, valid and test in ``folder``.

    They are named ``train.LANGUAGE``, ``valid.LANGUAGE`` or ``val.LANGUAGE``, and ``test*.LANGUAGE``;
    ``test_set`` names the test set (without the language) where there are several.

    Raises:
        UserError: the folder, a split, or one language of it is missing, or the test set is ambiguous.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give --data the folder that holds train.{source_language} and so on")
    if source_language == target_language:
        raise UserError(f"source and target language are both {source_language}; give two different ones")
    languages = (source_language, target_language)
    tests = {path.name[: -len(lang) - 1] for lang in languages for path in folder.glob(f"test*.{lang}")}
    names = [test_set] if test_set else sorted(tests)
    if len(names) > 1:
        raise UserError(f"{folder} has several test sets: {', '.join(names)}; choose one with --test-set")
    splits = {}
    for split, candidates in (("train", ["train"]), ("valid", ["valid", "val"]), ("test", names)):
        present = [name for name in candidates if any((folder / f"{name}.{lang}").is_file() for lang in languages)]
        name = (present or candidates or ["test"])[0]
        pair = (folder / f"{name}.{source_language}", folder / f"{name}.{target_language}")
        for path in pair:
            if not path.is_file():
                raise UserError(
                    f"no {path.name} in {folder}; the {split} split needs {pair[0].name} and {pair[1].name} "
                    "(check --source-lang and --target-lang)"
                )
        splits[split] = pair
    return splits


def split_off(file: Path, folder: Path, every: int) -> None:
    """Write the lines of train.LANGUAGE to ``folder``: so manieth ones to valid.LANGUAGE, others to train.LANGUAGE."""
    for split, is_validation in (("train", False), ("valid", True)):
        with atomic_output(folder / f"{split}{file.suffix}") as temporary:
            with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
                for number, line in enumerate(iterate_lines(file), start=1):
                    if (number % every == 0) == is_validation:
                        stream.write(line + "\n")

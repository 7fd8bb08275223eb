"""Finding and checking the files of a parallel corpus: UTF-8, one sentence a line, aligned line by line."""

from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.text import iterate_lines

SPLITS = ("train", "valid", "test")


def normalised_lines(path: Path) -> Iterator[str]:
    """The lines of ``path`` with every run of white space made one blank.

    fairseq splits lines at any Unicode white space, so a no-break space inside a sub-word would tear it apart.
    """
    for line in iterate_lines(path):
        yield " ".join(line.split())


def check_pair(source: Path, target: Path) -> int:
    """The number of sentence pairs of two files.

    Raises:
        UserError: a file is missing, empty, blank, or not UTF-8, or the line counts differ.
    """
    counts = {}
    for path in (source, target):
        filled = 0
        counts[path] = 0
        for line in iterate_lines(path):
            counts[path] += 1
            filled += bool(line.strip())
        if not filled:
            raise UserError(f"{path} holds no text; give a file with one sentence a line")
    if counts[source] != counts[target]:
        raise UserError(
            f"{source} has {counts[source]} lines but {target} has {counts[target]}; "
            "the files of a pair must be aligned line by line"
        )
    return counts[source]


def find_splits(
    folder: Path, source_language: str, target_language: str, test_set: Optional[str] = None
) -> Dict[str, Tuple[Path, Path]]:
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
    names = {
        "train": ["train"],
        "valid": ["valid", "val"],
        "test": [test_set] if test_set else _test_sets(folder, source_language, target_language),
    }
    if len(names["test"]) > 1:
        raise UserError(f"{folder} has several test sets: {', '.join(names['test'])}; choose one with --test-set")
    splits = {}
    for split, candidates in names.items():
        languages = (source_language, target_language)
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


def _test_sets(folder: Path, *languages: str) -> list:
    """The names, without language, of the files test*.LANGUAGE."""
    return sorted({path.name[: -len(lang) - 1] for lang in languages for path in folder.glob(f"test*.{lang}")})

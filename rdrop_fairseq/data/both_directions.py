"""Binarised data of both directions, to pre-train on: each pair, and the same pair the other way round."""

import itertools
import shutil
from pathlib import Path
from typing import List, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.binarised_data import dictionary_path, split_files


def check_one_vocabulary(data: Path, languages: Tuple[str, str]) -> None:
    """Assert that both languages have the same dictionary, so that each can stand on both sides.

    Raises:
        UserError: they have not, or the data are not in the format of fairseq-preprocess's default.
    """
    from fairseq.data.indexed_dataset import infer_dataset_impl

    one, other = (dictionary_path(data, language) for language in languages)
    if one.read_bytes() != other.read_bytes():
        raise UserError(
            f"{one} and {other} differ, but both directions need one vocabulary; binarise the text with "
            "fairseq-preprocess --joined-dictionary"
        )
    for file in itertools.chain.from_iterable(_parts(data, "train", languages) + _parts(data, "valid", languages)):
        if file.suffix == ".idx" and infer_dataset_impl(str(file.with_suffix(""))) != "mmap":
            raise UserError(f"{file} is not of --dataset-impl mmap; binarise the text with that")


def write_both_directions(data: Path, languages: Tuple[str, str], folder: Path) -> None:
    """Write train and valid with twice the pairs: in the second half source and target have changed places.

    As in the code of Bi-SimCut (arXiv 2206.02368) nothing marks the direction: the words of the source tell it. The
    folder appears when it is complete.

    Args:
        data: what fairseq-preprocess made, for which :func:`check_one_vocabulary` holds.
        languages: source and target.
        folder: the folder to write; what is there is replaced.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    for path in (folder, partial):
        shutil.rmtree(path, ignore_errors=True)
    partial.mkdir(parents=True)
    for language in languages:
        shutil.copyfile(dictionary_path(data, language), dictionary_path(partial, language))
    for split in ("train", "valid"):
        parts = _parts(data, split, languages)
        sides = [[files[0].with_suffix("") for files in parts], [files[2].with_suffix("") for files in parts]]
        for language, side, other_side in zip(languages, sides, reversed(sides)):
            _concatenate([*side, *other_side], partial / f"{split}.{'-'.join(languages)}.{language}")
    partial.rename(folder)


def _parts(data: Path, split: str, languages: Tuple[str, str]) -> List[Tuple[Path, ...]]:
    """The files of a split; of the training data those of train1 and so on too, which fairseq takes with them."""
    names = [split] if split != "train" else itertools.chain([split], map("train{}".format, itertools.count(1)))
    return list(itertools.takewhile(bool, (split_files(data, name, *languages) for name in names)))


def _concatenate(sources: List[Path], destination: Path) -> None:
    """Put binarised texts, which are named without .bin and .idx, one after the other."""
    from fairseq.data.indexed_dataset import MMapIndexedDataset, MMapIndexedDatasetBuilder

    dtype = MMapIndexedDataset.Index(f"{sources[0]}.idx").dtype  # one for all, as the vocabulary decides it
    builder = MMapIndexedDatasetBuilder(f"{destination}.bin", dtype=dtype)
    for source in sources:
        builder.merge_file_(str(source))
    builder.finalize(f"{destination}.idx")

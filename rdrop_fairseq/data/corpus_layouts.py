"""What each corpus consists of: its languages, the files of its splits, and where their text comes from."""

from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from rdrop_fairseq.data import iwslt


class TextFile(NamedTuple):
    """A file of raw text, ``name`` with the language for ``{}``, and the part of the table of archives that has it."""

    part: str
    name: str


class TestSet(NamedTuple):
    """A published test set: its name in sacreBLEU, that of its files in a folder of raw text, and its sentences."""

    name: str
    file_name: str
    sentences: int


class Corpus(NamedTuple):
    """A parallel corpus and where its text comes from."""

    languages: Tuple[str, str]
    files: Dict[str, List[TextFile]]
    """By split: what is put one after the other."""
    test_sets: Dict[str, TestSet] = {}
    """By split."""
    sentences: Dict[str, Callable[[Iterable[str]], Iterator[str]]] = {}
    """By split: what turns the lines of a file into sentences, where it holds more than these."""


_NEWSTESTS = {
    "valid": TestSet("wmt13", "newstest2013", 3000),
    "test": TestSet("wmt14/full", "newstest2014", 3003),
}


def _multi30k(*languages: str) -> Corpus:
    splits = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    return Corpus(languages, {split: [TextFile(f"{name}.{{}}", f"{name}.{{}}")] for split, name in splits.items()})


CORPORA = {
    "wmt14_en_de": Corpus(
        ("en", "de"),
        {
            "train": [
                TextFile("europarl-v7", "europarl-v7.de-en.{}"),
                TextFile("commoncrawl", "commoncrawl.de-en.{}"),
                TextFile("news-commentary-v9", "news-commentary-v9.de-en.{}"),
            ]
        },
        _NEWSTESTS,
    ),
    "wmt14_en_fr": Corpus(
        ("en", "fr"),
        {
            "train": [
                TextFile("europarl-v7", "europarl-v7.fr-en.{}"),
                TextFile("commoncrawl", "commoncrawl.fr-en.{}"),
                TextFile("un", "undoc.2000.fr-en.{}"),
                TextFile("news-commentary-v9", "news-commentary-v9.fr-en.{}"),
                TextFile("giga-fren", "giga-fren.release2.fixed.{}"),
            ]
        },
        _NEWSTESTS,
    ),
    # Validation pairs are taken from the training text, after cleaning.
    "iwslt14_de_en": Corpus(
        ("de", "en"),
        {
            "train": [TextFile("iwslt14", "train.tags.de-en.{}")],
            "test": [TextFile("iwslt14", f"IWSLT14.{test}.de-en.{{}}.xml") for test in iwslt.TEST_SETS],
        },
        sentences={"train": iwslt.training_sentences, "test": iwslt.test_sentences},
    ),
    "multi30k_en_de": _multi30k("en", "de"),
    "multi30k_en_fr": _multi30k("en", "fr"),
}

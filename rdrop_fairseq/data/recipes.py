"""The recipes: what each corpus consists of, and what is done to its text."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import sample_corpus
from rdrop_fairseq.data.cleaning import Rules
from rdrop_fairseq.data.moses import MosesSettings


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
    """Where the raw text of a published corpus comes from."""

    files: Dict[str, List[TextFile]]
    """By split: what is put one after the other."""
    test_sets: Dict[str, TestSet] = {}
    """By split."""
    sentences: Dict[str, Callable[[Iterable[str]], Iterator[str]]] = {}
    """By split: what turns the lines of a file into sentences, where it holds more than these."""


@dataclass(frozen=True)
class Recipe:
    """From text to binarised data: all that makes the data what they are, but for what a command line changes.

    The text is that of ``corpus``, else of ``folder``, else the sample corpus.
    """

    name: str
    languages: Tuple[str, str]
    """Source and target."""
    vocabulary_size: int
    """Joined sub-words."""
    test_set: str
    """What the test set is called in reports; for ``folder`` its name there, or nothing if there is only one."""
    corpus: Optional[Corpus] = None
    folder: Optional[Path] = None
    moses: Optional[MosesSettings] = None
    """How text is tokenised; None if it stays as it is."""
    cleaning: Optional[Rules] = None
    """Which training pairs are kept, where text is tokenised."""
    cleans_tokens: bool = False
    """Cleaning counts tokens, and so comes after tokenising."""
    validation_every: Optional[int] = None
    """After cleaning every so manieth pair of the training text is for validation."""
    accepts_tokenised: bool = False
    """Text may be given that is tokenised and cleaned already."""

    @property
    def stages(self) -> Tuple[str, ...]:
        """The names of the stages, in order."""
        if self.corpus is None:
            return ("text", "learn", "apply", "binarise")
        middle = ("tokenise", "clean") if self.cleans_tokens else ("clean", "tokenise") if self.moses else ()
        return ("download", "extract", *middle, "learn", "apply", "binarise")


def text_recipe(
    source_language: str,
    target_language: str,
    folder: Optional[Path],
    vocabulary_size: int,
    test_set: Optional[str] = None,
) -> Recipe:
    """The recipe for a folder of raw text, or for the sample corpus: the text stays as it is, cased and not tokenised.

    Args:
        source_language: the language to translate from.
        target_language: the language to translate into.
        folder: has train.LANG, valid.LANG or val.LANG, and test*.LANG; None stands for the sample corpus.
        vocabulary_size: joined sub-words.
        test_set: which test set of the folder, without the language, where there are several.

    Raises:
        UserError: the sample corpus is in other languages.
    """
    languages = (source_language, target_language)
    if folder is not None:
        return Recipe("text", languages, vocabulary_size, test_set or "", folder=folder.resolve())
    own = (sample_corpus.SOURCE_LANGUAGE, sample_corpus.TARGET_LANGUAGE)
    if languages != own:
        raise UserError(f"the sample corpus is {'-'.join(own)}; give --data for {'-'.join(languages)}")
    return Recipe("sample_corpus", languages, vocabulary_size, "test set of the sample corpus")


# IWSLT14 is cut out of its mark-up as fairseq's prepare-iwslt14.sh does it.
IWSLT14_TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
_NO_SENTENCES = ("<url>", "<talkid>", "<keywords>")
_TAGS = re.compile("</?(title|description)>")
_SEGMENT = re.compile(r"<seg id[^>]*>\s*(.*?)\s*</seg>")


def _iwslt14_training_sentences(lines: Iterable[str]) -> Iterator[str]:
    """Sentences, titles and descriptions of the talks; not what else the file tells about them."""
    for line in lines:
        if not any(tag in line for tag in _NO_SENTENCES):
            yield _TAGS.sub("", line).strip()


def _iwslt14_test_sentences(lines: Iterable[str]) -> Iterator[str]:
    """The segments of a test set in XML, with straight apostrophes as in the training text."""
    for line in lines:
        segment = _SEGMENT.search(line)
        if segment:
            yield segment[1].replace("\u2019", "'")


def _wmt14(target: str, vocabulary_size: int, *files: TextFile) -> Recipe:
    tests = {
        "valid": TestSet("wmt13", "newstest2013", 3000),
        "test": TestSet("wmt14/full", "newstest2014", 3003),
    }
    return Recipe(
        name=f"wmt14_en_{target}",
        languages=("en", target),
        vocabulary_size=vocabulary_size,
        test_set=tests["test"].name,
        corpus=Corpus({"train": list(files)}, tests),
        moses=MosesSettings(),
        cleaning=Rules(max_length=250, ratio=1.5, drop_duplicates=True),
    )


def _multi30k(target: str) -> Recipe:
    splits = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    return Recipe(
        name=f"multi30k_en_{target}",
        languages=("en", target),
        vocabulary_size=6000,  # few, as the corpus is small
        test_set="Multi30k test_2016_flickr",
        corpus=Corpus({split: [TextFile(f"{name}.{{}}", f"{name}.{{}}")] for split, name in splits.items()}),
    )


_RECIPES = (
    _wmt14(
        "de",
        32000,
        TextFile("europarl-v7", "europarl-v7.de-en.{}"),
        TextFile("commoncrawl", "commoncrawl.de-en.{}"),
        TextFile("news-commentary-v9", "news-commentary-v9.de-en.{}"),
    ),
    _wmt14(
        "fr",
        40000,
        TextFile("europarl-v7", "europarl-v7.fr-en.{}"),
        TextFile("commoncrawl", "commoncrawl.fr-en.{}"),
        TextFile("un", "undoc.2000.fr-en.{}"),
        TextFile("news-commentary-v9", "news-commentary-v9.fr-en.{}"),
        TextFile("giga-fren", "giga-fren.release2.fixed.{}"),
    ),
    Recipe(
        name="iwslt14_de_en",
        languages=("de", "en"),
        vocabulary_size=10000,
        test_set="IWSLT14 TED dev2010, TEDX dev2012, TED tst2010-2012",
        corpus=Corpus(
            {
                "train": [TextFile("iwslt14", "train.tags.de-en.{}")],
                "test": [TextFile("iwslt14", f"IWSLT14.{test}.de-en.{{}}.xml") for test in IWSLT14_TEST_SETS],
            },
            sentences={"train": _iwslt14_training_sentences, "test": _iwslt14_test_sentences},
        ),
        moses=MosesSettings(dash_splits=False, lowercase=True),
        cleaning=Rules(max_length=175, ratio=1.5, drop_duplicates=False),
        cleans_tokens=True,
        validation_every=23,
        accepts_tokenised=True,
    ),
    _multi30k("de"),
    _multi30k("fr"),
)
RECIPES = {recipe.name: recipe for recipe in _RECIPES}

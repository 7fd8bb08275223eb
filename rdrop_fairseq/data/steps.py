"""The steps of a preparation: what each one does, and what it makes in the folder of results."""

import shutil
import sys
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import count_lines
from rdrop_fairseq.common.versions import package_versions, plugin_state
from rdrop_fairseq.data.archives import SUMS, note_sums
from rdrop_fairseq.data.binarise import binarise
from rdrop_fairseq.data.binarised_data import MODEL_NAME, RECORD_NAME, PreparationRecord, write_preparation
from rdrop_fairseq.data.cleaning import as_text, clean
from rdrop_fairseq.data.moses import make_detokenise, make_tokenise
from rdrop_fairseq.data.parallel_lines import map_lines
from rdrop_fairseq.data.parallel_text import SPLITS, PairCount, PairOfFiles, check_pair, find_splits, split_off
from rdrop_fairseq.data.raw_text import RawText
from rdrop_fairseq.data.recipes import Recipe
from rdrop_fairseq.data.sample_corpus import write_sample_corpus
from rdrop_fairseq.data.subwords import encode_file, learn


class Step(NamedTuple):
    """What is done once; a stage has one step or several."""

    name: str
    stage: str
    title: str
    work: Callable[[], object]
    results: Sequence[Path]
    """The files that it makes."""


class Steps:
    """The steps of one recipe in one folder.

    Args:
        recipe: says which steps there are.
        folder: of the results.
        raw_text: of the recipe's corpus, if it has one.
        tokenised: folder of text that is tokenised and cleaned, if it is taken from there.
        vocabulary_size: joined sub-words.
        workers: processes.
        report: takes a line on what was done.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        raw_text: Optional[RawText],
        tokenised: Optional[Path],
        vocabulary_size: int,
        workers: int,
        report: Callable[[str], None],
    ) -> None:
        self._recipe, self._folder, self._bin = recipe, folder, folder / "bin"
        self._raw_text, self._tokenised, self._say = raw_text, tokenised, report
        self._vocabulary_size, self._workers = vocabulary_size, workers
        self._model = folder / "subwords" / MODEL_NAME
        self._counts: Dict[str, PairCount] = {}

    def all(self) -> List[Step]:
        """What is done, in order."""
        languages = self._recipe.languages
        pair = "-".join(languages)
        made = [RECORD_NAME, MODEL_NAME, *self._test_files(), *(f"dict.{language}.txt" for language in languages)]
        for split in SPLITS:
            made += [f"{split}.{pair}.{language}.{ending}" for language in languages for ending in ("bin", "idx")]
        learning = f"learning {self._vocabulary_size} sub-words"
        return [
            *self._steps_to_text(),
            Step("learn", "learn", learning, self._learn, [self._model]),
            Step("apply", "apply", "splitting into sub-words", self._apply, self._files("subwords", *SPLITS)),
            Step("binarise", "binarise", "binarising", self._binarise, [self._bin / name for name in made]),
        ]

    def _steps_to_text(self) -> List[Step]:
        """The steps to text that is ready to be split into sub-words."""
        recipe = self._recipe
        if self._tokenised:
            sums = [self._folder / "tokenised" / SUMS]
            return [Step("take", "learn", "checking the tokenised text", self._take, sums)]
        if recipe.folder:
            return [Step("take", "text", "checking the text", self._take, [])]
        if recipe.corpus is None:
            return [Step("take", "text", "writing the sample corpus", self._take, self._files("raw", *SPLITS))]
        raw_text, folder = self._raw_text, self._folder / "raw"
        texts = self._files("raw", "train", "test")
        steps = [Step("extract", "extract", "extracting the text", lambda: raw_text.extract(folder), texts)]
        if recipe.cleans_tokens:
            steps.append(self._tokenising("tokenise", "tokenising", "raw", "train", "test"))
            steps.append(self._cleaning("tokenised"))
            title = f"taking every {recipe.validation_every}rd pair for validation"
            results = self._files("split", "train", "valid")
            steps.append(Step("split", "clean", title, self._split_off_validation, results))
        elif recipe.moses:
            steps.append(self._cleaning("raw"))
            steps.append(self._tokenising("tokenise-train", "tokenising the training text", "clean", "train"))
            steps.append(self._tokenising("tokenise-rest", "tokenising valid and test", "raw", "valid", "test"))
        return steps

    def _tokenising(self, name: str, title: str, origin: str, *splits: str) -> Step:
        def tokenise() -> None:
            for source, tokens in zip(self._files(origin, *splits), self._files("tokenised", *splits)):
                language = source.suffix[1:]
                map_lines(make_tokenise, (language, *self._recipe.moses), source, tokens, self._workers)

        return Step(name, "tokenise", title, tokenise, self._files("tokenised", *splits))

    def _cleaning(self, origin: str) -> Step:
        def drop_pairs() -> None:
            files, kept = self._pair(origin, "train"), self._pair("clean", "train")
            report = clean(files, kept, self._recipe.cleaning, self._folder / "clean" / "cleaning.json")
            print(as_text(report), end="", file=sys.stderr)

        return Step("clean", "clean", "dropping pairs", drop_pairs, self._files("clean", "train"))

    def _take(self) -> None:
        """Check the text, which stays as it is."""
        if self._tokenised is None and self._recipe.folder is None:
            write_sample_corpus(self._folder / "raw")
        for split, count in self.count_pairs().items():
            self._say(f"{split}: {count}")
        if self._tokenised:
            note_sums(self._folder / "tokenised", {str(path): path for pair in self.texts().values() for path in pair})

    def count_pairs(self) -> Dict[str, PairCount]:
        """How many pairs each split has; counted once.

        Raises:
            UserError: a file is missing, empty, not UTF-8, or not aligned with its other side.
        """
        self._counts = self._counts or {split: check_pair(*pair) for split, pair in self.texts().items()}
        return self._counts

    def _split_off_validation(self) -> None:
        for file in self._pair("clean", "train"):
            split_off(file, self._folder / "split", self._recipe.validation_every)

    def _learn(self) -> None:
        learn(self.texts()["train"], self._vocabulary_size, self._model)

    def _apply(self) -> None:
        for split, texts in self.texts().items():
            for text, subwords in zip(texts, self._pair("subwords", split)):
                encode_file(self._model, text, subwords, self._workers)

    def _binarise(self) -> None:
        """Write bin/: what fairseq-preprocess makes, and what gives raw text to a model and scores its output."""
        partial = self._folder / "bin.partial"
        for folder in (self._bin, partial):
            shutil.rmtree(folder, ignore_errors=True)
        languages, log = self._recipe.languages, self._folder / "preprocess.log"
        binarise(self._folder / "subwords", languages, partial, self._workers, log)
        _copy(self._model, partial / MODEL_NAME)
        pair = self.texts()["test"] if self._tokenised or self._recipe.folder else self._pair("raw", "test")
        for language, text, name in zip(languages, pair, self._test_files()):
            if self._tokenised:
                map_lines(make_detokenise, (language,), text, partial / name, self._workers)
            else:
                _copy(text, partial / name)
        write_preparation(self._record(pair), partial)
        partial.rename(self._bin)

    def _record(self, test: PairOfFiles) -> PreparationRecord:
        """What preparation.json says."""
        source, target = self._recipe.languages
        moses = self._recipe.moses
        return PreparationRecord(
            recipe=self._recipe.name,
            source_language=source,
            target_language=target,
            tokenizer="moses" if moses else None,
            moses_no_dash_splits=moses is not None and not moses.dash_splits,
            moses_no_escape=moses is not None and not moses.escape,
            lowercase=moses is not None and moses.lowercase,
            vocabulary_size=self._vocabulary_size,
            test_set=self._recipe.test_set or test[0].stem,
            sentences={split: count_lines(self._pair("subwords", split)[0]) for split in SPLITS},
            versions={**package_versions(), "rdrop_fairseq": plugin_state()},
        )

    def texts(self) -> Dict[str, PairOfFiles]:
        """By split: the text that is split into sub-words."""
        if self._recipe.folder:
            return find_splits(self._recipe.folder, *self._recipe.languages, self._recipe.test_set or None)
        if self._tokenised:
            return {split: self._pair(str(self._tokenised), split) for split in SPLITS}
        folder = "tokenised" if self._recipe.moses else "raw"
        texts = {split: self._pair(folder, split) for split in SPLITS}
        if self._recipe.validation_every:
            texts.update({split: self._pair("split", split) for split in ("train", "valid")})
        return texts

    def _pair(self, folder: str, split: str) -> PairOfFiles:
        """The files of a split; ``folder`` is relative to the folder of results."""
        source, target = (self._folder / folder / f"{split}.{language}" for language in self._recipe.languages)
        return source, target

    def _test_files(self) -> Tuple[str, str]:
        """The names in bin/ of the raw test text of both languages."""
        source, target = self._recipe.languages
        return f"source.{source}", f"reference.{target}"

    def _files(self, folder: str, *splits: str) -> List[Path]:
        """The files of these splits, as :meth:`_pair` gives them."""
        return [path for split in splits for path in self._pair(folder, split)]


def _copy(source: Path, destination: Path) -> None:
    with atomic_output(destination) as temporary:
        shutil.copyfile(source, temporary)

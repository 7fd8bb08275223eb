"""From text to binarised data, in stages that are done once.

    python -m rdrop_fairseq.data.prepare RECIPE [OPTION]...

is what scripts/prepare_*.sh call. The folder of results has archives/ (downloads), raw/, clean/, tokenised/, split/
(IWSLT14), subwords/ and bin/; bin/ is for training and evaluation and needs nothing of the others.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import rdrop_fairseq
from rdrop_fairseq.common.command_line import Parser, positive_number, say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of
from rdrop_fairseq.common.processes import available_cores
from rdrop_fairseq.common.versions import package_versions, plugin_state
from rdrop_fairseq.common.work_folder import WorkFolder
from rdrop_fairseq.data.archives import SUMS, check_unchanged, note_sums
from rdrop_fairseq.data.binarise import binarise
from rdrop_fairseq.data.binarised_data import MODEL_NAME, RECORD_NAME, PreparationRecord, write_preparation
from rdrop_fairseq.data.cleaning import as_text, clean
from rdrop_fairseq.data.moses import make_detokenise, make_tokenise
from rdrop_fairseq.data.parallel_lines import map_lines
from rdrop_fairseq.data.parallel_text import SPLITS, PairOfFiles, check_pair, find_splits, split_off
from rdrop_fairseq.data.raw_text import RawText
from rdrop_fairseq.data.recipes import RECIPES, Recipe
from rdrop_fairseq.data.sample_corpus import write_sample_corpus
from rdrop_fairseq.data.subwords import encode_file, learn

# What lasts in a folder, so that other settings are refused from then on: text was extracted, or sub-words were learnt.
LASTING = (".done/extract", ".done/learn")


class _Step(NamedTuple):
    """What is done once; a stage has one step or several."""

    name: str
    stage: str
    title: str
    work: Callable[[], object]
    results: Sequence[str]
    """The files that it makes in the folder."""


class Preparation:
    """One recipe in one folder.

    Args:
        recipe: what to do; one of ``RECIPES``, or a :func:`rdrop_fairseq.data.recipes.text_recipe`.
        output: the folder of results.
        program: the name of the program, for what it says.
        raw_dir: take archives, or the files extracted from them, from this folder where they lie there.
        tokenised_dir: take text from here that is tokenised and cleaned already.
        corpus_prefixes: train on PREFIX.LANGUAGE of ``raw_dir`` alone, one after the other.
        table: a table of archives in place of the recipe's.
        vocabulary_size: in place of the recipe's.
        workers: processes; None takes all cores. The results do not depend on it.
        place_option: the option of the program that chooses ``output``, for messages.
        lasting: patterns of files, relative to ``output``, after which other settings are refused.
    """

    def __init__(
        self,
        recipe: Recipe,
        output: Path,
        program: str,
        *,
        raw_dir: Optional[Path] = None,
        tokenised_dir: Optional[Path] = None,
        corpus_prefixes: Sequence[str] = (),
        table: Optional[Path] = None,
        vocabulary_size: Optional[int] = None,
        workers: Optional[int] = None,
        place_option: str = "--output-dir",
        lasting: Sequence[str] = LASTING,
    ) -> None:
        self.recipe, self.stages = recipe, recipe.stages
        self._shown = output
        self._work = WorkFolder(output, program, place_option)
        self.folder = self._work.path
        self.bin = self.folder / "bin"
        self.vocabulary_size = recipe.vocabulary_size if vocabulary_size is None else vocabulary_size
        self.workers = available_cores() if workers is None else workers
        self._raw, self._tokenised, self._table = (_resolved(path) for path in (raw_dir, tokenised_dir, table))
        self._prefixes = list(corpus_prefixes)
        self._program, self._place_option, self._lasting = program, place_option, lasting
        self._counted: Dict[PairOfFiles, str] = {}

    def check(self, first_stage: Optional[str] = None, last_stage: Optional[str] = None) -> None:
        """Refuse what can be refused before anything is done; nothing is written.

        Raises:
            UserError: a folder, file, number or stage that cannot be; text that is missing, damaged or not aligned.
        """
        self._range_of(first_stage, last_stage)
        for option, number in (("--vocab-size", self.vocabulary_size), ("--workers", self.workers)):
            if number < 1:
                raise UserError(f"{option} takes a whole number above 0, not {number}")
        if os.pathsep in str(self.folder):
            raise UserError(
                f"fairseq takes {self._shown} for several paths, because of its colon; choose another "
                f"{self._place_option}"
            )
        if self._tokenised and not self.recipe.accepts_tokenised:
            raise UserError("--tokenised-dir is for text that this recipe cannot take; give raw text with --raw-dir")
        if self._table and not self._table.is_file():
            raise UserError(f"no file {self._table}; give --table a table of archives")
        if self._prefixes and not self._raw:
            raise UserError("--corpus chooses files of a folder; name the folder with --raw-dir")
        # Where the text was taken from may be gone when it is not needed any more.
        if self._raw and not self._raw.is_dir() and not self._work.is_done("extract"):
            raise UserError(f"no folder {self._raw}; give --raw-dir a folder that exists")
        if self._tokenised and not self._tokenised.is_dir() and not self._work.is_done("binarise"):
            raise UserError(f"no folder {self._tokenised}; give --tokenised-dir a folder that exists")
        if self.recipe.corpus is None or self._tokenised:
            if self.recipe.folder:
                self._texts()  # all files are there
            if not self._work.is_done("take") and (self._tokenised or self.recipe.folder):
                self._count_pairs()
        elif not self._work.is_done("extract"):
            self._raw_text().check_chosen_files()

    def run(self, first_stage: Optional[str] = None, last_stage: Optional[str] = None) -> Path:
        """Do the stages from the first to the last one, but for what was done before.

        Returns:
            The folder of binarised data, which is there if the last stage is ``binarise``.

        Raises:
            UserError: as :meth:`check`; other settings than the folder's; and whatever a stage cannot do.
        """
        self.check(first_stage, last_stage)
        first, last = self._range_of(first_stage, last_stage)
        with self._work.opened(self._settings(), self._lasting, late="sub-words", late_stage="learn"):
            steps = self._steps()
            self._forget_lost_results(steps)
            self._check_sources(starts=first == 0)
            for step in steps:
                place = self.stages.index(step.stage)
                if first <= place <= last:
                    self._work.stage(step.name, step.title, step.work)
                elif place < first and not self._work.is_done(step.name):
                    raise UserError(
                        f"the stage {self.stages[first]} needs the stage {step.stage}; run that first "
                        f"(--stage {step.stage})"
                    )
        if last == len(self.stages) - 1:
            self._say(f"done: {self.bin}")
        return self.bin

    def _say(self, message: str) -> None:
        say(self._program, message)

    def _range_of(self, first_stage: Optional[str], last_stage: Optional[str]) -> Tuple[int, int]:
        """The places of the first and the last stage."""
        names = " ".join(self.stages)
        for stage in (first_stage, last_stage):
            if stage is not None and stage not in self.stages:
                raise UserError(f"unknown stage {stage}; the stages are {names}")
        first = self.stages.index(first_stage or self.stages[0])
        last = self.stages.index(last_stage or self.stages[-1])
        if first > last:
            raise UserError(f"the stage {last_stage} comes before {first_stage}; the stages are {names}")
        return first, last

    def _settings(self) -> List[str]:
        """What makes the data what they are."""
        settings = [f"recipe {self.recipe.name} {'-'.join(self.recipe.languages)}", f"sub-words {self.vocabulary_size}"]
        if self.recipe.folder:
            texts = [path for pair in self._texts().values() for path in pair]
            return settings + [f"text {path} {sha256_of(path)}" for path in texts]
        if self.recipe.corpus is None:
            return settings
        settings += [
            f"raw text {self._raw or 'downloaded'}",
            f"chosen files {' '.join(map(_quoted, self._prefixes)) or 'all'}",
            f"tokenised text {self._tokenised or 'made here'}",
        ]
        if self._table:
            with open(self._table, "rb") as stream:
                checksum = subprocess.run(["cksum"], stdin=stream, stdout=subprocess.PIPE, check=True, text=True).stdout
            settings.append(f"table of archives {checksum.strip()}")
        return settings

    def _forget_lost_results(self, steps: Sequence[_Step]) -> None:
        """Have the steps done again whose results were removed, and all that follow.

        Once bin/ is complete nothing else is needed, and may be removed.
        """
        if self._work.is_done(steps[-1].name) and self._has_results(steps[-1]):
            return
        for place, step in enumerate(steps):
            if not self._work.is_done(step.name) or self._has_results(step):
                continue
            self._say(f"what was made by {step.title} is gone; it is done again, and what follows")
            # From the end: after a kill in between, the result of this one is still missed.
            for later in reversed(steps[place:]):
                self._work.forget(later.name)
            return

    def _has_results(self, step: _Step) -> bool:
        return all((self.folder / result).exists() for result in step.results)

    def _check_sources(self, starts: bool) -> None:
        """Have the archives, if this is the stage for it (``starts``), and check what is taken from elsewhere.

        This is done on every run; but what was removed when it was not needed any more is not missed.
        """
        if self.recipe.corpus is None:
            return
        if self._tokenised:
            if self._work.is_done("take"):
                paths = [path for pair in self._texts().values() for path in pair]
                check_unchanged(self.folder / "tokenised", paths, self._place_option)
        elif starts and not self._work.is_done("extract"):
            self._say("getting and checking the archives")
            self._raw_text().get()
        elif self._raw is None or self._raw.is_dir():
            self._raw_text().check()

    def _raw_text(self) -> RawText:
        return RawText(
            self.recipe,
            self.folder / "archives",
            self._raw,
            self._prefixes,
            self._table,
            report=self._say,
            place_option=self._place_option,
        )

    def _steps(self) -> List[_Step]:
        """What is done, in order."""
        size = self.vocabulary_size
        pair = "-".join(self.recipe.languages)
        made = [RECORD_NAME, MODEL_NAME, *self._test_files(), *self._named("dict.{}.txt")]
        made += [f"{split}.{pair}.{end}" for split in SPLITS for end in self._named("{}.bin", "{}.idx")]
        return [
            *self._steps_to_text(),
            _Step("learn", "learn", f"learning {size} sub-words", self._learn, [f"subwords/{MODEL_NAME}"]),
            _Step("apply", "apply", "splitting into sub-words", self._apply, self._files("subwords", *SPLITS)),
            _Step("binarise", "binarise", "binarising", self._binarise, [f"bin/{name}" for name in made]),
        ]

    def _steps_to_text(self) -> List[_Step]:
        """The steps to text that is ready to be split into sub-words."""
        recipe = self.recipe
        if self._tokenised:
            return [_Step("take", "learn", "checking the tokenised text", self._take_tokenised, [f"tokenised/{SUMS}"])]
        if recipe.folder:
            return [_Step("take", "text", "checking the text", self._take, [])]
        if recipe.corpus is None:
            return [_Step("take", "text", "writing the sample corpus", self._take, self._files("raw", *SPLITS))]
        steps = [_Step("extract", "extract", "extracting the text", self._extract, self._files("raw", "train", "test"))]
        if recipe.cleans_tokens:
            steps.append(self._tokenising("tokenise", "tokenising", "raw", "train", "test"))
            steps.append(self._cleaning("tokenised"))
            title = f"taking every {recipe.validation_every}rd pair for validation"
            results = self._files("split", "train", "valid")
            steps.append(_Step("split", "clean", title, self._split_off_validation, results))
        elif recipe.moses:
            steps.append(self._cleaning("raw"))
            steps.append(self._tokenising("tokenise-train", "tokenising the training text", "clean", "train"))
            steps.append(self._tokenising("tokenise-rest", "tokenising valid and test", "raw", "valid", "test"))
        return steps

    def _tokenising(self, name: str, title: str, origin: str, *splits: str) -> _Step:
        def tokenise() -> None:
            for split in splits:
                pairs = zip(self.recipe.languages, self._pair(origin, split), self._pair("tokenised", split))
                for language, source, tokens in pairs:
                    map_lines(make_tokenise, (language, *self.recipe.moses), source, tokens, self.workers)

        return _Step(name, "tokenise", title, tokenise, self._files("tokenised", *splits))

    def _cleaning(self, origin: str) -> _Step:
        def drop_pairs() -> None:
            files, kept = self._pair(origin, "train"), self._pair("clean", "train")
            report = clean(files, kept, self.recipe.cleaning, self.folder / "clean" / "cleaning.json")
            print(as_text(report), end="", file=sys.stderr)

        return _Step("clean", "clean", "dropping pairs", drop_pairs, self._files("clean", "train"))

    def _take(self) -> None:
        """The text as it is."""
        if self.recipe.folder is None:
            write_sample_corpus(self.folder / "raw")
        for split, count in self._count_pairs().items():
            self._say(f"{split}: {count}")

    def _take_tokenised(self) -> None:
        self._take()
        note_sums(self.folder / "tokenised", {str(path): path for pair in self._texts().values() for path in pair})

    def _count_pairs(self) -> Dict[str, str]:
        """How many pairs each split has, in words; counted once.

        Raises:
            UserError: a file is missing, empty, not UTF-8, or not aligned with its other side.
        """
        texts = self._texts()
        for pair in texts.values():
            if pair not in self._counted:
                self._counted[pair] = str(check_pair(*pair))
        return {split: self._counted[pair] for split, pair in texts.items()}

    def _extract(self) -> None:
        self._raw_text().extract(self.folder / "raw")

    def _split_off_validation(self) -> None:
        for file in self._pair("clean", "train"):
            split_off(file, self.folder / "split", self.recipe.validation_every)

    def _learn(self) -> None:
        learn(self._texts()["train"], self.vocabulary_size, self.folder / "subwords" / MODEL_NAME)

    def _apply(self) -> None:
        subwords = self.folder / "subwords"
        for split, pair in self._texts().items():
            for language, text in zip(self.recipe.languages, pair):
                encode_file(subwords / MODEL_NAME, text, subwords / f"{split}.{language}", self.workers)

    def _binarise(self) -> None:
        """Write bin/: what fairseq-preprocess makes, and what gives raw text to a model and scores its output."""
        subwords, partial = self.folder / "subwords", self.folder / "bin.partial"
        for folder in (self.bin, partial):
            shutil.rmtree(folder, ignore_errors=True)
        binarise(subwords, self.recipe.languages, partial, self.workers, self.folder / "preprocess.log")
        shutil.copyfile(subwords / MODEL_NAME, partial / MODEL_NAME)
        pair = self._texts()["test"] if self._tokenised or self.recipe.folder else self._pair("raw", "test")
        for language, text, name in zip(self.recipe.languages, pair, self._test_files()):
            if self._tokenised:
                map_lines(make_detokenise, (language,), text, partial / name, self.workers)
            else:
                shutil.copyfile(text, partial / name)
        write_preparation(self._record(pair), partial)
        partial.rename(self.bin)

    def _record(self, test: PairOfFiles) -> PreparationRecord:
        """What preparation.json says."""
        source, target = self.recipe.languages
        moses = self.recipe.moses
        sentences = {}
        for split in SPLITS:
            with open(self.folder / "subwords" / f"{split}.{source}", "rb") as stream:
                sentences[split] = sum(1 for _ in stream)
        return PreparationRecord(
            recipe=self.recipe.name,
            source_language=source,
            target_language=target,
            tokenizer="moses" if moses else None,
            moses_no_dash_splits=moses is not None and not moses.dash_splits,
            moses_no_escape=moses is not None and not moses.escape,
            lowercase=moses is not None and moses.lowercase,
            vocabulary_size=self.vocabulary_size,
            test_set=self.recipe.test_set or test[0].stem,
            sentences=sentences,
            versions={**package_versions(), "rdrop_fairseq": plugin_state()},
        )

    def _texts(self) -> Dict[str, PairOfFiles]:
        """By split: the text that is split into sub-words."""
        if self.recipe.folder:
            return find_splits(self.recipe.folder, *self.recipe.languages, self.recipe.test_set or None)
        if self._tokenised:
            return {split: self._pair(str(self._tokenised), split) for split in SPLITS}
        folder = "tokenised" if self.recipe.moses else "raw"
        texts = {split: self._pair(folder, split) for split in SPLITS}
        if self.recipe.validation_every:
            texts.update({split: self._pair("split", split) for split in ("train", "valid")})
        return texts

    def _pair(self, folder: str, split: str) -> PairOfFiles:
        """The files of a split; ``folder`` is relative to the folder of results."""
        source, target = (self.folder / folder / f"{split}.{language}" for language in self.recipe.languages)
        return source, target

    def _test_files(self) -> Tuple[str, str]:
        """The names in bin/ of the raw test text of both languages."""
        source, target = self.recipe.languages
        return f"source.{source}", f"reference.{target}"

    def _files(self, folder: str, *splits: str) -> List[str]:
        """The files of these splits, relative to the folder of results."""
        return [f"{folder}/{split}.{language}" for split in splits for language in self.recipe.languages]

    def _named(self, *patterns: str) -> List[str]:
        """The names of files of both languages; a pattern has ``{}`` for the language."""
        return [pattern.format(language) for pattern in patterns for language in self.recipe.languages]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that preparing a recipe and reproducing it share."""
    parser.add_argument("--raw-dir", type=_path, metavar="DIR", help="take archives or text from here")
    parser.add_argument(
        "--corpus", type=_text, action="append", default=[], metavar="PREFIX", help="train on these files of --raw-dir"
    )
    parser.add_argument("--table", type=_path, metavar="FILE", help="another table of archives")
    parser.add_argument("--vocab-size", type=positive_number, metavar="N", help="joined sub-words")
    parser.add_argument("--workers", type=positive_number, metavar="N", help="processes (default: all cores)")


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = Parser(
        prog="python -m rdrop_fairseq.data.prepare", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("recipe", metavar="RECIPE", help=f"{', '.join(RECIPES)}, or multi30k with --target-lang")
    parser.add_argument("--target-lang", type=_text, metavar="LANG", help="of multi30k: de or fr (default: de)")
    add_options(parser)
    parser.add_argument("--tokenised-dir", type=_path, metavar="DIR", help="take text that is tokenised and cleaned")
    parser.add_argument("--output-dir", type=_path, metavar="DIR", help="where everything goes (default: data/RECIPE)")
    parser.add_argument("--stage", type=_text, metavar="NAME", help="start with this stage")
    parser.add_argument("--stop-stage", type=_text, metavar="NAME", help="end after this stage")
    options = parser.parse_args(arguments)
    recipe = _recipe(options.recipe, options.target_lang)
    Preparation(
        recipe,
        options.output_dir or Path(rdrop_fairseq.__file__).resolve().parents[1] / "data" / recipe.name,
        f"prepare_{recipe.name}",
        raw_dir=options.raw_dir,
        tokenised_dir=options.tokenised_dir,
        corpus_prefixes=options.corpus,
        table=options.table,
        vocabulary_size=options.vocab_size,
        workers=options.workers,
    ).run(options.stage, options.stop_stage)


def _recipe(name: str, target_language: Optional[str]) -> Recipe:
    """The recipe of a command line; multi30k is one of two, by its target language."""
    if name == "multi30k":
        name = f"multi30k_en_{target_language or 'de'}"
        if name not in RECIPES:
            raise UserError(f"--target-lang is {target_language}; give de or fr")
    elif target_language is not None:
        raise UserError(f"--target-lang is for multi30k alone; leave it out with {name}")
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name}; give one of {', '.join(RECIPES)}")
    return RECIPES[name]


def _resolved(path: Optional[Path]) -> Optional[Path]:
    return None if path is None else Path(os.path.realpath(path))


def _text(value: str) -> str:
    """The ``type`` of an argument that must not be empty."""
    if not value:
        raise argparse.ArgumentTypeError("needs a value")
    return value


def _path(value: str) -> Path:
    return Path(_text(value))


def _quoted(name: str) -> str:
    """As ``printf %q`` of bash writes it, which earlier versions noted in settings.txt."""
    return re.sub(r"([ \t!\"$&'()*,;<>?\[\\\]^`{|}]|^[#~])", r"\\\1", name)


if __name__ == "__main__":
    main()

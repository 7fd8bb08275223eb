"""One recipe in one folder, in stages that are done once.

The folder has archives/ (downloads), raw/, clean/, tokenised/, split/ (IWSLT14), subwords/ and bin/. Training and
evaluation use bin/ and need nothing of the others.
"""

import functools
import os
import re
import subprocess
from pathlib import Path
from typing import List, Optional, Sequence

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of
from rdrop_fairseq.common.processes import available_cores
from rdrop_fairseq.common.work_folder import WorkFolder, stage_range
from rdrop_fairseq.data.archives import check_unchanged
from rdrop_fairseq.data.binarised_data import check_path
from rdrop_fairseq.data.raw_text import RawText
from rdrop_fairseq.data.recipes import Recipe
from rdrop_fairseq.data.steps import Step, Steps

# What lasts in a folder, so that other settings are refused from then on: text was extracted, or sub-words were learnt.
LASTING = (".done/extract", ".done/learn")


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
        self._work = WorkFolder(output, program, place_option)
        self.folder = self._work.path
        self.bin = self.folder / "bin"
        self.vocabulary_size = recipe.vocabulary_size if vocabulary_size is None else vocabulary_size
        self.workers = available_cores() if workers is None else workers
        self._raw, self._tokenised, self._table = (_resolved(path) for path in (raw_dir, tokenised_dir, table))
        self._prefixes = list(corpus_prefixes)
        self._say = functools.partial(say, program)
        self._place_option, self._lasting = place_option, lasting
        archives = self.folder / "archives"
        self._raw_text = recipe.corpus and RawText(
            recipe, archives, self._raw, self._prefixes, self._table, self._say, place_option
        )
        self._steps = Steps(
            recipe, self.folder, self._raw_text, self._tokenised, self.vocabulary_size, self.workers, self._say
        )

    def check(self) -> None:
        """Refuse what can be refused before anything is done; nothing is written.

        Raises:
            UserError: a folder, file or number that cannot be; text that is missing, damaged or not aligned.
        """
        for option, number in (("--vocab-size", self.vocabulary_size), ("--workers", self.workers)):
            if number < 1:
                raise UserError(f"{option} takes a whole number above 0, not {number}")
        check_path(self.folder, f"choose another {self._place_option}")
        if self._tokenised and not self.recipe.accepts_tokenised:
            raise UserError("--tokenised-dir is for text that this recipe cannot take; give raw text with --raw-dir")
        # Where the text was taken from may be gone when it is not needed any more.
        if self._tokenised and not self._tokenised.is_dir() and not self._work.is_done("binarise"):
            raise UserError(f"no folder {self._tokenised}; give --tokenised-dir a folder that exists")
        if self._raw_text and not self._work.is_done("extract"):
            self._raw_text.check_choice()
        if self.recipe.folder:
            self._steps.texts()  # all files are there
        if (self._tokenised or self.recipe.folder) and not self._work.is_done("take"):
            self._steps.count_pairs()

    def run(self, first_stage: Optional[str] = None, last_stage: Optional[str] = None) -> Path:
        """Do the stages from the first to the last one, but for what was done before.

        Returns:
            The folder of binarised data, which is there if the last stage is ``binarise``.

        Raises:
            UserError: as :meth:`check`; no such stage; other settings than the folder's; what a stage cannot do.
        """
        first, last = stage_range(self.stages, first_stage, last_stage)
        self.check()
        with self._work.opened(self._settings(), self._lasting, late="sub-words", late_stage="learn"):
            steps = self._steps.all()
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

    def _settings(self) -> List[str]:
        """What makes the data what they are."""
        settings = [f"recipe {self.recipe.name} {'-'.join(self.recipe.languages)}", f"sub-words {self.vocabulary_size}"]
        if self.recipe.folder:
            texts = [path for pair in self._steps.texts().values() for path in pair]
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
                checksum = subprocess.check_output(["cksum"], stdin=stream, text=True).strip()
            settings.append(f"table of archives {checksum}")
        return settings

    def _forget_lost_results(self, steps: Sequence[Step]) -> None:
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

    def _has_results(self, step: Step) -> bool:
        return all(path.exists() for path in step.results)

    def _check_sources(self, starts: bool) -> None:
        """Have the archives, if this is the stage for it (``starts``), and check what is taken from elsewhere.

        This is done on every run; but what was removed when it was not needed any more is not missed.
        """
        if self.recipe.corpus is None:
            return
        if self._tokenised:
            if self._work.is_done("take"):
                paths = [path for pair in self._steps.texts().values() for path in pair]
                check_unchanged(self.folder / "tokenised", paths, self._place_option)
        elif starts and not self._work.is_done("extract"):
            self._say("getting and checking the archives")
            self._raw_text.get()
        elif self._raw is None or self._raw.is_dir():
            self._raw_text.check()


def _resolved(path: Optional[Path]) -> Optional[Path]:
    return None if path is None else Path(os.path.realpath(path))


def _quoted(name: str) -> str:
    """As ``printf %q`` of bash writes it, which earlier versions noted in settings.txt."""
    return re.sub(r"([ \t!\"$&'()*,;<>?\[\\\]^`{|}]|^[#~])", r"\\\1", name)

"""Options of fairseq-generate on the command line of scripts/evaluate.sh, checked before anything is translated."""

from pathlib import Path
from typing import List, Sequence

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.fairseq_flags import check_generation_flags
from rdrop_fairseq.experiments.training_flags import settings_of_words

_OF_THE_RUN = "is known from the run; leave it out"
_OF_SYSTEMS = "is for translations from elsewhere; give them with --system NAME=FILE, and no RUN"
_WHOLE_TEST_SET = "would leave out translations, but every sentence of the test set is scored; leave it out"
# What is no option beside a RUN, and why.
REFUSED = {
    "--path": "is set by scripts/evaluate.sh; give --checkpoint FILE",
    "--results-path": "is set by scripts/evaluate.sh; the results are in RUN/evaluation",
    "--gen-subset": "is set by scripts/evaluate.sh, which translates the test set; use fairseq-generate for others",
    "--score-reference": "scores the reference in place of translations; leave it out",
    "--quiet": _WHOLE_TEST_SET,
    "--required-batch-size-multiple": _WHOLE_TEST_SET,
    "--skip-invalid-size-inputs-valid-test": _WHOLE_TEST_SET,
    "--num-shards": _WHOLE_TEST_SET,
    "--shard-id": _WHOLE_TEST_SET,
    "--task": _OF_THE_RUN,
    "--user-dir": _OF_THE_RUN,
    "--source-lang": _OF_THE_RUN,
    "--target-lang": _OF_THE_RUN,
    "--system": _OF_SYSTEMS,
    "--test-set": _OF_SYSTEMS,
    "--lowercase": _OF_SYSTEMS,
    "--detokenise": _OF_SYSTEMS,
    "--json": "is for translations from elsewhere; the scores of a run are in RUN/evaluation/scores.json",
    "--markdown": "is for translations from elsewhere; the scores of a run are in RUN/evaluation/scores.md",
}
# How words are marked that were split into sub-words, and the --post-process that joins them.
SUBWORD_MARKS = (("\u2581", "sentencepiece"), ("@@ ", "subword_nmt"))
_JOINS_SUBWORDS = ("--bpe", "--post-process", "--remove-bpe")


def check_generation_words(words: Sequence[str], data: Path) -> None:
    """Assert that fairseq-generate takes these options, and that none of them is one that the script sets.

    Raises:
        UserError: it does not; the message names the option.
    """
    settings = settings_of_words(words)
    for setting in settings:
        if setting.flag in REFUSED:
            raise UserError(f"{setting.flag} {REFUSED[setting.flag]}")
    check_generation_flags(settings, data, REFUSED)


def join_subwords(words: Sequence[str]) -> bool:
    """Whether with these options fairseq-generate gives whole words."""
    flags: List[str] = [setting.flag for setting in settings_of_words(words)]
    return any(flag in flags for flag in _JOINS_SUBWORDS)

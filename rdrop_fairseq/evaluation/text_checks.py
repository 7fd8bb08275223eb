"""Whether lines are text that can be scored: marks of sub-words, of tokens and of damaged logs, and another reference.

A mark in a few lines may belong to the text: it is warned of. In many lines it is refused. The limit was measured: of
190,000 lines of news, captions and debates (German, English, French) none has a mark of sub-words or of fairseq's logs,
and in no corpus more than 1 in 2,900 one of Moses. Text that is split into sub-words has them in a third of the lines
and more, and text of Moses' tokens in 6 to 75 percent.
"""

import re
import unicodedata
from typing import List, NamedTuple, Optional, Pattern, Sequence

import numpy

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike

# What marks text that is split into sub-words, with the value of --post-process that joins them.
SUBWORD_MARKS = (("\u2581", "sentencepiece"), ("@@ ", "subword_nmt"))

# Of lengths. Translations have 0.8 and more; of 1,000 orders of 100 lines by chance 3 have more than 0.3.
_FEWEST_FOR_CORRELATION = 100
_LEAST_CORRELATION = 0.3

_AS_PRINTED = "give the output of fairseq-generate as it was printed, or its sentences in the order of the test set"


class _Mark(NamedTuple):
    sign: str
    pattern: Pattern
    meaning: str
    """After the name of a file."""
    remedy: str
    in_reference: bool = False
    """Whether a reference may be such text, with a warning; then translations may be so too."""


_MARKS = (
    *(
        _Mark(
            mark.strip(),
            re.compile(pattern),
            f"is still split into subwords ({mark.strip()})",
            f"generate with {flag}, or join them, before scoring",
        )
        for mark, pattern, flag in (
            ("\u2581", "\u2581", "--post-process sentencepiece"),
            ("@@", r"\S@@(?!\S)", "--post-process subword_nmt"),
            ("##", r"\S ##\w", "--bpe bert"),
        )
    ),
    # Moses makes tokens of the characters that it escapes. In text that is merely escaped they stand in words.
    _Mark(
        "&apos;",
        re.compile(
            r"(?<!\S)(?:&(?:quot|amp|lt|gt|#91|#93|#124);|@-@)(?!\S)|(?<!\S)&apos;|&apos;(?!\S)",
        ),
        "has tokens of Moses (&apos; &quot; @-@ and the like), not text",
        "score it with --detokenise and --target-lang, or generate with --tokenizer moses",
        in_reference=True,
    ),
    _Mark(
        "D-7",
        re.compile(r"^[STHDP]-\d+\s"),
        "has lines of fairseq-generate with columns cut, or blanks in place of tabs",
        _AS_PRINTED,
    ),
    _Mark("-0.25", re.compile(r"^-\d+\.\d+(?:e-\d+)?(?!\S)"), "has the scores of fairseq-generate in it", _AS_PRINTED),
)


def _are_many(count: int, lines: int) -> bool:
    """More than 2 percent, and more than two lines unless these are most of a tiny file."""
    return 2 * count > lines or (count > 2 and 50 * count > lines)


def check_text(lines: Sequence[str], path: PathLike, references: Optional[Sequence[Sequence[str]]] = None) -> List[str]:
    """Assert that these lines have text, and that it is not split into sub-words, tokens or the columns of a log.

    Args:
        lines: of the file.
        path: the file.
        references: of the same sentences, if the lines are translations; their marks belong to the text, and
            translations that are all empty, as of a model early in training, are worth a score.

    Returns:
        Warnings, in one line each, about what may be wrong.

    Raises:
        UserError: they are no such text.
    """
    with_text = sum(1 for line in lines if line.strip())
    if not with_text and references is not None:
        return [f"{path}: every translation is empty"]
    if not with_text:
        raise UserError(f"{path} has only empty lines; give a file that has text in it")
    warnings = []
    for mark in _MARKS:
        count = _count(mark, lines)
        if not count:
            continue
        in_references = max((_count(mark, reference) for reference in references or ()), default=0)
        if _are_many(count, with_text) and not _are_many(in_references, with_text):
            if references is None and mark.in_reference:
                warnings.append(f"{path} {mark.meaning}: scores are of tokens; give the raw text with --reference")
                continue
            raise UserError(f"{path} {mark.meaning}; {mark.remedy}")
        if references is not None and count > in_references:
            some = f"{count} of {with_text} lines of {path}"
            warnings.append(f"{some} have the mark {mark.sign}: if that is no text, {mark.remedy}")
    return warnings


def _count(mark: _Mark, lines: Sequence[str]) -> int:
    return sum(1 for line in lines if mark.pattern.search(line))


def check_same_references(
    logged: Sequence[str], path: PathLike, references: Sequence[Sequence[str]], names: Sequence[PathLike]
) -> None:
    """Assert that the references in a log (its T lines) are those with which it is to be scored.

    They come from the binarised data, so case, punctuation, accents, tokens and unknown words may differ. So runs of
    four letters are looked for in the reference: it has nearly all of its own, and 3 percent of another sentence's.

    Args:
        logged: the references in the log, in the order of the corpus.
        path: the log.
        references: one or more of each sentence, in files of as many lines.
        names: the files.

    Raises:
        UserError: they are others.
    """
    others = [
        number
        for number, (line, *of_sentence) in enumerate(zip(logged, *references), start=1)
        if all(_share_found(line, reference) < 0.5 for reference in of_sentence)
    ]
    if _are_many(len(others), len(logged)):
        raise UserError(
            f"the references that {path} tells (its T- lines) are not those of {', '.join(map(str, names))}: "
            f"{len(others)} of {len(logged)} differ, the first in line {others[0]}; give the text of the set that was "
            "translated (--gen-subset) with --reference, or the D- lines alone if the data have other text on purpose"
        )


def _share_found(line: str, reference: str) -> float:
    """Which share of the runs of four letters and digits of a line the reference has."""
    runs = [
        piece[start : start + 4]
        for piece in map(_letters, line.split("<<unk>>"))
        if piece
        for start in range(max(1, len(piece) - 3))
    ]
    letters = _letters(reference)
    return sum(run in letters for run in runs) / len(runs) if runs else 1.0


def _letters(text: str) -> str:
    # Moses' names of characters have letters too.
    text = re.sub(r"&(?:apos|quot|amp|lt|gt|#91|#93|#124);", "", text.casefold())
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text)))


def check_order(lines: Sequence[str], path: PathLike, references: Sequence[Sequence[str]]) -> List[str]:
    """Warn of plain text whose lines are as long as those of the reference by chance only.

    That is what is left of a log without its numbers: fairseq-generate prints sentences in another order.
    """
    lengths = numpy.array([[len(line) for line in text] for text in (lines, references[0])], dtype="float64")
    if len(lines) < _FEWEST_FOR_CORRELATION or not lengths.std(axis=1).all():
        return []
    correlation = numpy.corrcoef(lengths)[0, 1]
    if correlation >= _LEAST_CORRELATION:
        return []
    return [
        f"the lines of {path} are as long as those of the reference by chance only (correlation {correlation:.2f}): if "
        f"they were cut from a log, {_AS_PRINTED}"
    ]

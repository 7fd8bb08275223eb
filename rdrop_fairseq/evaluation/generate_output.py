"""Translations in the order of the test set, from plain text or the output of fairseq-generate or fairseq-interactive.

For each sentence fairseq prints, in the order of decoding (by length, not that of the corpus):

    S-7<tab>source            after --post-process and the decoders of --bpe and --tokenizer, if given
    T-7<tab>reference         the same, from the binarised data: unknown words read ``<<unk>>``
    H-7<tab>score<tab>text    the hypothesis after --post-process only
    D-7<tab>score<tab>text    the same after the decoders too: what is to be scored
    P-7<tab>scores            of the single tokens

With ``--nbest n`` the last three come n times, best first. After the last sentence comes, if there are references,
``Generate test with beam=5: BLEU4 = ...``. The line "Translated N sentences" goes to the log, which may be in another
file.
"""

import math
import os
import re
from typing import Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.evaluation.text_checks import check_order, check_same_references, check_text

_RECORD = re.compile(r"([STHDP])-(\d{1,12})\t(.*)", re.DOTALL)
_FINAL = re.compile(r"(?:\| )?Generate \S+ with beam=\d+: ")  # with the bar until fairseq 0.9
_LOGGED = ("| fairseq_cli.generate |", "| fairseq_cli.interactive |")
_TRANSLATED = re.compile(r"Translated (\d[\d,]{0,20}) sentences \(")
_INTERACTIVE_END = re.compile(r"Total time: [\d.]+ seconds; translation time")

# By default fairseq silently leaves out a last batch whose size is no multiple of 8.
_LOST_SENTENCES_REMEDY = (
    "run fairseq-generate again with --required-batch-size-multiple 1 (otherwise fairseq may leave out the "
    "last batch) and without --skip-invalid-size-inputs-valid-test, or put the outputs of all its processes together"
)
_SEVERAL_FILES = "write each run to a new file"

_Sentence = Dict[str, List[str]]  # its lines, without their marks and numbers, by kind: S, T, H, D, P


class GenerateOutput(NamedTuple):
    """The sentences of a test set in the order of the corpus.

    ``references`` is None where fairseq printed none. They come from the binarised data, in which unknown words are
    lost: score against the original text.
    """

    hypotheses: List[str]
    references: Optional[List[str]]


class Translations(NamedTuple):
    """Text that can be scored, one sentence a line, and warnings about what may be wrong with it, in one line each."""

    lines: List[str]
    warnings: List[str]


def read_translations(
    path: PathLike, references: Mapping[PathLike, Sequence[str]], detokenise: Optional[Callable[[str], str]] = None
) -> Translations:
    """Translations in the order of the test set, of plain text or an output of fairseq-generate.

    Args:
        path: the file.
        references: one or more of each sentence, by their files.
        detokenise: makes text of each line first.

    Raises:
        UserError: see :func:`read_generate_output`, :func:`rdrop_fairseq.evaluation.text_checks.check_text` and
            :func:`rdrop_fairseq.evaluation.text_checks.check_same_references`; or there is another number of sentences.
    """
    texts = list(references.values())
    expected = len(texts[0])
    lines, warnings = read_lines(path), []
    if is_generate_output(lines):
        lines, logged = _parse(lines, path, expected)
        if logged is not None:
            check_same_references(logged, path, texts, list(references))
    elif len(lines) != expected:
        raise UserError(
            f"{path} has {len(lines)} lines and the reference has {expected}; score files of the same sentences"
        )
    else:
        warnings += check_order(lines, path, texts)
    if detokenise:
        lines = list(map(detokenise, lines))
    return Translations(lines, check_text(lines, path, texts) + warnings)


def is_generate_output(lines: Sequence[str]) -> bool:
    """Whether these are lines of fairseq-generate or fairseq-interactive, not plain sentences."""
    for line in lines:
        if any(logged in line for logged in _LOGGED) or _FINAL.match(line):
            return True
        record = _RECORD.match(line)
        if record and (record[1] in "ST" or _score_and_text(record[3]) is not None):
            return True
    return False


def read_generate_output(path: PathLike, expected_sentences: Optional[int] = None) -> GenerateOutput:
    """Read a saved output of fairseq-generate (also its ``--results-path`` file) or fairseq-interactive.

    Log lines in between are passed over. Of an n-best list the best is taken. Outputs of the processes that translated
    one test set together (--distributed-world-size) may stand one after the other.

    Args:
        path: the file.
        expected_sentences: how many sentences were to be translated. Output without references and without fairseq's
            log lines does not say whether it is complete: then this number is needed.

    Raises:
        UserError: the file is missing, empty or not UTF-8. The output is cut off, has gaps, is of two runs (a sentence
            twice, more hypotheses of one sentence than of another, or not best first), or has another number of
            sentences than fairseq or the caller says.
    """
    return _parse(read_lines(path), path, expected_sentences)


def _parse(lines: Sequence[str], path: PathLike, expected_sentences: Optional[int]) -> GenerateOutput:
    sentences: Dict[int, _Sentence] = {}
    current: Optional[int] = None
    results = 0
    translated: List[int] = []
    says_end = expected_sentences is not None
    for line in lines:
        record = _RECORD.match(line)
        if record:
            kind, index, content = record[1], int(record[2]), record[3]
            is_again = index != current and index in sentences
            sentence = sentences.setdefault(index, {name: [] for name in "STHDP"})
            current = index
            if is_again or (kind in "ST" and (sentence[kind] or sentence["D"])):
                raise UserError(
                    f"{path} holds sentence {index} twice (was output appended to an old file?); {_SEVERAL_FILES}"
                )
            if kind in "HD" and _score_and_text(content) is None:
                raise UserError(f"{path}: sentence {index} has a damaged {kind}- line; run fairseq-generate again")
            sentence[kind].append(content)
        elif _FINAL.match(line):
            results += 1
        else:
            count = _TRANSLATED.search(line)
            if count:
                translated.append(int(count[1].replace(",", "")))
            says_end = says_end or bool(count or _INTERACTIVE_END.search(line))

    _check_lines(sentences, path, lines, results)
    if not says_end and not results:
        raise UserError(
            f"{path} does not say whether it is complete (no references, no log lines); "
            "give the number of sentences that were to be translated"
        )
    hypotheses = {index: [_score_and_text(line) for line in sentence["D"]] for index, sentence in sentences.items()}
    _check_one_run({index: [score for score, _ in of_one] for index, of_one in hypotheses.items()}, path)
    _check_numbers(sentences, path, translated, expected_sentences)
    references = [line for _, sentence in sorted(sentences.items()) for line in sentence["T"]]
    return GenerateOutput(
        hypotheses=[hypotheses[index][0][1] for index in range(len(hypotheses))],
        references=references if len(references) == len(sentences) else None,
    )


def _score_and_text(content: str) -> Optional[Tuple[float, str]]:
    """The parts of ``score<tab>text``, or None if it is not of that form."""
    score, tab, text = content.partition("\t")
    try:
        number = float(score)
    except ValueError:
        return None
    return (number, text) if tab and not math.isnan(number) else None


def _check_lines(sentences: Mapping[int, _Sentence], path: PathLike, lines: Sequence[str], results: int) -> None:
    """Assert that no line of a sentence is missing."""
    present = {kind for sentence in sentences.values() for kind in sentence if sentence[kind]}
    if "D" not in present:
        if "H" in present:
            raise UserError(
                f"{path} has H- lines and no D- lines, as fairseq before 0.10 wrote them; "
                "sort the H- lines by number, and score their text as a plain file"
            )
        raise UserError(
            f"{path} has no hypotheses (D- lines); save the whole output of fairseq-generate, made without --quiet"
        )
    cut_off = f"{path} was cut off; run fairseq-generate again and save its whole output"
    if _RECORD.match(lines[-1]) and not _ends_its_last_line(path):
        raise UserError(f"{cut_off} (its last line is incomplete)")
    if "T" in present and not results:
        raise UserError(f"{cut_off} (it ends with a line 'Generate ... with beam=...')")
    # A file of some kinds of lines only (of the D- lines, say) is complete without the others.
    for index, sentence in sentences.items():
        if not sentence["D"] or any(len(sentence[kind]) != len(sentence["D"]) for kind in present & {"H", "P"}):
            raise UserError(f"{cut_off} (sentence {index} is incomplete)")


def _ends_its_last_line(path: PathLike) -> bool:
    if not os.path.isfile(path):
        return True  # a pipe, which was read already
    with open(path, "rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"


def _check_one_run(scores: Mapping[int, Sequence[float]], path: PathLike) -> None:
    """Lines of several runs, sorted together say, would be scored as a mixture of their translations."""
    remedy = f"lines of several runs seem to be in it; {_SEVERAL_FILES}"
    first = next(iter(scores))
    for index, of_sentence in scores.items():
        if len(of_sentence) != len(scores[first]):
            raise UserError(
                f"{path} has {len(of_sentence)} hypotheses of sentence {index} and {len(scores[first])} of {first}; "
                f"{remedy}"
            )
        if any(score < following for score, following in zip(of_sentence, of_sentence[1:])):
            raise UserError(f"the hypotheses of sentence {index} in {path} do not come best first; {remedy}")


def _check_numbers(
    numbers: Collection[int], path: PathLike, translated: Sequence[int], expected_sentences: Optional[int]
) -> None:
    """Assert that the sentences are numbered from 0 without a gap, up to the number that is known."""
    count = len(numbers)
    # Each of several processes says how many were its own.
    if translated and sum(translated) != count:
        raise UserError(
            f"{path} holds {count} sentences, but fairseq translated {sum(translated)}; run fairseq-generate again"
        )
    if expected_sentences not in (None, count):
        raise UserError(f"{path} holds {count} sentences instead of {expected_sentences}; {_LOST_SENTENCES_REMEDY}")
    gap = next((index for index in range(count) if index not in numbers), None)
    if gap is not None:
        raise UserError(
            f"{path} lacks sentence {gap} (it has {count}, numbered up to {max(numbers)}); {_LOST_SENTENCES_REMEDY}"
        )

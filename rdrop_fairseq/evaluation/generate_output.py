"""The output of fairseq-generate and fairseq-interactive: hypotheses in the order of the test set.

For each sentence fairseq prints, in the order of decoding (by length, not that of the corpus):

    S-7<tab>source            after --post-process and the decoders of --bpe and --tokenizer, if given
    T-7<tab>reference         the same, from the binarised data: unknown words read ``<<unk>>``
    H-7<tab>score<tab>text    the hypothesis after --post-process only
    D-7<tab>score<tab>text    the same after the decoders too: what is to be scored
    P-7<tab>scores            of the single tokens

and with ``--nbest n`` the last three n times, best first. After the last sentence comes, if there are
references, ``Generate test with beam=5: BLEU4 = ...``. The line "Translated N sentences" goes to the log, and
so sometimes to another file.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.text import read_text, split_lines

_RECORD = re.compile(r"([STHDP])-(\d+)\t(.*)", re.DOTALL)
_FINAL = re.compile(r"(?:\| )?Generate \S+ with beam=\d+: ")  # with the bar until fairseq 0.9
_TRANSLATED = re.compile(r"Translated ([\d,]+) sentences \(")
_INTERACTIVE_END = re.compile(r"Total time: [\d.]+ seconds; translation time")

# fairseq drops a last batch that is no multiple of --required-batch-size-multiple (8): silently, also here.
_LOST_SENTENCES_REMEDY = (
    "run fairseq-generate again with --required-batch-size-multiple 1 (otherwise fairseq may leave out the "
    "last batch) and without --skip-invalid-size-inputs-valid-test"
)


@dataclass(frozen=True)
class GenerateOutput:
    """Sentences of a test set in the order of the corpus, one entry per sentence in each list.

    ``references`` and ``sources`` are None where fairseq printed none. References come from the binarised
    data, in which unknown words are lost: score against the original text.
    """

    hypotheses: List[str]
    references: Optional[List[str]]
    sources: Optional[List[str]]
    result_line: Optional[str]
    """fairseq's 'Generate test with beam=...: BLEU4 = ...'; not comparable between tokenisations."""


@dataclass
class _Sentence:
    source: Optional[str] = None
    reference: Optional[str] = None
    raw_hypotheses: int = 0
    hypotheses: List[str] = field(default_factory=list)
    scores: List[float] = field(default_factory=list)
    position_scores: int = 0


def is_generate_output(text: str) -> bool:
    """Whether a text is an output of fairseq-generate or fairseq-interactive, not plain sentences."""
    for line in text.split("\n"):
        if "| fairseq_cli.generate |" in line or "| fairseq_cli.interactive |" in line or _FINAL.match(line):
            return True
        record = _RECORD.match(line)
        if record and (record[1] in "ST" or _score_and_text(record[3]) is not None):
            return True
    return False


def read_generate_output(path: Union[str, Path], expected_sentences: Optional[int] = None) -> GenerateOutput:
    """Read a saved output of fairseq-generate (also its ``--results-path`` file) or fairseq-interactive.

    Raises:
        UserError: see :func:`parse_generate_output`; or the file is missing, empty or not UTF-8.
    """
    return parse_generate_output(read_text(path), str(path), expected_sentences)


def parse_generate_output(
    text: str, name: str = "the output", expected_sentences: Optional[int] = None
) -> GenerateOutput:
    """Parse an output of fairseq-generate or fairseq-interactive; of an n-best list the best is taken.

    Args:
        text: the whole output; log lines in between are ignored.
        name: what messages call it.
        expected_sentences: how many sentences were to be translated. Output without references does not say
            by itself that it is complete, unless it has fairseq's log lines in it: then this number is
            needed.

    Raises:
        UserError: the output is cut off, has gaps, is of two runs (a sentence twice, more hypotheses of one sentence
            than of another, or not best first), or has another number of sentences than fairseq or the caller says.
    """
    sentences: Dict[int, _Sentence] = {}
    current: Optional[int] = None
    result_line: Optional[str] = None
    translated: Optional[int] = None
    interactive_end = False
    for line in split_lines(text):
        record = _RECORD.match(line)
        if record:
            kind, index = record[1], int(record[2])
            if index != current:
                if index in sentences:
                    raise _duplicate(name, index)
                sentences[index] = _Sentence()
                current = index
            _add(sentences[index], kind, record[3], name, index)
        elif _FINAL.match(line):
            if result_line is not None:
                raise UserError(
                    f"{name} holds the output of two runs (two 'Generate ...' lines); write each to a new file"
                )
            result_line = line
        else:
            count = _TRANSLATED.search(line)
            if count:
                translated = int(count[1].replace(",", ""))
            interactive_end = interactive_end or bool(_INTERACTIVE_END.search(line))

    if not any(sentence.hypotheses for sentence in sentences.values()):
        if any(sentence.raw_hypotheses for sentence in sentences.values()):
            raise UserError(
                f"{name} has H- lines and no D- lines, as fairseq before 0.10 wrote them; sort the H- lines by number, "
                "and score their text as a plain file"
            )
        raise UserError(
            f"{name} has no hypotheses (D- lines); save the whole output of fairseq-generate, made without --quiet"
        )
    if not text.endswith("\n") and _RECORD.match(text[text.rfind("\n") + 1 :]):
        raise UserError(f"{name} was cut off in its last line; run fairseq-generate again and save its whole output")
    known_end = result_line is not None or interactive_end or translated is not None
    _check_complete(sentences, name, result_line, known_end or expected_sentences is not None)
    _check_one_run(sentences, name)
    count = len(sentences)
    if translated is not None and translated != count:
        raise UserError(
            f"{name} holds {count} sentences, but fairseq translated {translated}; run fairseq-generate again"
        )
    if expected_sentences is not None and expected_sentences != count:
        raise UserError(f"{name} holds {count} sentences instead of {expected_sentences}; {_LOST_SENTENCES_REMEDY}")
    gap = next((index for index in range(count) if index not in sentences), None)
    if gap is not None:
        raise UserError(
            f"{name} lacks sentence {gap} (it has {count}, numbered up to {max(sentences)}); {_LOST_SENTENCES_REMEDY}"
        )

    ordered = [sentences[index] for index in range(count)]
    return GenerateOutput(
        hypotheses=[sentence.hypotheses[0] for sentence in ordered],
        references=_all_or_none([sentence.reference for sentence in ordered]),
        sources=_all_or_none([sentence.source for sentence in ordered]),
        result_line=result_line,
    )


def _add(sentence: _Sentence, kind: str, content: str, name: str, index: int) -> None:
    if kind == "S":
        if sentence.source is not None or sentence.hypotheses:
            raise _duplicate(name, index)
        sentence.source = content
    elif kind == "T":
        if sentence.reference is not None or sentence.hypotheses:
            raise _duplicate(name, index)
        sentence.reference = content
    elif kind == "P":
        sentence.position_scores += 1
    else:
        parts = _score_and_text(content)
        if parts is None:
            raise UserError(f"{name}: sentence {index} has a damaged {kind}- line; run fairseq-generate again")
        if kind == "H":
            sentence.raw_hypotheses += 1
        else:
            sentence.scores.append(parts[0])
            sentence.hypotheses.append(parts[1])


def _score_and_text(content: str) -> Optional[Tuple[float, str]]:
    """The parts of ``score<tab>text``, or None if it is not of that form."""
    score, tab, text = content.partition("\t")
    if not tab:
        return None
    try:
        return float(score), text
    except ValueError:
        return None


def _check_complete(sentences: Dict[int, _Sentence], name: str, result_line: Optional[str], known_end: bool) -> None:
    has_references = any(sentence.reference is not None for sentence in sentences.values())
    cut_off = f"{name} was cut off; run fairseq-generate again and save its whole output"
    if has_references and result_line is None:
        raise UserError(f"{cut_off} (it ends with a line 'Generate ... with beam=...')")
    # Files made by selecting lines of the output (D- only, say) have none of the other kinds: they may.
    for kind in ("raw_hypotheses", "position_scores"):
        printed = any(getattr(sentence, kind) for sentence in sentences.values())
        for index, sentence in sentences.items():
            if not sentence.hypotheses or (printed and getattr(sentence, kind) != len(sentence.hypotheses)):
                raise UserError(f"{cut_off} (sentence {index} is incomplete)")
    if not known_end:
        raise UserError(
            f"{name} does not say whether it is complete (no references, no log lines); "
            "give the number of sentences that were to be translated"
        )


def _check_one_run(sentences: Dict[int, _Sentence], name: str) -> None:
    """Lines of several runs, sorted together say, would be scored as a mixture of their translations."""
    remedy = "lines of several runs seem to be in it; write each run to a new file"
    first, *others = sentences
    for index in others:
        count, expected = len(sentences[index].hypotheses), len(sentences[first].hypotheses)
        if count != expected:
            raise UserError(f"{name} has {count} hypotheses of sentence {index} and {expected} of {first}; {remedy}")
    for index, sentence in sentences.items():
        if any(score < following for score, following in zip(sentence.scores, sentence.scores[1:])):
            raise UserError(f"the hypotheses of sentence {index} in {name} do not come best first; {remedy}")


def _all_or_none(values: List[Optional[str]]) -> Optional[List[str]]:
    present = [value for value in values if value is not None]
    return present if len(present) == len(values) else None


def _duplicate(name: str, index: int) -> UserError:
    return UserError(
        f"{name} holds sentence {index} twice (was output appended to an old file?); write each run to a new file"
    )

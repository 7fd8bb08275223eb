"""Sentences from the templates, and their division into training, validation and test sets.

Some combinations are held out: of a compound's parts, of tens and units, of hour and minute, of day and
month, of a verb and its object, of an adjective and its noun. No training sentence contains one of them and
every validation and test sentence contains at least one, so that these two measure whether a model composes,
rather than remembers, what it has seen.
"""

import re
import zlib
from itertools import accumulate
from typing import Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Set, Tuple

from rdrop_fairseq.data.generated_corpus.chooser import Combination
from rdrop_fairseq.data.generated_corpus.clause_author import ClauseAuthor
from rdrop_fairseq.data.generated_corpus.phrases import Pair
from rdrop_fairseq.data.generated_corpus.templates import (
    dialogue,
    infinitives,
    numbers,
    relatives,
    simple,
    subordinate,
    times,
)
from rdrop_fairseq.errors import UserError

LARGEST_SPLIT = 1_000_000
# In a thousand, how many combinations of a kind are held out.
_HELD_OUT = {"compound": 120, "number": 120, "clock": 100, "date": 80, "object": 60, "adjective": 60}
_TEMPLATES: Tuple[Tuple[int, Callable[[ClauseAuthor], Pair]], ...] = tuple(
    (weight * share, template)
    for weight, module in (
        (4, simple),
        (4, times),
        (3, numbers),
        (5, subordinate),
        (4, relatives),
        (4, infinitives),
        (3, dialogue),
    )
    for share, template in module.TEMPLATES
)
_WEIGHTS = tuple(accumulate(weight for weight, _ in _TEMPLATES))
# So many sentences in a row that have all been there before: there are no more.
_PATIENCE = 20_000
# How many times the sentences needed are looked at for ones whose words all occur in training.
_CANDIDATES = 5
_FEMININE_PRONOUN = re.compile(r"\b(she|her)\b")
_WORD = re.compile(r"[^\W\d_]+")


class Sentence(NamedTuple):
    english: str
    german: str
    combinations: FrozenSet[Combination]

    @property
    def held_out(self) -> bool:
        return any(is_held_out(combination) for combination in self.combinations)


def is_held_out(combination: Combination) -> bool:
    """Whether a combination is kept from training: by its checksum, so for every seed and size alike."""
    return zlib.crc32("\t".join(combination).encode("utf-8")) % 1000 < _HELD_OUT[combination[0]]


def sentences(seed: int) -> Iterator[Sentence]:
    """Sentences without end; some come again."""
    author = ClauseAuthor(seed)
    while True:
        author.begin_sentence()
        english, german = _TEMPLATES[author.position(_WEIGHTS)][1](author)
        if author.needs_feminine_pronoun and not _FEMININE_PRONOUN.search(english):
            continue
        yield Sentence(_finished(english), _finished(german), frozenset(author.combinations))


def _finished(text: str) -> str:
    """Capital, full stop, and no comma before it or doubled where clauses meet."""
    text = text.replace(",,", ",").rstrip(",")
    if text.endswith(",?") or text.endswith(",."):
        text = text[:-2] + text[-1]
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")


def generate(
    seed: int = 1, train_pairs: int = 6000, valid_pairs: int = 500, test_pairs: int = 500
) -> Dict[str, List[Tuple[str, str]]]:
    """``train``, ``valid`` and ``test`` as lists of (English, German); no English sentence comes twice.

    Equal arguments give equal text on every platform. From about 500 training pairs on, every English word
    of the other splits occurs in training; with fewer, most do.

    Raises:
        UserError: a number of pairs is not positive, or larger than what can be made.
    """
    wanted = {"train": train_pairs, "valid": valid_pairs, "test": test_pairs}
    for split, count in wanted.items():
        if not 0 < count <= LARGEST_SPLIT:
            raise UserError(f"{count} {split} pairs cannot be generated; ask for 1 to {LARGEST_SPLIT}")
    stream = _different(sentences(seed))
    train: List[Sentence] = []
    candidates: List[Sentence] = []
    while len(train) < train_pairs:
        sentence = next(stream)
        (candidates if sentence.held_out else train).append(sentence)
    vocabulary = {word for sentence in train for word in _words(sentence)}
    known = [sentence for sentence in candidates if vocabulary.issuperset(_words(sentence))]
    needed = valid_pairs + test_pairs
    while len(known) < needed and len(candidates) < _CANDIDATES * needed:
        sentence = next(stream)
        if sentence.held_out:
            candidates.append(sentence)
            if vocabulary.issuperset(_words(sentence)):
                known.append(sentence)
    # A small training set knows few words; then some sentences have to do that hold unknown ones.
    if len(known) < needed:
        chosen = set(known)
        known += [sentence for sentence in candidates if sentence not in chosen]
    splits = {"train": train, "valid": known[:valid_pairs], "test": known[valid_pairs:needed]}
    return {name: [(item.english, item.german) for item in items] for name, items in splits.items()}


def _words(sentence: Sentence) -> Set[str]:
    return set(_WORD.findall(sentence.english.lower()))


def _different(stream: Iterator[Sentence]) -> Iterator[Sentence]:
    """Each English sentence once."""
    seen: Set[str] = set()
    repeated = 0
    for sentence in stream:
        if sentence.english not in seen:
            seen.add(sentence.english)
            repeated = 0
            yield sentence
            continue
        repeated += 1
        if repeated > _PATIENCE:
            raise UserError(f"only {len(seen)} different sentences can be generated; ask for fewer pairs")

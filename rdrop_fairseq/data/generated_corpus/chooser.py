"""Reproducible choices, and what a sentence combines by them."""

import random
from bisect import bisect_right
from collections import Counter
from typing import FrozenSet, Iterable, Optional, Sequence, Set, Tuple, TypeVar

from rdrop_fairseq.data.generated_corpus.clock_and_calendar import MONTHS, date, spoken_clock
from rdrop_fairseq.data.generated_corpus.lexicon import verbs
from rdrop_fairseq.data.generated_corpus.lexicon.adjectives import adjectives_for
from rdrop_fairseq.data.generated_corpus.lexicon.compounds import COMPOUNDS
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import NOUNS
from rdrop_fairseq.data.generated_corpus.number_words import (
    english_cardinal,
    english_ordinal,
    german_cardinal,
    german_ordinal,
    tens_and_units,
)
from rdrop_fairseq.data.generated_corpus.phrases import Pair

Item = TypeVar("Item")
# What may be held out: (kind, first, second), for example ("compound", "kitchen", "table").
Combination = Tuple[str, str, str]
# A word is seen in training only with partners that are not held out, so it needs some of these.
_NEEDED_PARTNERS = 4


def _with_few_partners(pairs: Iterable[Tuple[str, str]]) -> FrozenSet[str]:
    counts = Counter(first for first, _ in pairs)
    return frozenset(first for first, count in counts.items() if count < _NEEDED_PARTNERS)


_FEW_PARTNERS = {
    "compound": _with_few_partners(compound.parts for heads in COMPOUNDS.values() for compound in heads),
    "adjective": _with_few_partners(
        (adjective.english, noun.head) for noun in NOUNS.values() for adjective in adjectives_for(noun)
    ),
    "object": _with_few_partners((frame.name, noun.head) for frame in verbs.ALL for noun in frame.objects),
}


class Chooser:
    """All choices come from ``random.Random(seed).random()``, whose values never change between Pythons.

    ``combinations`` collects what the sentence in hand combines. ``needs_feminine_pronoun``: it calls a
    teacher Lehrerin, so its English has to have a "she" or "her" that says so.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random
        self.begin_sentence()

    def begin_sentence(self) -> None:
        """Forget what the sentence before this one combined and needed."""
        self.combinations: Set[Combination] = set()
        self.needs_feminine_pronoun = False

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._random() * len(items))]

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def weighted(self, items: Sequence[Tuple[int, Item]]) -> Item:
        """One of (weight, item)."""
        position = self._random() * sum(weight for weight, _ in items)
        for weight, item in items:
            position -= weight
            if position < 0:
                return item
        return items[-1][1]

    def position(self, cumulative_weights: Sequence[int]) -> int:
        """An index, with the probabilities whose running sums are given."""
        return bisect_right(cumulative_weights, self._random() * cumulative_weights[-1])

    def combine(self, kind: str, first: object, second: object) -> None:
        """Note what the sentence combines, unless ``first`` has too few partners to do without one."""
        if first not in _FEW_PARTNERS.get(kind, ()):
            self.combinations.add((kind, str(first), str(second)))

    def number(self, number: int) -> Pair:
        """The number in words."""
        self._combine_digits(number)
        return english_cardinal(number), german_cardinal(number)

    def ordinal(self, number: int) -> Pair:
        """``twenty-first``, and the German stem ``einundzwanzigst``."""
        self._combine_digits(number)
        return english_ordinal(number), german_ordinal(number)

    def _combine_digits(self, number: int) -> None:
        for tens, units in tens_and_units(number):
            self.combine("number", tens, units)

    def count(self) -> int:
        """How many of something: 2 to 12, and now and then up to 99."""
        return self.integer(2, 12) if self.chance(0.7) else self.integer(13, 99)

    def clock(self, hours: Sequence[int] = range(1, 13)) -> Pair:
        """``half past seven``, ``halb acht``, without preposition; ``hours`` are those that make sense."""
        hour, minute = self.pick(hours), 5 * self.integer(0, 11)
        self.combine("clock", hour, minute)
        return spoken_clock(hour, minute)

    def day_of(self, month: int) -> int:
        """A day of ``month`` (1 to 12)."""
        day = self.integer(1, MONTHS[month - 1][2])
        self.combine("date", day, month)
        return day

    def date(self, year: Optional[int] = None) -> Pair:
        """``on the third of March``, ``am dritten März``."""
        month = self.integer(1, 12)
        day = self.day_of(month)
        digits = self.chance(0.25)
        if not digits:
            self._combine_digits(day)
        return date(day, month, year, digits)

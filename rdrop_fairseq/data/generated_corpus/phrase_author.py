"""Chooses words that make sense together and builds phrases from them."""

from typing import List, Optional, Sequence

from rdrop_fairseq.data.generated_corpus import english
from rdrop_fairseq.data.generated_corpus.chooser import Chooser
from rdrop_fairseq.data.generated_corpus.clause import DIRECTION, MANNER, PLACE, TIME, Adverbial
from rdrop_fairseq.data.generated_corpus.clock_and_calendar import MONTHS, WEEKDAYS
from rdrop_fairseq.data.generated_corpus.german import (
    ACCUSATIVE,
    DATIVE,
    GENITIVE,
    german_adjective,
    with_preposition,
)
from rdrop_fairseq.data.generated_corpus.lexicon import circumstances, names, nouns
from rdrop_fairseq.data.generated_corpus.lexicon.adjectives import adjectives_for
from rdrop_fairseq.data.generated_corpus.lexicon.compounds import COMPOUNDS
from rdrop_fairseq.data.generated_corpus.phrases import (
    ALL,
    BARE,
    DEFINITE,
    INDEFINITE,
    MANY,
    POSSESSIVES,
    PRONOUNS,
    SEVERAL,
    THIS,
    Adjective,
    Coordination,
    Determiner,
    Name,
    Noun,
    NounPhrase,
    Pair,
    Phrase,
)

_DETERMINERS = {"d": DEFINITE, "D": DEFINITE, "i": INDEFINITE, "m": BARE, "n": BARE, "t": THIS}
_NOT_A = Determiner("a", "kein", False)
_NOT_ANY = Determiner("any", "kein", False)
_NO_MASS = Determiner("", "kein", False)
_RELATIVES = nouns.BY_KIND["relative"]
_SINGLE_RELATIVES = [noun for noun in _RELATIVES if not noun.always_plural]
_MARRIED = frozenset(("husband", "wife"))
_FAMILY = _RELATIVES + nouns.BY_KIND["acquaintance"]
_COMPANIONS = [noun for noun in _FAMILY if noun.head not in _MARRIED]
_OWNERS = [noun for noun in _COMPANIONS if not noun.always_plural]
_PERSONS = nouns.BY_KIND["person"]
_UNIQUE = frozenset("king queen prince princess president mayor director".split())
_ONE_OF_MANY = [noun for noun in _PERSONS if noun.head not in _UNIQUE]
# Whose one can speak of: my lawyer, but not my king.
_SERVING = frozenset("doctor dentist lawyer teacher gardener guest customer child".split())
_WORN_BY_WOMEN = frozenset("dress skirt blouse".split())
_WORN_IN_PAIRS = frozenset("shoe boot glove sock".split())
# An opinion stands before the other adjective: a beautiful old house.
_FIRST_ADJECTIVES = frozenset("beautiful ugly elegant expensive cheap famous interesting comfortable strange".split())
_SECOND_ADJECTIVES = frozenset("old new red blue green white black yellow brown grey young modern round big".split())
_AGES = [
    Adjective(name, "", "", german_adjective(german), ())
    for name, german in (
        ("younger", "jünger"),
        ("older", "älter"),
        ("youngest", "jüngst"),
        ("oldest", "ältest"),
    )
]
_PARTS_OF_DAY = (("morning", "morgen"), ("evening", "abend"), ("afternoon", "nachmittag"))
# English, German after a preposition with the dative, and how many at most.
_UNITS = (("minutes", "Minuten", 59), ("hours", "Stunden", 12), ("days", "Tagen", 7))
_LONG_UNITS = (
    ("days", "Tagen", 14),
    ("weeks", "Wochen", 12),
    ("months", "Monaten", 12),
    ("years", "Jahren", 39),
)
_AROUND = (("after", "nach", DATIVE), ("before", "vor", DATIVE), ("during", "während", GENITIVE))


class PhraseAuthor(Chooser):
    """Adds phrases to the choices: times, things, persons and places."""

    # Times

    def time(self, kind: str, long: bool, precise: bool = True) -> Adverbial:
        """An adverbial of time for ``past``, ``now``, ``habit`` or ``future``.

        ``long``: those of weeks and years make sense too; ``precise``: clock times and dates do.
        """
        choice = self._random()
        if kind == "now" or choice < 0.45 or not precise:
            fixed = circumstances.TIMES[kind]
            if long:
                fixed = fixed + circumstances.TIMES[kind + " long"]
            adverbial = self.pick(fixed)
            whole_day = precise and adverbial.english in circumstances.WHOLE_DAYS
            return self._with_clock(adverbial) if whole_day and self.chance(0.4) else adverbial
        if kind == "habit":
            if long and choice > 0.8:
                return self._month()
            adverbial = self.weekdays()
            return self._with_clock(adverbial) if self.chance(0.3) else adverbial
        if choice < 0.6:
            return self._weekday()
        if choice < 0.75:
            year = self.integer(1985, 2024) if kind == "past" and long and self.chance(0.4) else None
            return Adverbial(*self.date(year), TIME)
        if choice < 0.85:
            return self._distance(kind, long)
        if choice < 0.92 and long:
            if kind == "past" and self.chance(0.6):
                year = self.integer(1985, 2024)
                return Adverbial(f"in {year}", str(year), TIME)
            return self._month()
        return self._around_event()

    def weekdays(self) -> Adverbial:
        """on Tuesdays, dienstags."""
        english_day, german_day = self.pick(WEEKDAYS)
        return Adverbial(f"on {english_day}s", f"{german_day.lower()}s", TIME)

    def past_period(self) -> Adverbial:
        """last summer, last year ..."""
        return self.pick(circumstances.TIMES["past long"])

    def _month(self) -> Adverbial:
        english_month, german_month, _ = self.pick(MONTHS)
        return Adverbial(f"in {english_month}", f"im {german_month}", TIME)

    def _weekday(self) -> Adverbial:
        """on Monday morning, am Montagmorgen; on Monday at half past seven."""
        english_day, german_day = self.pick(WEEKDAYS)
        if self.chance(0.4):
            part = self.pick(_PARTS_OF_DAY)
            return Adverbial(f"on {english_day} {part[0]}", f"am {german_day}{part[1]}", TIME)
        adverbial = Adverbial(f"on {english_day}", f"am {german_day}", TIME)
        return self._with_clock(adverbial) if self.chance(0.4) else adverbial

    def _with_clock(self, adverbial: Adverbial) -> Adverbial:
        english_clock, german_clock = self.clock()
        return Adverbial(f"{adverbial.english} at {english_clock}", f"{adverbial.german} um {german_clock}", TIME)

    def _distance(self, kind: str, long: bool) -> Adverbial:
        """three days ago, vor drei Tagen; in three days."""
        english_unit, german_unit, largest = self.pick(_LONG_UNITS if long else _UNITS)
        number = self.integer(2, largest if kind == "past" else min(largest, 9))
        english_number, german_number = self.number(number)
        if kind == "past":
            words = (f"{english_number} {english_unit} ago", f"vor {german_number} {german_unit}")
        else:
            words = (f"in {english_number} {english_unit}", f"in {german_number} {german_unit}")
        return Adverbial(*words, TIME)

    def _around_event(self) -> Adverbial:
        """before, during or after an event: vor dem Konzert, während des Konzerts."""
        event = self.noun_phrase(self.pick(nouns.BY_KIND["event"]), DEFINITE, adjective=0.15)
        preposition, german_preposition, case = self.pick(_AROUND)
        german = with_preposition(german_preposition, event.german(case))
        return Adverbial(f"{preposition} {event.english()}", german, TIME)

    # Things

    def adjective(self, noun: Noun) -> Optional[Adjective]:
        """One that makes sense with ``noun``, if there is any."""
        fitting = adjectives_for(noun)
        if not fitting:
            return None
        chosen = self.pick(fitting)
        self.combine("adjective", chosen.english, noun.head)
        return chosen

    def compound(self, noun: Noun, probability: float = 0.3) -> Noun:
        """``noun``, or now and then a compound of which it is the head."""
        compounds = COMPOUNDS.get(noun.head)
        if noun.parts or not compounds or not self.chance(probability):
            return noun
        chosen = self.pick(compounds)
        self.combine("compound", *chosen.parts)
        return chosen

    def noun_phrase(
        self,
        noun: Noun,
        determiner: Determiner,
        plural: bool = False,
        adjective: float = 0.3,
        compound: float = 0.3,
        quantity: Optional[Pair] = None,
        after: Optional[Pair] = None,
    ) -> NounPhrase:
        """With an adjective or two, and as a compound, at the given probabilities."""
        noun = self.compound(noun, compound)
        plural = plural and not noun.english_always_plural  # die Hose, not die Hosen
        chosen = self._adjectives(noun) if self.chance(adjective) else []
        return NounPhrase(determiner, noun, chosen, plural, after, quantity)

    def _adjectives(self, noun: Noun) -> List[Adjective]:
        first = self.adjective(noun)
        if not first:
            return []
        if first.english in _FIRST_ADJECTIVES and self.chance(0.3):
            fitting = adjectives_for(noun)
            others = [item for item in fitting if item.english in _SECOND_ADJECTIVES]
            if others:
                second = self.pick(others)
                self.combine("adjective", second.english, noun.head)
                return [first, second]
        return [first]

    def object_phrase(
        self, noun: Noun, determiners: str, subject: Phrase, negated: bool = False, possessive: bool = False
    ) -> NounPhrase:
        """With one of ``determiners`` (see lexicon.verbs); ``possessive`` asks for the subject's."""
        if noun.kind == "relative":
            return self.relative(subject if possessive else None, noun)
        if possessive and self._can_own(subject, noun):
            determiner = subject.possessive()
            shared = noun.kind == "clothes" and determiner.english in ("our", "their")
            return self.noun_phrase(noun, determiner, shared or noun.head in _WORN_IN_PAIRS)
        code = self.pick(determiners.replace("p", "") or "d")
        if noun.kind == "acquaintance" and code == "d" and self.chance(0.5):
            return NounPhrase(POSSESSIVES[self.pick(("my", "our"))], noun)
        if noun.mass or noun.english_always_plural:
            code = {"D": "d", "m": "i", "n": "i"}.get(code, code)
        if code == "n" and negated:
            code = "i"
        determiner = _DETERMINERS[code]
        if noun.mass and code == "i":
            determiner = _NO_MASS if negated else BARE
        elif negated and code in "im":
            determiner = _NOT_A if code == "i" else _NOT_ANY
        if code in "mD" and not negated and self.chance(0.3):
            determiner = ALL if code == "D" else self.pick((MANY, SEVERAL))
        quantity = self.number(self.count()) if code == "n" else None
        return self.noun_phrase(noun, determiner, code in "Dmn", quantity=quantity)

    @staticmethod
    def _can_own(subject: Phrase, noun: Noun) -> bool:
        if noun.kind == "person":
            return noun.head in _SERVING
        return noun.head not in _WORN_BY_WOMEN or subject.sex != "m"

    def owned(self, noun: Noun, adjective: float = 0.3, plural: bool = False) -> NounPhrase:
        """Anna's coat / Annas Mantel, the old teacher's car / das Auto des alten Lehrers."""
        choice = self._random()
        if choice < 0.4:
            return self.noun_phrase(noun, _belonging_to(self.name()), plural, adjective)
        if choice < 0.7:
            owner = NounPhrase(POSSESSIVES[self.pick(("my", "my", "our", "his", "her"))], self.pick(_OWNERS))
        else:
            owner = self.role(plural=False, indefinite=0)
        determiner = Determiner(english.possessive(owner.english()), "der", True)
        return self.noun_phrase(noun, determiner, plural, adjective, after=("", owner.german(GENITIVE)))

    # Persons

    def person(self, visible: bool = False, pronouns: bool = True, plural: bool = True) -> Phrase:
        """A subject. ``visible``: its sex must be one that a pronoun can show."""
        choice = self.integer(1, 100)
        if choice <= 22 and pronouns:
            return PRONOUNS[self.pick(("I", "he", "she", "we", "they") if plural else ("I", "he", "she"))]
        if choice <= 43:
            return self.name()
        if choice <= 53:
            return self.title()
        if choice <= 73:
            return self.relative(None, self.pick(_FAMILY if plural else _OWNERS), visible, free=True)
        if choice <= 79 and plural:
            first = self.name()
            if self.chance(0.5):
                return Coordination(first, self.relative(first, self.pick(_SINGLE_RELATIVES)))
            return Coordination(first, self.name(other_than=first))
        return self.role(visible, plural)

    def third_person(self) -> Phrase:
        """Anybody but I and we, of whom one does not ask."""
        person = self.person()
        return self.third_person() if person.person == 1 else person

    def somebody(self) -> Phrase:
        """A single person whose sex shows: Anna, Mr Weber, my aunt."""
        choice = self.integer(0, 2)
        if choice == 0:
            return self.name()
        return self.title() if choice == 1 else self.relative(None, self.pick(_SINGLE_RELATIVES), free=True)

    def name(self, other_than: Optional[Phrase] = None) -> Name:
        sex, pool = self.pick((("m", names.MEN), ("f", names.WOMEN)))
        text = self.pick(pool)
        if isinstance(other_than, Name) and text == other_than.text:
            return self.name(other_than)
        return Name(text, sex)

    def title(self) -> Name:
        surname = self.pick(names.SURNAMES)
        if self.chance(0.5):
            return Name(f"Mrs {surname}", "f", f"Frau {surname}")
        return Name(f"Mr {surname}", "m", f"Herr {surname}", f"Herrn {surname}")

    def role(self, visible: bool = False, plural: bool = True, indefinite: float = 0.15) -> NounPhrase:
        """the old teacher, a nurse, the students."""
        if plural and self.chance(0.2):
            determiner = self.pick((DEFINITE, DEFINITE, DEFINITE, DEFINITE, MANY, SEVERAL, ALL))
            return self.noun_phrase(self.pick(_ONE_OF_MANY), determiner, plural=True, compound=0.2)
        determiner = INDEFINITE if self.chance(indefinite) else DEFINITE
        noun = self.pick(_ONE_OF_MANY if determiner is INDEFINITE else _PERSONS)
        if visible and not (noun.sex or noun.feminine):
            return self.role(visible, plural, indefinite)
        noun = self._with_sex(self.compound(noun, 0.25), visible)
        return self.noun_phrase(noun, determiner, compound=0)

    def _with_sex(self, noun: Noun, visible: bool) -> Noun:
        """teacher: Lehrer, unless a pronoun will show that it is a Lehrerin."""
        if not visible or not noun.feminine:
            return noun
        if self.chance(0.5):
            return nouns.masculine(noun)
        self.needs_feminine_pronoun = True
        return nouns.feminine(noun)

    def relative(
        self, possessor: Optional[Phrase], noun: Noun, visible: bool = False, free: bool = False
    ) -> NounPhrase:
        """my younger brother, Anna's aunt; with ``possessor``: his or her or our ...

        ``free``: his, her or their without anybody to refer to.
        """
        married = noun.head in _MARRIED
        if possessor is not None and married:
            # Nobody but I and a single person of the other sex: not their wife, nor (who knows) your wife.
            if possessor.plural or possessor.person == 2 or possessor.sex == noun.sex:
                possessor = None
        if possessor is not None:
            determiner = possessor.possessive()
        elif married and free:
            determiner = POSSESSIVES["her" if noun.sex == "m" else "his"]
        elif married or self.chance(0.25):
            determiner = _belonging_to(self._of_other_sex(noun.sex if married else ""))
        else:
            words = ("my", "my", "my", "our", "our", "his", "her", "their") if free else ("my", "my", "our")
            determiner = POSSESSIVES[self.pick(words)]
        return NounPhrase(determiner, self._with_sex(noun, visible), self._adjectives_of_relative(noun))

    def _adjectives_of_relative(self, noun: Noun) -> List[Adjective]:
        if noun.always_plural or noun.head in _MARRIED or not self.chance(0.2):
            return []
        if noun.head in ("brother", "sister", "son", "daughter"):
            return [self.pick(_AGES)]
        chosen = self.adjective(noun)
        return [chosen] if chosen else []

    def _of_other_sex(self, sex: str) -> Name:
        name = self.name()
        return self._of_other_sex(sex) if name.sex == sex else name

    def person_object(self, subject: Phrase) -> Phrase:
        """Instead of a noun, for verbs that take friends and relatives: Mr Weber, Anna, him."""
        choice = self.integer(0, 2)
        if choice == 0 and not subject.is_pronoun:
            others = ("he", "she", "they") if subject.person == 1 else ("I", "he", "she", "we", "they")
            return PRONOUNS[self.pick(others)]
        return self.name(other_than=subject) if choice == 1 else self.title()

    def companion(self, subject: Phrase) -> Adverbial:
        """with her brother, mit ihrem Bruder."""
        phrase = NounPhrase(subject.possessive(), self.pick(_COMPANIONS))
        return Adverbial(f"with {phrase.english('object')}", f"mit {phrase.german(DATIVE)}", MANNER)

    # Places

    def place(self, places: Sequence[str]) -> Adverbial:
        """Where: in the kitchen, im Garten."""
        place = circumstances.PLACES[self.pick(places)]
        phrase = self.noun_phrase(place.noun, DEFINITE, adjective=0.15, compound=0.2)
        german = with_preposition(place.german_at, phrase.german(DATIVE))
        return Adverbial(f"{place.english_at} {phrase.english()}", german, PLACE)

    def direction(self, places: Sequence[str]) -> Adverbial:
        """Whither: into the kitchen, zum Bahnhof."""
        place = circumstances.PLACES[self.pick(places)]
        phrase = self.noun_phrase(place.noun, DEFINITE, adjective=0.12, compound=0.2)
        case = DATIVE if place.german_to == "zu" else ACCUSATIVE
        german = with_preposition(place.german_to, phrase.german(case))
        return Adverbial(f"{place.english_to} {phrase.english()}", german, DIRECTION)

    def city(self, slot: str) -> Adverbial:
        """in Cologne (a place), to Cologne (a direction)."""
        english_city, german_city = self.pick(names.CITIES)
        if slot == DIRECTION:
            return Adverbial(f"to {english_city}", f"nach {german_city}", slot)
        return Adverbial(f"in {english_city}", f"in {german_city}", slot)

    def country(self, slot: str) -> Adverbial:
        country = self.pick(names.COUNTRIES)
        if slot == DIRECTION:
            return Adverbial(f"to {country.english}", country.german_to, slot)
        return Adverbial(f"in {country.english}", country.german_in, slot)


def _belonging_to(name: Name) -> Determiner:
    """Anna's / Annas"""
    return Determiner(english.possessive(name.english()), "", True, name.german(GENITIVE))

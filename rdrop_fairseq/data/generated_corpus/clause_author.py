"""Chooses verbs with subjects, objects, times and places that make sense together, and builds clauses."""

from typing import Optional, Sequence, Tuple

from rdrop_fairseq.data.generated_corpus.clause import (
    COMPLEMENT,
    DIRECTION,
    MANNER,
    PAST_MODALS,
    PLACE,
    PRESENT_MODALS,
    PRESENT_MODALS_NEGATED,
    TIME,
    Adverbial,
    Clause,
    Object,
)
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, DATIVE, with_preposition
from rdrop_fairseq.data.generated_corpus.lexicon import circumstances, verbs
from rdrop_fairseq.data.generated_corpus.lexicon.motion import DESTINATIONS, MOTIONS
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.lexicon.placing import PLACINGS, Placing, Target
from rdrop_fairseq.data.generated_corpus.lexicon.verbs import Frame
from rdrop_fairseq.data.generated_corpus.phrase_author import PhraseAuthor
from rdrop_fairseq.data.generated_corpus.phrases import DEFINITE, Fixed, Noun, NounPhrase, Phrase

# What a clause tells: the time that its tense and its adverbials speak of.
PAST, NOW, HABIT, FUTURE, MODAL, PAST_MODAL = "past", "now", "habit", "future", "modal", "past modal"
KINDS = ((34, PAST), (14, NOW), (14, HABIT), (16, FUTURE), (14, MODAL), (8, PAST_MODAL))
_TIME_OF = {MODAL: FUTURE, PAST_MODAL: PAST}
_FAMILIES = (
    (46, "transitive"),
    (9, "ditransitive"),
    (9, "dative"),
    (14, "prepositional"),
    (11, "intransitive"),
    (10, "motion"),
    (9, "placing"),
)
_FRAMES = {
    "transitive": verbs.TRANSITIVE,
    "dative": verbs.DATIVE_OBJECT,
    "prepositional": verbs.PREPOSITIONAL,
    "ditransitive": verbs.DITRANSITIVE,
    "intransitive": verbs.INTRANSITIVE,
}
_SOMEBODY = ("relative", "acquaintance")
_DOCTORS = [NOUNS[name] for name in ("doctor", "dentist", "lawyer", "baker", "butcher", "mayor")]


def _makes_sense(frame: Frame, kind: str) -> bool:
    if "accident" in frame.flags:
        return kind == PAST
    if "state" in frame.flags:
        return kind in (PAST, HABIT)
    if "present" in frame.flags:
        return kind in (PAST, FUTURE)
    if "feeling" in frame.flags:
        return kind in (PAST, NOW)
    return kind != HABIT or "once" not in frame.flags


def _ambiguous_past(clause: Clause) -> bool:
    """They read, we put: present or past?"""
    verb, subject = clause.verb.english, clause.subject
    return verb.past == verb.base and not clause.negated and (subject.english_plural or subject.person != 3)


def suitable(family: str, kind: str) -> Sequence[Frame]:
    return _SUITABLE[family, kind]


_SUITABLE = {
    (family, kind): [frame for frame in frames if _makes_sense(frame, kind)]
    for family, frames in _FRAMES.items()
    for _, kind in KINDS
}


class ClauseAuthor(PhraseAuthor):
    """Adds clauses to the choice of phrases."""

    def kind(self) -> str:
        return self.weighted(KINDS)

    def tense(self, kind: str, negated: bool) -> str:
        if kind == PAST:
            return "past" if self.chance(0.7) else "perfect"
        if kind == MODAL:
            return self.pick(PRESENT_MODALS_NEGATED if negated else PRESENT_MODALS)
        if kind == PAST_MODAL:
            return self.pick(PAST_MODALS)
        return {NOW: "progressive", HABIT: "present", FUTURE: "future"}[kind]

    def action(
        self,
        kind: str,
        subject: Optional[Phrase] = None,
        visible: bool = False,
        time: float = 0.6,
        place: float = 0.3,
        negated: float = 0.12,
        states: bool = True,
        family: str = "",
    ) -> Clause:
        """Somebody does something.

        Args:
            kind: one of ``KINDS``.
            subject: if missing, a person is chosen; ``visible``: one that a pronoun can refer back to.
            time, place, negated: the probabilities of such a part.
            states: whether it may be a state, such as to see or to need.
            family: what kind of verb, one of ``_FAMILIES``; "" for any.
        """
        family = family or self.weighted(_FAMILIES)
        if family == "placing" and kind != HABIT:
            return self._placing(kind, subject, visible, time, negated)
        if family in ("motion", "placing"):
            return self._motion(kind, subject, visible, time, negated)
        frame = self.pick(suitable(family, kind))
        while not states and "state" in frame.flags:
            frame = self.pick(suitable(family, kind))
        return self.frame_clause(frame, kind, subject, visible, time, place, negated)

    def frame_clause(
        self,
        frame: Frame,
        kind: str,
        subject: Optional[Phrase] = None,
        visible: bool = False,
        time: float = 0.6,
        place: float = 0.3,
        negated: float = 0.12,
    ) -> Clause:
        """As ``action``, with the verb given."""
        is_negated = self.chance(negated)
        possessive = "p" in frame.determiners and self.chance(0.4)
        company = frame.verb.english.base in verbs.SOCIAL and not frame.flags and self.chance(0.12)
        if subject is None:
            subject = self.person(visible or possessive or company)
        possessive = possessive and self._shows_sex(subject)
        clause = Clause(subject, frame.verb, self.tense(kind, is_negated), negated=is_negated)
        if clause.tense == "past" and _ambiguous_past(clause):
            clause.tense = "perfect"
        if "instrument" in frame.flags:
            noun = self.pick(frame.objects)
            self.combine("object", frame.name, noun.head)
            clause.objects.append(Object(Fixed(f"the {noun.english}", noun.german.singular), ACCUSATIVE))
        elif frame.objects:
            self._add_object(clause, frame, possessive)
        if "state" in frame.flags:
            if kind == PAST:
                clause.tense = "past"
                self._add_time(clause, kind, frame, time)
            return clause
        self._add_time(clause, kind, frame, time)
        if "present" in frame.flags:
            self._add_occasion(clause)
        elif frame.manners and self.chance(0.2) and not is_negated:
            manner = self.pick(frame.manners)
            if manner.english != "immediately" or not clause.adverbials:  # not: immediately tomorrow
                clause.adverbials.append(manner)
        elif company and self._shows_sex(subject):
            clause.adverbials.append(self.companion(subject))
        if frame.places and self.chance(place):
            clause.adverbials.append(self.place(frame.places))
        elif frame.verb.english.base in ("buy", "visit", "meet", "work") and self.chance(place * 0.4):
            clause.adverbials.append(self.city(PLACE))
        return clause

    @staticmethod
    def in_simple_past(clause: Clause) -> Clause:
        """has already lost -> lost, unless that could be the present as well: they put."""
        if clause.tense == "perfect" and not _ambiguous_past(clause):
            clause.tense = "past"
            clause.adverbials = [item for item in clause.adverbials if item is not circumstances.ALREADY]
        return clause

    def _add_object(self, clause: Clause, frame: Frame, possessive: bool) -> None:
        subject = clause.subject
        noun = self._object_noun(frame, subject)
        if noun.kind in _SOMEBODY and self.chance(0.3) and "state" not in frame.flags:
            phrase: Phrase = self.person_object(subject)
        else:
            determiners = frame.determiners
            if clause.tense in ("present", "progressive"):
                determiners = determiners.replace("n", "m")  # One does not buy forty-seven apples every day.
            negated = clause.negated and not frame.german_preposition  # not kein: nicht um ein Kissen
            phrase = self.object_phrase(noun, determiners, subject, negated, possessive)
            self.combine("object", frame.name, noun.head)
        if frame.german_preposition:
            german = with_preposition(frame.german_preposition, phrase.german(frame.case))
            clause.adverbials.append(Adverbial(phrase.english("object"), german, COMPLEMENT))
            return
        thing = Object(phrase, frame.case)
        if "double" in frame.flags:
            clause.objects = [Object(self.recipient(subject), DATIVE), thing]
        elif "to" in frame.flags:
            clause.objects = [thing, Object(self.recipient(subject), DATIVE, "to")]
        else:
            clause.objects.append(thing)

    def _object_noun(self, frame: Frame, subject: Phrase) -> Noun:
        """Not the same word as the subject: no bakers who visit the baker."""
        noun = self.pick(frame.objects)
        head = subject.noun.head if isinstance(subject, NounPhrase) else ""
        return noun if noun.head != head else self._object_noun(frame, subject)

    def recipient(self, subject: Phrase) -> Phrase:
        """To whom something is given."""
        choice = self._random()
        if choice < 0.35:
            return self.person_object(subject)
        if choice < 0.7:
            noun = self.pick(BY_KIND["relative"] + BY_KIND["acquaintance"])
            return self.relative(subject if self._shows_sex(subject) else None, noun)
        return self.noun_phrase(self.pick(BY_KIND["person"]), DEFINITE, plural=self.chance(0.2), adjective=0.3)

    @staticmethod
    def _shows_sex(subject: Phrase) -> bool:
        """Whether a possessive can refer to the subject without making another woman or man of it."""
        return subject.person != 3 or subject.plural or subject.sex != ""

    def _add_time(self, clause: Clause, kind: str, frame: Frame, probability: float) -> None:
        long = frame.verb.english.base in verbs.LONG and "accident" not in frame.flags
        self.add_time(clause, kind, probability, long)

    def add_time(self, clause: Clause, kind: str, probability: float, long: bool) -> None:
        """An adverbial of time or frequency that the tense allows."""
        if not self.chance(probability):
            return
        if clause.tense == "perfect":
            if not clause.negated and self.chance(0.4):
                clause.adverbials.append(circumstances.ALREADY)
            return
        if kind == HABIT and clause.negated:
            clause.adverbials.append(self.weekdays())  # "Not every day" would be another matter.
        elif kind == HABIT and self.chance(0.35):
            clause.adverbials.append(self.pick(circumstances.FREQUENCIES))
        else:
            clause.adverbials.append(self.time(_TIME_OF.get(kind, kind), long, precise=not clause.negated))

    def _add_occasion(self, clause: Clause) -> None:
        clause.adverbials = [adverbial for adverbial in clause.adverbials if adverbial.slot != TIME]
        occasion = self.pick((("for Christmas", "zu Weihnachten"), ("for Easter", "zu Ostern")))
        clause.adverbials.append(Adverbial(*occasion, MANNER))

    def _motion(self, kind: str, subject: Optional[Phrase], visible: bool, time: float, negated: float) -> Clause:
        motion = self.pick(MOTIONS)
        while kind == HABIT and motion.verb.english.base in ("move", "return"):
            motion = self.pick(MOTIONS)
        is_negated = self.chance(negated)
        subject = subject or self.person(visible)
        clause = Clause(subject, motion.verb, self.tense(kind, is_negated), negated=is_negated)
        destination = self.pick(motion.destinations)
        if destination == "city":
            direction = self.city(DIRECTION)
        elif destination == "country":
            direction = self.country(DIRECTION)
        elif destination == "home":
            direction = Adverbial("home", "nach Hause", DIRECTION)
        elif destination == "person":
            phrase = NounPhrase(DEFINITE, self.pick(_DOCTORS))
            direction = Adverbial(f"to {phrase.english()}", with_preposition("zu", phrase.german(DATIVE)), DIRECTION)
        else:
            direction = self.direction(DESTINATIONS)
        clause.adverbials.append(direction)
        if motion.manner:
            clause.adverbials.append(self.pick(motion.manner))
        self.add_time(clause, kind, time, motion.long)
        return clause

    def _placing(self, kind: str, subject: Optional[Phrase], visible: bool, time: float, negated: float) -> Clause:
        placing = self.pick(PLACINGS)
        is_negated = self.chance(negated)
        possessive = self.chance(0.25)
        subject = subject or self.person(visible or possessive)
        noun = self.pick(placing.things)
        self.combine("object", "put", noun.head)
        thing = self.object_phrase(noun, "ddiDtn", subject, is_negated, possessive and self._shows_sex(subject))
        clause = Clause(subject, placing.put, self.tense(kind, is_negated), [Object(thing, ACCUSATIVE)], (), is_negated)
        if clause.tense == "past" and _ambiguous_past(clause):
            clause.tense = "perfect"
        clause.adverbials.append(self.put_where(placing, noun))
        self.add_time(clause, kind, time, False)
        return clause

    def put_where(self, placing: Placing, thing: Noun) -> Adverbial:
        target, phrase = self._target(placing, thing)
        german = with_preposition(target.german, phrase.german(ACCUSATIVE))
        return Adverbial(f"{target.english_to} {phrase.english()}", german, DIRECTION)

    def located_where(self, placing: Placing, thing: Noun) -> Adverbial:
        target, phrase = self._target(placing, thing)
        german = with_preposition(target.german, phrase.german(DATIVE))
        return Adverbial(f"{target.english_at} {phrase.english()}", german, DIRECTION)

    def _target(self, placing: Placing, thing: Noun) -> Tuple[Target, NounPhrase]:
        target = self.pick(placing.targets)
        if target.noun.head == thing.head:
            return self._target(placing, thing)
        return target, self.noun_phrase(target.noun, DEFINITE, adjective=0.2, compound=0.3)

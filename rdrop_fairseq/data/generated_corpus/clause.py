"""One clause in both languages: verb groups, and the order of words."""

from typing import List, NamedTuple, Optional, Sequence, Tuple

from rdrop_fairseq.data.generated_corpus.english import EnglishVerb, english_verb
from rdrop_fairseq.data.generated_corpus.german import (
    ACCUSATIVE,
    DATIVE,
    HABEN,
    NOMINATIVE,
    REFLEXIVE_PRONOUNS,
    SEIN,
    WERDEN,
    GermanVerb,
    modal,
)
from rdrop_fairseq.data.generated_corpus.phrases import Pair, Phrase

# Slots of adverbials. Their order in the German middle field: time, manner, place, and so on; an indefinite
# object stands between place and complement, a definite one before all of them, "nicht" before manner.
TIME, FREQUENCY, AGENT, MANNER, PLACE = "time", "frequency", "agent", "manner", "place"
COMPLEMENT, DIRECTION, PREDICATE = "complement", "direction", "predicate"
_GERMAN_BEFORE_NICHT = (TIME, FREQUENCY)
_GERMAN_AFTER_NICHT = (AGENT, MANNER, PLACE)
_GERMAN_LAST = (COMPLEMENT, DIRECTION, PREDICATE)
_ENGLISH = (PREDICATE, COMPLEMENT, DIRECTION, AGENT, MANNER, PLACE, TIME)

MAIN, FINAL, QUESTION = "main", "final", "question"


class Adverbial(NamedTuple):
    english: str
    german: str
    slot: str


class Verb(NamedTuple):
    english: EnglishVerb
    german: GermanVerb


class Object(NamedTuple):
    phrase: Phrase
    case: str
    english_preposition: str = ""  # belongs to


BE = EnglishVerb("be", "is", "was", "been", "being", "", "")
HAVE = english_verb("have had had")


class _Modal(NamedTuple):
    auxiliary: str  # "do" and "did" where English forms it with a full verb
    english: str
    german: GermanVerb
    past: bool


_MODALS = {
    "must": _Modal("must", "", modal("müssen"), False),
    "must not": _Modal("must", "", modal("dürfen"), False),
    "can": _Modal("can", "", modal("können"), False),
    "may": _Modal("may", "", modal("dürfen"), False),
    "should": _Modal("should", "", modal("sollten"), False),
    "want to": _Modal("do", "want to", modal("wollen"), False),
    "have to": _Modal("do", "have to", modal("müssen"), False),
    "would like to": _Modal("would", "like to", modal("möchten"), False),
    "could": _Modal("could", "", modal("können"), True),
    "had to": _Modal("did", "have to", modal("müssen"), True),
    "wanted to": _Modal("did", "want to", modal("wollen"), True),
    "was allowed to": _Modal("was", "allowed to", modal("dürfen"), True),
}
PRESENT_MODALS = ("must", "can", "may", "should", "want to", "would like to", "have to")
PRESENT_MODALS_NEGATED = ("must not", "can", "should", "want to", "have to")
PAST_MODALS = ("could", "had to", "wanted to", "was allowed to")


class Clause:
    """Subject, verb, objects and adverbials; ``english()`` and ``german()`` put them in order.

    Args:
        tense: ``present``, ``progressive``, ``past`` (German perfect), ``preterite`` (German preterite),
            ``perfect``, ``perfect progressive`` (German present: seit drei Jahren), ``future``, or one of
            the modals ("must not" is dürfen, so negation is part of that name).
        passive: ``subject`` is what the verb acts on.
        front: stands before the verb in German and before the subject in English.
    """

    def __init__(
        self,
        subject: Phrase,
        verb: Verb,
        tense: str,
        objects: Sequence[Object] = (),
        adverbials: Sequence[Adverbial] = (),
        negated: bool = False,
        passive: bool = False,
        front: Optional[Adverbial] = None,
    ) -> None:
        self.subject = subject
        self.verb = verb
        self.tense = tense
        self.objects: List[Object] = list(objects)
        self.adverbials: List[Adverbial] = list(adverbials)
        self.negated = negated
        self.passive = passive
        self.front = front

    def bring_to_front(self, adverbial: Adverbial) -> None:
        """Take one of ``adverbials`` before the verb; German then has the subject after it."""
        self.adverbials.remove(adverbial)
        self.front = adverbial

    def in_main(self) -> Pair:
        """As a main clause, in both languages."""
        return self.english(), self.german()

    def in_final(self) -> Pair:
        """As a subordinate clause, in both languages."""
        return self.english(), self.german(FINAL)

    # English

    def english(self, order: str = MAIN) -> str:
        """``MAIN`` and ``FINAL`` are the same in English; ``QUESTION`` has the auxiliary first."""
        auxiliary, rest = self._english_verbs(needs_auxiliary=order == QUESTION or self.negated)
        frequency = [adverbial.english for adverbial in self.adverbials if adverbial.slot == FREQUENCY]
        negation = ["not"] if self.negated else []
        after = self._english_after_verb()
        leading = next((item for item in self.objects if item.phrase.is_relative), None)
        front = [self.front.english] if self.front else []
        if leading:
            if leading.english_preposition:
                front.append(leading.english_preposition)
            front.append(leading.phrase.english("object"))
        subject = self.subject.english()
        if order == QUESTION:
            words = [auxiliary, subject, *negation, *frequency, rest]
        elif auxiliary == "can" and negation:
            words = [subject, "cannot", *frequency, rest]
        else:
            words = [subject, auxiliary, *negation, *frequency, rest]
        return " ".join(word for word in [*front, *words, *after] if word)

    def english_infinitive(self) -> str:
        """``read the book in the garden``, without "to"."""
        return " ".join([self.verb.english.base, *self._english_after_verb()])

    def english_participle(self) -> str:
        """``put it on the table``: the rest of a second perfect that shares auxiliary and subject."""
        return " ".join([self.verb.english.participle, *self._english_after_verb()])

    def english_gerund(self) -> str:
        return " ".join([self.verb.english.progressive, *self._english_after_verb()])

    def _english_verbs(self, needs_auxiliary: bool) -> Pair:
        """The auxiliary ("" where the verb itself is finite) and the words after the subject (and "not")."""
        verb = self.verb.english
        if self.tense in _MODALS:
            auxiliary, complement = _MODALS[self.tense][:2]
            base = f"be {verb.participle}" if self.passive else verb.base
            if auxiliary == "was":
                auxiliary = self._be("was")
            if auxiliary not in ("do", "did"):
                return auxiliary, f"{complement} {base}".strip()
            if needs_auxiliary:
                return self._do(auxiliary), f"{complement} {base}"
            finite, _, to = complement.partition(" ")
            if auxiliary == "did":
                finite = {"have": "had", "want": "wanted"}[finite]
            elif self._third_singular():
                finite = {"have": "has", "want": "wants"}[finite]
            return "", f"{finite} {to} {base}"
        if self.tense == "future":
            return "will", f"be {verb.participle}" if self.passive else verb.base
        past = self.tense in ("past", "preterite")
        if self.tense.startswith("perfect"):
            have = "has" if self._third_singular() else "have"
            if self.passive:
                return have, f"been {verb.participle}"
            progressive = self.tense == "perfect progressive" and verb.base != "be"
            return have, f"been {verb.progressive}" if progressive else verb.participle
        if self.passive:
            return self._be("was" if past else "is"), ("being " * (self.tense == "progressive")) + verb.participle
        if verb.base == "be":
            return self._be("was" if past else "is"), ""
        if self.tense == "progressive":
            return self._be("is"), verb.progressive
        if needs_auxiliary:
            return self._do("did" if past else "do"), verb.base
        return "", verb.past if past else verb.third if self._third_singular() else verb.base

    def _third_singular(self) -> bool:
        return self.subject.person == 3 and not self.subject.english_plural

    def _be(self, form: str) -> str:
        if self.subject.english_plural:
            return {"is": "are", "was": "were"}[form]
        return "am" if form == "is" and self.subject.person == 1 else form

    def _do(self, form: str) -> str:
        return "does" if form == "do" and self._third_singular() else form

    def _english_after_verb(self) -> List[str]:
        words = []
        particle = self.verb.english.particle
        objects = [item for item in self.objects if not item.phrase.is_relative]
        particle_last = bool(particle and objects and objects[0].phrase.is_pronoun)
        if particle and not particle_last:
            words.append(particle)
        if self.verb.english.complement:
            words.append(self.verb.english.complement)
        for item in objects:
            if item.english_preposition:
                words.append(item.english_preposition)
            words.append(item.phrase.english("object"))
        if particle_last:
            words.append(particle)
        return words + _in_slots(self.adverbials, _ENGLISH, german=False)

    # German

    def german(self, order: str = MAIN) -> str:
        """``MAIN``: verb second. ``FINAL``: a subordinate clause. ``QUESTION``: the verb first."""
        finite, tail, prefix = self._german_verbs()
        if order == FINAL:
            end = [*tail, prefix + finite]
        else:
            end = [*tail, prefix.strip()] if prefix else tail
        leading = next((item for item in self.objects if item.phrase.is_relative), None)
        pronouns, middle, extraposed = self._german_middle(extrapose=order != FINAL)
        subject = _with_relative(self.subject, NOMINATIVE)
        if order == FINAL:
            lead = [leading.phrase.german(leading.case)] if leading else []
            return " ".join([*lead, subject, *pronouns, *middle, *end])
        first = [subject, finite, *pronouns]
        if order == QUESTION or self.front:
            # An object pronoun goes before a subject that is not a pronoun: Gestern hat sich Anna gefreut.
            after = [subject, *pronouns] if self.subject.is_pronoun else [*pronouns, subject]
            first = [self.front.german] if self.front else []
            first += [finite, *after]
        text = " ".join([*first, *middle, *end])
        return f"{text}, {extraposed}," if extraposed else text

    def german_infinitive(self) -> str:
        """``das Buch im Garten zu lesen``; reflexive pronouns agree with ``subject``."""
        pronouns, middle, _ = self._german_middle()
        return " ".join([*pronouns, *middle, self.verb.german.infinitive_with_zu()])

    def german_imperative(self, address: str) -> str:
        """``lies das Buch`` (du), ``lest das Buch`` (ihr), ``lesen Sie das Buch`` (Sie)."""
        verb = self.verb.german
        pronouns, middle, _ = self._german_middle()
        finite = {"du": verb.imperative(), "ihr": verb.present(2, True), "Sie": f"{verb.base} Sie"}[address]
        return " ".join(word for word in [finite, *pronouns, *middle, verb.prefix.strip()] if word)

    def german_participle(self) -> str:
        """``ihn auf den Tisch gelegt``, as ``english_participle``."""
        pronouns, middle, _ = self._german_middle()
        return " ".join([*pronouns, *middle, self.verb.german.participle])

    def _german_verbs(self) -> Tuple[str, List[str], str]:
        """The finite verb, the words that close the clause, and the prefix of a finite verb."""
        verb = self.verb.german
        person = self.subject.german_person
        if self.passive:
            infinitive = [verb.participle, "werden"]
            if self.tense in ("past", "preterite"):
                return WERDEN.past(*person), [verb.participle], ""
            if self.tense == "perfect":
                return SEIN.present(*person), [verb.participle, "worden"], ""
            if self.tense in ("present", "progressive"):
                return WERDEN.present(*person), [verb.participle], ""
        else:
            infinitive = [verb.infinitive()]
            if self.tense in ("present", "progressive", "perfect progressive"):
                return verb.present(*person), [], verb.prefix
            if self.tense == "preterite":
                return verb.past(*person), [], verb.prefix
            if self.tense in ("past", "perfect"):
                auxiliary = SEIN if verb.auxiliary == "sein" else HABEN
                return auxiliary.present(*person), [verb.participle], ""
        if self.tense == "future":
            return WERDEN.present(*person), infinitive, ""
        german_modal, past = _MODALS[self.tense][2:]
        return (german_modal.past if past else german_modal.present)(*person), infinitive, ""

    def _german_middle(self, extrapose: bool = False) -> Tuple[List[str], List[str], str]:
        """Pronouns; the rest of the middle field; a relative clause that is to follow the whole clause."""
        objects = [item for item in self.objects if not item.phrase.is_relative]
        pronouns = [item for item in objects if item.phrase.is_pronoun]
        words = [item.phrase.german(item.case) for item in sorted(pronouns, key=lambda item: item.case == DATIVE)]
        if self.verb.german.reflexive:
            words.insert(0, REFLEXIVE_PRONOUNS[self.subject.german_person])
        others = sorted(
            (item for item in objects if not item.phrase.is_pronoun), key=lambda item: item.case == ACCUSATIVE
        )
        definite = [_with_relative(item.phrase, item.case) for item in others if item.phrase.definite]
        indefinite = [_with_relative(item.phrase, item.case) for item in others if not item.phrase.definite]
        early = _in_slots(self.adverbials, _GERMAN_BEFORE_NICHT)
        inner = _in_slots(self.adverbials, _GERMAN_AFTER_NICHT)
        last = _in_slots(self.adverbials, _GERMAN_LAST)
        nicht = ["nicht"] if self.negated and not any(_says_kein(item.phrase) for item in objects) else []
        middle = [*definite, *early, *nicht, *inner, *indefinite, *last]
        if extrapose and others and others[-1].phrase.relative:
            last_object = others[-1]
            before_relative = last_object.phrase.german(last_object.case)
            text = _with_relative(last_object.phrase, last_object.case)
            # Nothing but nicht and the end of the clause may stand between a noun and its relative clause.
            if middle[-1] == text or (middle[-1] == "nicht" and middle[-2:-1] == [text]):
                middle[middle.index(text)] = before_relative
                return words, middle, last_object.phrase.relative[1]
        return words, middle, ""


def _in_slots(adverbials: Sequence[Adverbial], slots: Sequence[str], german: bool = True) -> List[str]:
    chosen = [adverbial for slot in slots for adverbial in adverbials if adverbial.slot == slot]
    texts = [adverbial.german if german else adverbial.english for adverbial in chosen]
    return [text for text in texts if text]


def _with_relative(phrase: Phrase, case: str) -> str:
    text = phrase.german(case)
    return f"{text}, {phrase.relative[1]}," if phrase.relative else text


def _says_kein(phrase: Phrase) -> bool:
    determiner = getattr(phrase, "determiner", None)
    return determiner is not None and determiner.german == "kein"

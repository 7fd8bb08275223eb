"""Short clauses for weil, obwohl, wenn: states of a person, the weather, and what follows from them."""

from typing import List, NamedTuple, Sequence, Tuple

from rdrop_fairseq.data.generated_corpus.clause import (
    DIRECTION,
    MANNER,
    PREDICATE,
    TIME,
    Adverbial,
    Clause,
    Object,
    Verb,
)
from rdrop_fairseq.data.generated_corpus.clause_author import ClauseAuthor
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, DATIVE, german_verb, with_preposition
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import DEFINITE, PRONOUNS, Fixed, Phrase
from rdrop_fairseq.data.generated_corpus.templates.common import GO, HAVE, IS

_STAY = Verb(english_verb("stay"), german_verb("bleiben bleibt geblieben sein"))
_COME = Verb(english_verb("come came come"), german_verb("kommen kommt gekommen sein"))
_WALK = Verb(english_verb("walk"), german_verb("gehen geht gegangen sein"))
_TAKE = Verb(english_verb("take took taken"), german_verb("nehmen nimmt genommen"))
_SHINE = Verb(english_verb("shine shone shone"), german_verb("scheinen scheint geschienen"))
_RAIN = Verb(english_verb("rain"), german_verb("regnen"))
_SNOW = Verb(english_verb("snow"), german_verb("schneien"))
_AT_HOME = Adverbial("at home", "zu Hause", DIRECTION)
_HOME = Adverbial("home", "nach Hause", DIRECTION)
_ON_FOOT = Adverbial("", "zu Fuß", MANNER)  # part of the English verb
_EARLY = Adverbial("", "früh", MANNER)
_TO_BED = Adverbial("to bed early", "ins Bett", DIRECTION)
_TO_THE_DOCTOR = Adverbial("to the doctor", "zum Arzt", DIRECTION)
_INVITED_TO = [NOUNS[name] for name in ("party", "concert", "wedding", "match", "festival")]
_PAST_DAYS = (("yesterday", "gestern"), ("on Sunday", "am Sonntag"), ("on Friday", "am Freitag"))
_TODAY = (("today", "heute"), ("this evening", "heute Abend"))


class _State(NamedTuple):
    verb: Verb
    words: Tuple[str, str]
    group: str  # what follows from it


# Verb and group of consequences; the words in both languages.
_STATES_TABLE = """
    be weak: tired = müde, ill = krank, very tired = sehr müde, too weak = zu schwach
    have weak: a headache = Kopfschmerzen, a cold = eine Erkältung, a fever = Fieber
    have busy: no time = keine Zeit, little time = wenig Zeit, visitors = Besuch, a lot of work = viel Arbeit
    have busy: an important exam = eine wichtige Prüfung
    be hurry: in a hurry = in Eile, late = spät dran
    have poor: little money = wenig Geld, no money = kein Geld
    have free: enough time = genug Zeit, a lot of time = viel Zeit, enough money = genug Geld
    be free: on holiday = im Urlaub, healthy again = wieder gesund, at home = zu Hause
    be hungry: hungry = hungrig, very hungry = sehr hungrig
"""


def _states(table: str) -> List[_State]:
    states = []
    for row in table.strip().splitlines():
        head, _, pairs = row.strip().partition(": ")
        verb, group = head.split()
        for pair in pairs.split(", "):
            english, german = pair.split(" = ")
            states.append(_State(IS if verb == "be" else HAVE, (english, german), group))
    return states


_STATES = _states(_STATES_TABLE)


def state(author: ClauseAuthor, subject: Phrase, past: bool, groups: Sequence[str]) -> Clause:
    """She is ill; he had no time."""
    chosen = author.pick([item for item in _STATES if item.group in groups])
    clause = Clause(subject, chosen.verb, "preterite" if past else "present")
    if chosen.verb is HAVE:
        clause.objects.append(Object(Fixed(*chosen.words), ACCUSATIVE))
    else:
        clause.adverbials.append(Adverbial(*chosen.words, PREDICATE))
    return clause


def weather(author: ClauseAuthor, tense: str, good: bool) -> Clause:
    """It rained; the sun is shining; the weather is good. In the present or progressive, or the preterite."""
    if good:
        if author.chance(0.4):
            return Clause(Fixed("the sun", "die Sonne"), _SHINE, tense)
        words = author.pick((("good", "gut"), ("warm", "warm"), ("beautiful", "schön")))
    else:
        if author.chance(0.5):
            return Clause(PRONOUNS["it"], author.pick((_RAIN, _SNOW)), tense)
        words = author.pick((("bad", "schlecht"), ("too cold", "zu kalt"), ("too hot", "zu heiß")))
    tense = "preterite" if tense == "preterite" else "present"
    return Clause(Fixed("the weather", "das Wetter"), IS, tense, adverbials=[Adverbial(*words, PREDICATE)])


class _Consequence(NamedTuple):
    verb: Verb
    adverbials: Tuple[Adverbial, ...]
    timed: bool
    groups: Tuple[str, ...]


_CONSEQUENCES = (
    _Consequence(_STAY, (_AT_HOME,), True, ("weak", "busy", "bad weather")),
    _Consequence(GO, (_EARLY, _TO_BED), False, ("weak",)),
    _Consequence(GO, (_TO_THE_DOCTOR,), True, ("weak",)),
    _Consequence(_WALK, (_HOME, _ON_FOOT), False, ("poor", "good weather")),
)


def consequence(author: ClauseAuthor, subject: Phrase, past: bool) -> Tuple[Clause, Sequence[str]]:
    """What somebody does for a reason, with the groups of reasons that explain it."""
    tense = "past" if past else "progressive"
    choice = author.integer(0, 6)
    if choice == 0:
        return _cannot_come(author, subject, past), ("weak", "busy", "poor")
    if choice == 1:
        where = author.direction(("restaurant", "café"))
        return Clause(subject, GO, tense, adverbials=[where]), ("hungry", "free")
    if choice == 2:
        taxi = Object(Fixed("a taxi", "ein Taxi"), ACCUSATIVE)
        return Clause(subject, _TAKE, tense, [taxi]), ("hurry", "weak", "bad weather")
    chosen = author.pick(_CONSEQUENCES)
    clause = Clause(subject, chosen.verb, tense, adverbials=chosen.adverbials)
    if chosen.timed:
        clause.adverbials.append(Adverbial(*author.pick(_PAST_DAYS if past else _TODAY), TIME))
    return clause, chosen.groups


def _cannot_come(author: ClauseAuthor, subject: Phrase, past: bool) -> Clause:
    event = author.noun_phrase(author.pick(_INVITED_TO), DEFINITE)
    german = with_preposition("zu", event.german(DATIVE))
    where = Adverbial(f"to {event.english()}", german, DIRECTION)
    return Clause(subject, _COME, "could" if past else "can", adverbials=[where], negated=True)


def reason(author: ClauseAuthor, subject: Phrase, past: bool, groups: Sequence[str]) -> Clause:
    """A clause of one of ``groups`` about ``subject`` or the weather."""
    group = author.pick(groups)
    if group.endswith("weather"):
        return weather(author, "preterite" if past else "progressive", good=group.startswith("good"))
    return state(author, subject, past, (group,))

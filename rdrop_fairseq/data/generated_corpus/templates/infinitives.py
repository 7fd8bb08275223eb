"""Sentences with an infinitive and zu, which is inside the word for separable verbs: anzurufen."""

from typing import Tuple

from rdrop_fairseq.data.generated_corpus.clause import DIRECTION, TIME, Adverbial, Clause, Object, Verb
from rdrop_fairseq.data.generated_corpus.clause_author import MODAL, PAST, ClauseAuthor
from rdrop_fairseq.data.generated_corpus.clock_and_calendar import WEEKDAYS
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, german_verb
from rdrop_fairseq.data.generated_corpus.lexicon import verbs
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.lexicon.verbs import Frame
from rdrop_fairseq.data.generated_corpus.phrases import Fixed, Pair, Phrase
from rdrop_fairseq.data.generated_corpus.templates.common import BUY, GO, HAVE, VISIT

_TRY = Verb(english_verb("try"), german_verb("versuchen versucht versucht"))
# Verb with "to" and an infinitive, and its tenses.
_WANTING = (
    (_TRY, ("past", "progressive", "perfect")),
    (Verb(english_verb("promise"), german_verb("versprechen verspricht versprochen")), ("past", "perfect")),
    (Verb(english_verb("decide"), german_verb("beschließen beschließt beschlossen")), ("past", "perfect")),
    (
        Verb(english_verb("forget forgot forgotten"), german_verb("vergessen vergisst vergessen")),
        ("past", "perfect"),
    ),
    (Verb(english_verb("begin began begun"), german_verb("an|fangen fängt angefangen")), ("past", "perfect")),
    (Verb(english_verb("offer"), german_verb("an|bieten bietet angeboten")), ("past", "perfect")),
    (Verb(english_verb("plan"), german_verb("planen")), ("present", "past")),
    (Verb(english_verb("hope"), german_verb("hoffen")), ("present",)),
    (Verb(english_verb("refuse"), german_verb("sich weigern weigert geweigert")), ("past", "perfect")),
)
_HAVING = (
    ("no time", "keine Zeit"),
    ("enough time", "genug Zeit"),
    ("permission", "die Erlaubnis"),
    ("an opportunity", "eine Gelegenheit"),
)
_ASK = Verb(english_verb("ask"), german_verb("bitten bittet gebeten"))
_JUDGEMENTS = (
    ("difficult", "schwierig"),
    ("easy", "leicht"),
    ("important", "wichtig"),
    ("forbidden", "verboten"),
    ("dangerous", "gefährlich"),
    ("possible", "möglich"),
    ("nice", "schön"),
    ("too late", "zu spät"),
    ("boring", "langweilig"),
)
_FLY = Verb(english_verb("fly flew flown"), german_verb("fliegen fliegt geflogen sein"))
_DRIVE = Verb(english_verb("travel"), german_verb("reisen reist gereist sein"))
_SAVE = Verb(english_verb("save +money"), german_verb("Geld_|sparen spart Geld_gespart"))
_LEAVE = Verb(
    english_verb("leave left left +the +house"),
    german_verb("das_Haus_|verlassen verlässt das_Haus_verlassen"),
)
_NOT_DECIDED = frozenset("take make ask give tell dream think".split())
_DELIBERATE = [
    frame
    for frame in verbs.TRANSITIVE + verbs.PREPOSITIONAL + verbs.DATIVE_OBJECT + verbs.DITRANSITIVE
    if not set(frame.flags) & {"state", "accident", "instrument", "present", "feeling"}
    and frame.verb.english.base not in _NOT_DECIDED
]


def _by_name(*names: str) -> Tuple[Frame, ...]:
    """Frames by English verb and German infinitive: "cook kochen"."""
    found = [frame for frame in verbs.TRANSITIVE if frame.name.replace("|", "") in names]
    assert len(found) == len(names), names
    return tuple(found)


# Where one goes, and what for.
_ERRANDS = (
    (("market", "supermarket"), _by_name("buy kaufen"), BY_KIND["food"] + BY_KIND["mass food"]),
    (("bakery",), _by_name("buy kaufen"), [NOUNS[name] for name in ("bread", "cake", "roll")]),
    (
        ("library",),
        _by_name("borrow ausleihen", "return zurückgeben"),
        [NOUNS[name] for name in ("book", "novel")],
    ),
    (
        ("kitchen",),
        _by_name("bake backen"),
        [NOUNS[name] for name in ("cake", "bread", "pancake", "biscuit")],
    ),
    (
        ("kitchen",),
        _by_name("cook kochen"),
        [NOUNS[name] for name in ("soup", "rice", "potato", "vegetables")],
    ),
    (("garden",), _by_name("plant pflanzen"), [NOUNS[name] for name in ("rose", "tree", "flower", "bush")]),
    (
        ("garage",),
        _by_name("repair reparieren"),
        [NOUNS[name] for name in ("car", "bicycle", "motorcycle", "boat")],
    ),
    (("station", "airport"), _by_name("pick abholen"), BY_KIND["relative"]),
    (
        ("restaurant", "café"),
        _by_name("eat essen"),
        [NOUNS[name] for name in ("cake", "soup", "salad", "pancake")],
    ),
    (("river", "lake"), _by_name("catch fangen"), [NOUNS["fish"]]),
    (
        ("park", "forest"),
        _by_name("photograph fotografieren"),
        [NOUNS[name] for name in ("bird", "tree", "flower")],
    ),
    (
        ("study",),
        _by_name("write schreiben"),
        [NOUNS[name] for name in ("letter", "report", "article", "poem")],
    ),
)
_BUYABLE = [noun for kind in ("furniture", "vehicle", "instrument", "device") for noun in BY_KIND[kind]]


def _purpose_join(main: Clause, purpose: Clause) -> Pair:
    return (
        f"{main.english()} to {purpose.english_infinitive()}",
        f"{main.german()}, um {purpose.german_infinitive()}",
    )


def errand(author: ClauseAuthor) -> Pair:
    """goes to the market to buy apples: um Äpfel zu kaufen."""
    places, frames, nouns = author.pick(_ERRANDS)
    frame = author.pick(frames)
    subject = author.person()
    main = Clause(subject, GO, author.pick(("progressive", "past", "would like to", "future", "must")))
    main.adverbials.append(author.direction(places))
    if main.tense in ("past", "future") and author.chance(0.5):
        author.add_time(main, main.tense, 1.0, False)
    noun = author.pick(nouns)
    author.combine("object", frame.name, noun.head)
    determiners = "p" if noun.kind == "relative" else frame.determiners
    thing = author.object_phrase(noun, determiners, subject, False, author.chance(0.3) and "p" in determiners)
    return _purpose_join(main, Clause(subject, frame.verb, "", [Object(thing, ACCUSATIVE)]))


def journey(author: ClauseAuthor) -> Pair:
    """is flying to Rome to visit her aunt: um ihre Tante zu besuchen."""
    subject = author.person(visible=True)
    main = Clause(subject, author.pick((_FLY, _DRIVE)), author.pick(("progressive", "past", "want to", "future")))
    main.adverbials.append(author.city(DIRECTION) if author.chance(0.7) else author.country(DIRECTION))
    if main.tense in ("past", "future"):
        author.add_time(main, main.tense, 0.5, True)
    noun = author.pick(BY_KIND["relative"] + BY_KIND["acquaintance"])
    person = author.relative(subject, noun)
    return _purpose_join(main, Clause(subject, VISIT, "", [Object(person, ACCUSATIVE)]))


def saves_money(author: ClauseAuthor) -> Pair:
    subject = author.person()
    main = Clause(subject, _SAVE, author.pick(("progressive", "must", "past")))
    noun = author.pick(_BUYABLE)
    author.combine("object", "buy kaufen", noun.head)
    thing = author.object_phrase(noun, "i", subject)
    return _purpose_join(main, Clause(subject, BUY, "", [Object(thing, ACCUSATIVE)]))


def _deed(author: ClauseAuthor, subject: Phrase, time: float = 0.0) -> Clause:
    """Something that one can decide to do; its tense does not matter."""
    clause = author.frame_clause(author.pick(_DELIBERATE), MODAL, subject, time=time, place=0.3, negated=0)
    clause.negated = False
    return clause


def wants(author: ClauseAuthor) -> Pair:
    """has promised to call his mother: hat versprochen, seine Mutter anzurufen."""
    verb, tenses = author.pick(_WANTING)
    subject = author.person(visible=True)
    main = Clause(subject, verb, author.pick(tenses))
    deed = _deed(author, subject)
    return f"{main.english()} to {deed.english_infinitive()}", f"{main.german()}, {deed.german_infinitive()}"


def has_time(author: ClauseAuthor) -> Pair:
    """has no time to repair the car: hat keine Zeit, das Auto zu reparieren."""
    subject = author.person(visible=True)
    tense = author.pick(("present", "preterite", "future"))
    main = Clause(subject, HAVE, tense, [Object(Fixed(*author.pick(_HAVING)), ACCUSATIVE)])
    if tense != "future" and author.chance(0.5):
        day = author.pick(WEEKDAYS)
        when = (f"on {day[0]}", f"am {day[1]}") if tense == "preterite" else ("today", "heute")
        front = Adverbial(*when, TIME)
        main.front = front
    deed = _deed(author, subject)
    return f"{main.english()} to {deed.english_infinitive()}", f"{main.german()}, {deed.german_infinitive()}"


def asks(author: ClauseAuthor) -> Pair:
    """asked his brother to close the window: hat seinen Bruder gebeten, das Fenster zu schließen."""
    subject = author.person(visible=True)
    noun = author.pick(BY_KIND["relative"] + BY_KIND["acquaintance"])
    person = author.relative(subject, noun)
    if author.chance(0.4):
        person = author.title() if author.chance(0.5) else author.name()
    main = Clause(subject, _ASK, author.pick(("past", "perfect")), [Object(person, ACCUSATIVE)])
    # Whose bag is "his bag"? The person asked has no possessive here.
    deed = _deed(author, Fixed("", ""))
    return f"{main.english()} to {deed.english_infinitive()}", f"{main.german()}, {deed.german_infinitive()}"


def judgement(author: ClauseAuthor) -> Pair:
    """It is forbidden to feed the monkeys: Es ist verboten, die Affen zu füttern."""
    word, german_word = author.pick(_JUDGEMENTS)
    be, german_be = author.pick((("is", "ist"), ("is", "ist"), ("was", "war")))
    nicht, german_nicht = author.pick((("", ""), ("", ""), ("not ", "nicht ")))
    deed = _deed(author, Fixed("", ""))
    return (
        f"it {be} {nicht}{word} to {deed.english_infinitive()}",
        f"es {german_be} {german_nicht}{german_word}, {deed.german_infinitive()}",
    )


def without(author: ClauseAuthor) -> Pair:
    """left the house without locking the door: ohne die Tür abzuschließen."""
    subject = author.person(visible=True)
    main = author.pick((_left_house, _went_home))(author, subject)
    deed = _deed(author, subject)
    word, german_word = author.pick((("without", "ohne"), ("without", "ohne"), ("instead of", "statt")))
    return (
        f"{main.english()} {word} {deed.english_gerund()}",
        f"{main.german()}, {german_word} {deed.german_infinitive()}",
    )


def _left_house(author: ClauseAuthor, subject: Phrase) -> Clause:
    clause = Clause(subject, _LEAVE, "past")
    author.add_time(clause, PAST, 0.5, False)
    return clause


def _went_home(author: ClauseAuthor, subject: Phrase) -> Clause:
    clause = Clause(subject, GO, "past", adverbials=[Adverbial("home", "nach Hause", DIRECTION)])
    author.add_time(clause, PAST, 0.5, False)
    return clause


TEMPLATES = (
    (5, errand),
    (3, journey),
    (2, saves_money),
    (8, wants),
    (3, has_time),
    (4, asks),
    (4, judgement),
    (4, without),
)

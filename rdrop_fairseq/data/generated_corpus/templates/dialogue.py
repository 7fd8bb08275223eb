"""Questions and requests. Who is addressed, and so du, ihr or Sie, shows in the name at the start."""

from typing import Tuple

from rdrop_fairseq.data.generated_corpus.clause import (
    FINAL,
    MANNER,
    QUESTION,
    TIME,
    Clause,
)
from rdrop_fairseq.data.generated_corpus.clause_author import (
    FUTURE,
    HABIT,
    NOW,
    PAST,
    PAST_MODAL,
    ClauseAuthor,
)
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, DATIVE, NOMINATIVE
from rdrop_fairseq.data.generated_corpus.lexicon import verbs
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND
from rdrop_fairseq.data.generated_corpus.phrases import DEFINITE, PRONOUNS, WHICH, YOU, Pair, Phrase
from rdrop_fairseq.data.generated_corpus.templates.common import COST, IS
from rdrop_fairseq.data.generated_corpus.templates.subordinate import questioned

_REQUESTED = [
    frame
    for frame in verbs.TRANSITIVE + verbs.DATIVE_OBJECT + verbs.DITRANSITIVE + verbs.PREPOSITIONAL
    if not set(frame.flags) & {"state", "accident", "instrument", "present", "feeling"}
    and frame.verb.english.base
    not in ("take", "make", "ask", "give", "talk", "burn", "hide", "follow", "laugh", "complain", "dream")
]
_PRICED = [noun for kind in ("clothes", "furniture", "device", "instrument", "vehicle") for noun in BY_KIND[kind]]
_THING_FRAMES = [
    frame
    for frame in verbs.TRANSITIVE
    if frame.verb.english.base
    in (
        "read",
        "write",
        "buy",
        "sell",
        "eat",
        "drink",
        "cook",
        "bake",
        "repair",
        "find",
        "lose",
        "forget",
        "order",
    )
]
_PERSON_FRAMES = [
    frame
    for frame in verbs.TRANSITIVE + verbs.DATIVE_OBJECT
    if frame.verb.english.base in ("visit", "invite", "call", "meet", "help", "thank", "congratulate", "ask")
    and BY_KIND["relative"][0] in frame.objects
]
# Prepositional objects: worauf for things.
_QUESTION_PREPOSITIONS = {"auf": "worauf", "über": "worüber", "an": "woran", "von": "wovon", "vor": "wovor"}
_WAITING_FRAMES = [
    frame
    for frame in verbs.PREPOSITIONAL
    if frame.german_preposition in _QUESTION_PREPOSITIONS
    and frame.verb.english.complement in ("for", "about", "of", "afraid of", "forward to")
]


def _addressed(author: ClauseAuthor) -> Tuple[Pair, Phrase, str]:
    """Whom one speaks to, the pronoun, and which it is."""
    choice = author.integer(0, 4)
    if choice <= 1:
        name = author.name().text
        return (name, name), YOU["du"], "du"
    if choice <= 3:
        person = author.title()
        return (person.english(), person.german(NOMINATIVE)), YOU["Sie"], "Sie"
    first = author.name()
    second = author.name(other_than=first)
    return (f"{first.text} and {second.text}", f"{first.text} und {second.text}"), YOU["ihr"], "ihr"


def _ask(clause: Clause, word: Pair = ("", "")) -> Pair:
    return (
        f"{word[0]} {clause.english(QUESTION)}?".strip(),
        f"{word[1]} {clause.german(QUESTION)}?".strip(),
    )


def yes_or_no(author: ClauseAuthor) -> Pair:
    kind = author.pick((PAST, PAST, NOW, HABIT, FUTURE, PAST_MODAL))
    return _ask(author.action(kind, author.third_person(), time=0.7, place=0.4, negated=0))


def to_you(author: ClauseAuthor) -> Pair:
    """Mrs Weber, have you already ...: Frau Weber, haben Sie schon ...?"""
    (english, german), subject, _ = _addressed(author)
    kind = author.pick((PAST, PAST, NOW, HABIT, FUTURE))
    clause = author.action(kind, subject, time=0.6, place=0.3, negated=0)
    question = _ask(clause)
    return f"{english}, {question[0]}", f"{german}, {question[1]}"


def with_word(author: ClauseAuthor) -> Pair:
    """when, why, where, how."""
    address: Pair = ("", "")
    subject = author.third_person()
    if author.chance(0.5):
        (english, german), subject, _ = _addressed(author)
        address = (f"{english}, ", f"{german}, ")
    word, clause = questioned(author, author.pick((PAST, PAST, FUTURE)), subject)
    if word[0] == "whether":
        return with_word(author)
    question = _ask(clause, word)
    return address[0] + question[0], address[1] + question[1]


def who(author: ClauseAuthor) -> Pair:
    """Who has found the key: wer."""
    clause = author.action(author.pick((PAST, PAST, FUTURE, NOW)), PRONOUNS["who"], time=0.5, place=0.4, negated=0)
    english, german = clause.in_main()
    return f"{english}?", f"{german}?"


def whom(author: ClauseAuthor) -> Pair:
    """Whom did she invite, whom did she help: wen, wem."""
    frame = author.pick(_PERSON_FRAMES)
    clause = Clause(author.third_person(), frame.verb, author.pick(("past", "past", "future")))
    author.add_time(clause, PAST if clause.tense == "past" else FUTURE, 0.8, False)
    if frame.places and author.chance(0.4):
        clause.adverbials.append(author.place(frame.places))
    return _ask(clause, ("whom", "wem" if frame.case == DATIVE else "wen"))


def what(author: ClauseAuthor) -> Pair:
    """What did you buy: was. What are you waiting for: worauf."""
    if author.chance(0.4):
        frame = author.pick(_WAITING_FRAMES)
        tense = "present" if "state" in frame.flags else author.pick(("progressive", "past"))
        clause = Clause(author.third_person(), frame.verb, tense)
        word = ("what", _QUESTION_PREPOSITIONS[frame.german_preposition])
        if tense == "past":
            author.add_time(clause, PAST, 0.5, False)
        return _ask(clause, word)
    frame = author.pick(_THING_FRAMES)
    clause = Clause(author.third_person(), frame.verb, author.pick(("past", "past", "future")))
    author.add_time(clause, PAST if clause.tense == "past" else FUTURE, 0.7, False)
    if frame.places and author.chance(0.4):
        clause.adverbials.append(author.place(frame.places))
    return _ask(clause, ("what", "was"))


def which(author: ClauseAuthor) -> Pair:
    """Which book did she read: welches Buch."""
    frame = author.pick(_THING_FRAMES)
    noun = author.pick([item for item in frame.objects if not item.english_always_plural])
    author.combine("object", frame.name, noun.head)
    thing = author.noun_phrase(noun, WHICH, plural=author.chance(0.2) and not noun.mass)
    clause = Clause(author.third_person(), frame.verb, author.pick(("past", "past", "future")))
    author.add_time(clause, PAST if clause.tense == "past" else FUTURE, 0.7, False)
    if frame.places and author.chance(0.4):
        clause.adverbials.append(author.place(frame.places))
    return _ask(clause, (thing.english(), thing.german(ACCUSATIVE)))


def whither(author: ClauseAuthor) -> Pair:
    """Where are you going: wohin. Where do you come from: woher."""
    (english, german), subject, _ = _addressed(author)
    if author.chance(0.4):
        subject = author.third_person()
        english = german = ""
    moves = author.action(author.pick((PAST, NOW, FUTURE)), subject, time=0.5, place=0, negated=0, family="motion")
    moves.adverbials = [item for item in moves.adverbials if item.slot in (TIME, MANNER)]
    question = _ask(author.in_simple_past(moves), ("where", "wohin"))
    if english:
        return f"{english}, {question[0]}", f"{german}, {question[1]}"
    return question


def how_much(author: ClauseAuthor) -> Pair:
    """How much does it cost, how old is it."""
    thing = author.noun_phrase(author.pick(_PRICED), DEFINITE, adjective=0.6, compound=0.5)
    if author.chance(0.6):
        return _ask(Clause(thing, COST, "present"), ("how much", "wie viel"))
    (adjective, german) = author.pick((("old", "alt"), ("heavy", "schwer"), ("expensive", "teuer"), ("big", "groß")))
    return _ask(Clause(thing, IS, "present"), (f"how {adjective}", f"wie {german}"))


def can_you_tell(author: ClauseAuthor) -> Pair:
    """Mr Weber, do you know when the train leaves?"""
    (english, german), subject, address = _addressed(author)
    know = {"du": "weißt du", "ihr": "wisst ihr", "Sie": "wissen Sie"}[address]
    word, clause = questioned(author, author.pick((PAST, PAST, FUTURE)))
    return (
        f"{english}, do you know {word[0]} {clause.english()}?",
        f"{german}, {know}, {word[1]} {clause.german(FINAL)}?",
    )


def request(author: ClauseAuthor) -> Pair:
    """Mrs Weber, please close the window: schließen Sie."""
    (english, german), subject, address = _addressed(author)
    clause = author.frame_clause(author.pick(_REQUESTED), FUTURE, subject, time=0.4, place=0.2, negated=0)
    return (
        f"{english}, please {clause.english_infinitive()}.",
        f"{german}, bitte {clause.german_imperative(address)}.",
    )


TEMPLATES = (
    (4, yes_or_no),
    (5, to_you),
    (4, with_word),
    (3, who),
    (2, whom),
    (3, what),
    (3, which),
    (2, whither),
    (2, how_much),
    (2, can_you_tell),
    (6, request),
)

"""Sentences of one main clause."""

from rdrop_fairseq.data.generated_corpus.clause import (
    FREQUENCY,
    MANNER,
    PLACE,
    PREDICATE,
    TIME,
    Adverbial,
    Clause,
    Object,
    Verb,
)
from rdrop_fairseq.data.generated_corpus.clause_author import (
    FUTURE,
    HABIT,
    MODAL,
    NOW,
    PAST,
    PAST_MODAL,
    ClauseAuthor,
)
from rdrop_fairseq.data.generated_corpus.clock_and_calendar import WEEKDAYS
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import (
    ACCUSATIVE,
    DATIVE,
    GENITIVE,
    SEIN,
    german_verb,
    with_preposition,
)
from rdrop_fairseq.data.generated_corpus.lexicon import names, verbs
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.lexicon.placing import PLACINGS
from rdrop_fairseq.data.generated_corpus.phrases import (
    DEFINITE,
    EVERY,
    INDEFINITE,
    NO,
    THIS,
    Fixed,
    NounPhrase,
    Pair,
    Phrase,
)
from rdrop_fairseq.data.generated_corpus.templates.common import BELONG, IS, KNOW_PERSON, LEARN, LIVE

_PLEASE = Verb(english_verb("please"), german_verb("gefallen gefällt gefallen"))
_TASTE = Verb(english_verb("taste"), german_verb("schmecken"))
_LIKE = english_verb("like")
_FIT = Verb(english_verb("fit"), german_verb("passen"))
_OWN_THINGS = tuple(
    noun for kind in ("clothes", "furniture", "belonging", "device", "vehicle", "instrument") for noun in BY_KIND[kind]
)
_LIKED = tuple(noun for kind in ("clothes", "furniture", "picture", "story", "outdoors") for noun in BY_KIND[kind])
_TASTED = tuple(noun for kind in ("dish", "drink", "mass food") for noun in BY_KIND[kind])
_WORN = tuple(noun for noun in BY_KIND["clothes"] if noun.head not in ("scarf", "tie", "belt", "sock"))
_PARTS = [NOUNS[name] for name in ("roof", "door", "entrance", "window", "wall")]
_WHOLES = [NOUNS[name] for name in "house school church castle theatre museum hotel library station factory".split()]
_WORK = next(frame for frame in verbs.INTRANSITIVE if frame.verb.english.base == "work")
_WAITING = [frame for frame in verbs.TRANSITIVE + verbs.PREPOSITIONAL if frame.verb.english.base in ("wait", "look")]
_WAITING = [frame for frame in _WAITING if frame.verb.english.complement == "for"]
_BEFORE_PREDICATE = (("", ""), ("very", "sehr"), ("too", "zu"), ("", ""))
_WITHOUT_DEGREE = frozenset(
    "broken round empty full red blue green white black yellow brown grey colourful delicious".split()
)
_NO_PROFESSION = frozenset("customer tourist president mayor director".split())
# Verbs whose passive is rare.
_NO_PASSIVE = frozenset("take make give wear listen receive miss put bring fetch ask win love need meet".split())


_PASSIVE_FRAMES = {
    kind: [
        frame
        for frame in verbs.TRANSITIVE
        if frame.verb.english.base not in _NO_PASSIVE
        and not set(frame.flags) & {"state", "instrument"}
        and ("accident" not in frame.flags or kind == PAST and frame.verb.english.base in ("steal", "find", "save"))
    ]
    for kind in (PAST, NOW, MODAL, FUTURE)
}


def _maybe_front(author: ClauseAuthor, clause: Clause, probability: float = 0.45) -> Clause:
    candidates = [adverbial for adverbial in clause.adverbials if adverbial.slot in (TIME, PLACE)]
    if candidates and author.chance(probability):
        clause.bring_to_front(author.pick(candidates))
    return clause


def statement(author: ClauseAuthor) -> Pair:
    clause = _maybe_front(author, author.action(author.kind(), time=0.85, place=0.5))
    return clause.in_main()


def everyone_or_nobody(author: ClauseAuthor) -> Pair:
    """Every pupil must learn this poem; no pupil has: jeder, kein."""
    noun = author.pick([item for item in BY_KIND["person"] if item.feminine or item.sex])
    subject = author.noun_phrase(noun, author.pick((EVERY, NO)), adjective=0.15)
    clause = author.action(author.pick((PAST, HABIT, MODAL, PAST_MODAL)), subject, time=0.3, place=0.4, negated=0)
    clause.adverbials = [item for item in clause.adverbials if item.slot != FREQUENCY]
    if clause.tense == "must" and subject.determiner is NO:
        clause.tense = "have to"  # "No pupil must" would be a prohibition.
    return clause.in_main()


def passive(author: ClauseAuthor) -> Pair:
    """The old house was sold by my uncle: werden, sein ... worden, von with the dative."""
    kind = author.pick((PAST, PAST, PAST, NOW, MODAL, FUTURE))
    frame = author.pick(_PASSIVE_FRAMES[kind])
    noun = author.pick(frame.objects)
    author.combine("object", frame.name, noun.head)
    plural = author.chance(0.25) and not (noun.mass or noun.english_always_plural)
    if noun.kind == "relative":
        subject: Phrase = author.relative(None, noun)
    elif plural and author.chance(0.5):
        subject = author.noun_phrase(noun, DEFINITE, True, quantity=author.number(author.count()))
    else:
        subject = author.noun_phrase(noun, author.pick((DEFINITE, DEFINITE, THIS)), plural)
    tense = author.pick(("past", "past", "perfect")) if kind == PAST else author.tense(kind, False)
    if tense in ("want to", "would like to", "may"):
        tense = "must"
    clause = Clause(subject, frame.verb, tense, passive=True)
    if author.chance(0.55):
        agent = author.person(pronouns=False)
        clause.adverbials.append(
            Adverbial(f"by {agent.english('object')}", with_preposition("von", agent.german(DATIVE)), "agent")
        )
    if kind != NOW:
        author.add_time(clause, FUTURE if kind == MODAL else kind, 0.6, frame.verb.english.base in verbs.LONG)
    _maybe_front(author, clause, 0.3)
    return clause.in_main()


def located(author: ClauseAuthor) -> Pair:
    """The key is on the table: steht, liegt, hängt."""
    placing = author.pick(PLACINGS)
    noun = author.pick(placing.things)
    determiner = DEFINITE if author.chance(0.7) else THIS
    plural = author.chance(0.25) and not noun.english_always_plural
    if author.chance(0.3):
        thing = author.owned(noun, plural=plural)
    else:
        thing = author.noun_phrase(noun, determiner, plural)
    clause = Clause(thing, placing.located, author.pick(("present", "present", "preterite")))
    if clause.tense == "preterite" and author.chance(0.5):
        clause.adverbials.append(author.time(PAST, False, precise=False))
    clause.adverbials.append(author.located_where(placing, noun))
    clause.negated = author.chance(0.2)
    return clause.in_main()


def there_is(author: ClauseAuthor) -> Pair:
    """There are three books on the shelf: Auf dem Regal liegen drei Bücher."""
    placing = author.pick(PLACINGS)
    noun = author.pick(placing.things)
    thing = author.object_phrase(noun, "iiimnn", author.name())
    where = author.located_where(placing, noun)
    tense = author.pick(("present", "present", "preterite"))
    clause = Clause(thing, placing.located, tense, front=where)
    third = not thing.english_plural or thing.english().startswith("a pair")
    be = {"present": "is" if third else "are", "preterite": "was" if third else "were"}[tense]
    return f"there {be} {thing.english()} {where.english}", clause.german()


def belongs(author: ClauseAuthor) -> Pair:
    thing = author.noun_phrase(author.pick(_OWN_THINGS), author.pick((DEFINITE, THIS)), plural=author.chance(0.2))
    owner = author.person(plural=author.chance(0.3))
    negated = owner.definite and author.chance(0.2)
    clause = Clause(thing, BELONG, "present", [Object(owner, DATIVE, "to")], negated=negated)
    return clause.in_main()


def likes(author: ClauseAuthor) -> Pair:
    """My mother likes the carpet: Meiner Mutter gefällt der Teppich. Food: schmeckt."""
    verb, things = author.pick(((_PLEASE, _LIKED), (_TASTE, _TASTED)))
    person = author.person()
    noun = author.pick(things)
    if author.chance(0.3) and verb is _PLEASE and noun.kind in ("clothes", "furniture"):
        thing = author.owned(noun)
    else:
        thing = author.noun_phrase(noun, author.pick((DEFINITE, DEFINITE, THIS)), adjective=0.5)
    negated = author.chance(0.25)
    tense = "present" if author.chance(0.7) else "past"
    english = Clause(person, Verb(_LIKE, verb.german), tense, [Object(thing, ACCUSATIVE)], negated=negated)
    german = Clause(thing, verb, tense, negated=negated, front=Adverbial("", person.german(DATIVE), PREDICATE))
    return english.english(), german.german()


def fits(author: ClauseAuthor) -> Pair:
    """The shoes fit my brother well: passen, with the dative."""
    thing = author.noun_phrase(author.pick(_WORN), author.pick((DEFINITE, THIS)), plural=author.chance(0.4))
    person = author.person(plural=False)
    negated = person.definite and author.chance(0.3)
    clause = Clause(thing, _FIT, "present", [Object(person, DATIVE)], negated=negated)
    if not clause.negated:
        clause.adverbials.append(Adverbial("well", "gut", MANNER))
    return clause.in_main()


def is_cold(author: ClauseAuthor) -> Pair:
    """My grandmother is cold: Meiner Großmutter ist kalt."""
    person = author.person()
    feeling = author.pick((("cold", "kalt"), ("too warm", "zu warm"), ("too cold", "zu kalt"), ("bored", "langweilig")))
    tense = author.pick(("present", "preterite"))
    clause = Clause(person, IS, tense, adverbials=[Adverbial(*feeling, PREDICATE)])
    place = author.place("garden cellar church forest office theatre museum classroom park".split())
    clause.adverbials.append(place)
    finite = SEIN.present(3, False) if tense == "present" else "war"
    return clause.english(), f"{person.german(DATIVE)} {finite} {place.german} {feeling[1]}"


def knows(author: ClauseAuthor) -> Pair:
    """To know persons and places is kennen (facts: wissen, in the subordinate clauses)."""
    subject = author.person()
    choice = author.integer(0, 3)
    if choice == 0:
        known: Phrase = Fixed(*author.pick(names.CITIES), definite=True)
    elif choice == 1:
        known = author.person_object(subject)
    elif choice == 2:
        known = author.noun_phrase(author.pick(BY_KIND["story"] + BY_KIND["building"]), author.pick((DEFINITE, THIS)))
    else:
        known = author.role(plural=False, indefinite=0.3)
    negated = known.definite and author.chance(0.25)
    clause = Clause(subject, KNOW_PERSON, "present", [Object(known, ACCUSATIVE)], negated=negated)
    if not clause.negated:
        since = author.pick((("well", "gut"), ("very well", "sehr gut"), ("a little", "ein bisschen")))
        clause.adverbials.append(Adverbial(*since, MANNER))
    return clause.in_main()


def since(author: ClauseAuthor) -> Pair:
    """She has been living in Cologne for three years: Sie wohnt seit drei Jahren in Köln."""
    choice = author.integer(0, 4)
    if choice == 0:
        home = author.city(PLACE) if author.chance(0.8) else author.country(PLACE)
        clause = Clause(author.person(), LIVE, "", adverbials=[home])
    elif choice == 1:
        clause = Clause(author.person(), _WORK.verb, "", adverbials=[author.place(_WORK.places)])
    elif choice == 2:
        language = Fixed(*author.pick(names.LANGUAGES))
        clause = Clause(author.person(), LEARN, "", [Object(language, ACCUSATIVE)])
    elif choice == 3:
        clause = Clause(author.person(), IS, "", adverbials=[Adverbial("ill", "krank", PREDICATE)])
    else:
        clause = author.frame_clause(author.pick(_WAITING), PAST, time=0, place=0.3, negated=0)
    clause.tense = "perfect progressive"
    clause.adverbials.append(_duration(author, long=choice < 3))
    return clause.in_main()


def _duration(author: ClauseAuthor, long: bool) -> Adverbial:
    if author.chance(0.6):
        units = (("years", "Jahren", 45), ("months", "Monaten", 12), ("weeks", "Wochen", 12))
        if not long:
            units = (("days", "Tagen", 14), ("weeks", "Wochen", 12), ("hours", "Stunden", 30))
        english_unit, german_unit, largest = author.pick(units)
        english_number, german_number = author.number(author.integer(2, largest))
        return Adverbial(f"for {english_number} {english_unit}", f"seit {german_number} {german_unit}", TIME)
    if long:
        year = author.integer(1975, 2023)
        return author.pick(
            (
                Adverbial(f"since {year}", f"seit {year}", TIME),
                Adverbial("since last summer", "seit letztem Sommer", TIME),
                Adverbial("since last year", "seit letztem Jahr", TIME),
            )
        )
    english_day, german_day = author.pick(WEEKDAYS)
    return Adverbial(f"since {english_day}", f"seit {german_day}", TIME)


def part_of(author: ClauseAuthor) -> Pair:
    """The roof of the old house is red: genitives."""
    whole = author.noun_phrase(author.pick(_WHOLES), DEFINITE, adjective=0.7)
    after = (f"of {whole.english()}", whole.german(GENITIVE))
    return _description(author, NounPhrase(DEFINITE, author.pick(_PARTS), after=after))


def thing_of_person(author: ClauseAuthor) -> Pair:
    """The teacher's car is new: das Auto des Lehrers; Anna's coat: Annas Mantel."""
    return _description(author, author.owned(author.pick(_OWN_THINGS), adjective=0))


def _description(author: ClauseAuthor, thing: NounPhrase) -> Pair:
    """With an adjective that fits, in the present or the past, or negated."""
    chosen = author.adjective(thing.noun)
    if chosen is None:
        return statement(author)
    degree = ("", "") if chosen.english in _WITHOUT_DEGREE else author.pick(_BEFORE_PREDICATE)
    words = (f"{degree[0]} {chosen.english}".strip(), f"{degree[1]} {chosen.german.predicative}".strip())
    clause = Clause(thing, IS, author.pick(("present", "present", "preterite")))
    clause.negated = author.chance(0.2)
    clause.adverbials.append(Adverbial(*words, PREDICATE))
    return clause.in_main()


def profession(author: ClauseAuthor) -> Pair:
    """My aunt is a history teacher: no article in German."""
    subject = author.somebody()
    pool = [noun for noun in BY_KIND["person"] if noun.feminine and noun.head not in _NO_PROFESSION]
    noun = author.compound(author.pick(pool), 0.5)
    german = (noun.feminine if subject.sex == "f" else noun.german).singular
    phrase = NounPhrase(INDEFINITE, noun)
    clause = Clause(subject, IS, "present", adverbials=[Adverbial(phrase.english(), german, PREDICATE)])
    if author.chance(0.6):
        place = author.city(PLACE)
        # A place after the predicate noun belongs to it: Lehrerin in Köln.
        clause.adverbials = [Adverbial(f"{phrase.english()} {place.english}", f"{german} {place.german}", PREDICATE)]
    return clause.in_main()


TEMPLATES = (
    (22, statement),
    (2, everyone_or_nobody),
    (7, passive),
    (4, located),
    (4, there_is),
    (3, belongs),
    (4, likes),
    (2, fits),
    (1, is_cold),
    (2, knows),
    (4, since),
    (3, part_of),
    (3, thing_of_person),
    (2, profession),
)

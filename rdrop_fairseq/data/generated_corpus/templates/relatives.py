"""Sentences with a relative clause: the pronoun has the gender of its noun and the case of its clause."""

from rdrop_fairseq.data.generated_corpus.clause import (
    FINAL,
    PLACE,
    PREDICATE,
    Adverbial,
    Clause,
    Object,
    Verb,
)
from rdrop_fairseq.data.generated_corpus.clause_author import HABIT, NOW, PAST, ClauseAuthor
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, DATIVE, german_verb
from rdrop_fairseq.data.generated_corpus.lexicon import names, verbs
from rdrop_fairseq.data.generated_corpus.lexicon.adjectives import adjectives_for
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND
from rdrop_fairseq.data.generated_corpus.phrases import DEFINITE, Fixed, NounPhrase, Pair, RelativePronoun
from rdrop_fairseq.data.generated_corpus.templates.common import BELONG, FIND, IS, KNOW_PERSON, LIVE, WORK

_WORKPLACES = next(frame.places for frame in verbs.INTRANSITIVE if frame.verb.english.base == "work")
_DONE_TO_THINGS = frozenset(
    """buy sell find lose repair paint write read build steal forget choose borrow draw wash receive hide
    photograph order translate bake""".split()
)
_THING_FRAMES = [frame for frame in verbs.TRANSITIVE if frame.verb.english.base in _DONE_TO_THINGS]
_DATIVE_FRAMES = [frame for frame in verbs.DATIVE_OBJECT if frame.verb.english.base not in ("trust", "run")]
_PREPOSITIONAL_FRAMES = [
    frame
    for frame in verbs.PREPOSITIONAL
    if frame.verb.english.complement in ("about", "of", "interested in") and frame.verb.english.base != "think"
]
_SHOW = Verb(english_verb("show showed shown"), german_verb("zeigen"))
_PLEASE = german_verb("gefallen gefällt gefallen")
_TASTE = german_verb("schmecken")
_EATEN = frozenset(("food", "dish", "mass food", "drink"))
_LIKE = english_verb("like")
_LOOK_FOR = Verb(english_verb("look +for"), german_verb("suchen"))
_COME_FROM = Verb(english_verb("come came come"), german_verb("kommen kommt gekommen sein"))
_STATES = (
    ("very friendly", "sehr freundlich"),
    ("famous", "berühmt"),
    ("ill", "krank"),
    ("very tired", "sehr müde"),
)
_WITHOUT_DEGREE = frozenset("broken empty full round delicious".split())
_OWNED = BY_KIND["relative"][:6]


def who(author: ClauseAuthor) -> Pair:
    """The man who lives in Cologne ...: der in Köln wohnt."""
    head = author.role(plural=author.chance(0.3), indefinite=0)
    pronoun = RelativePronoun(head, is_person=True)
    choice = author.integer(0, 3)
    if choice == 0:
        clause = Clause(pronoun, LIVE, "present", adverbials=[author.city(PLACE)])
    elif choice == 1:
        clause = Clause(pronoun, WORK, "present", adverbials=[author.place(_WORKPLACES)])
    else:
        clause = author.action(author.pick((PAST, PAST, HABIT)), pronoun, time=0.5, place=0.3)
        author.in_simple_past(clause)
    head.relative = clause.in_final()
    if author.chance(0.3):
        negated = author.chance(0.3)
        return Clause(author.name(), KNOW_PERSON, "present", [Object(head, ACCUSATIVE)], negated=negated).in_main()
    return author.action(author.kind(), head, time=0.4, place=0.2).in_main()


def that(author: ClauseAuthor) -> Pair:
    """The coat that Anna bought ...: den Anna gekauft hat."""
    frame = author.pick(_THING_FRAMES)
    noun = author.pick(frame.objects)
    author.combine("object", frame.name, noun.head)
    plural = author.chance(0.2) and not (noun.mass or noun.english_always_plural)
    head = author.noun_phrase(noun, DEFINITE, plural)
    subject = author.person()
    tense = "past" if frame.verb.english.past != frame.verb.english.base else "perfect"
    clause = Clause(subject, frame.verb, tense, [Object(RelativePronoun(head, False), ACCUSATIVE)])
    author.add_time(clause, PAST, 0.6, frame.verb.english.base in verbs.LONG)
    if frame.places and author.chance(0.3):
        clause.adverbials.append(author.place(frame.places))
    head.relative = clause.in_final()
    return _about_thing(author, head)


def with_preposition(author: ClauseAuthor) -> Pair:
    """the plan that they are talking about: über den sie sprechen."""
    frame = author.pick(_PREPOSITIONAL_FRAMES)
    noun = author.pick(
        [item for item in frame.objects if item.kind not in ("person", "acquaintance", "relative", "other")]
    )
    author.combine("object", frame.name, noun.head)
    head = author.noun_phrase(noun, DEFINITE, plural=author.chance(0.15) and not noun.mass)
    clause = Clause(author.person(), frame.verb, "present" if "state" in frame.flags else "progressive")
    pronoun = RelativePronoun(head, False).german(frame.case)
    head.relative = (
        f"that {clause.english()}",
        f"{frame.german_preposition} {pronoun} {clause.german(FINAL)}",
    )
    return _about_thing(author, head)


def _about_thing(author: ClauseAuthor, head: NounPhrase) -> Pair:
    """Whose the thing is, what it is like, or what somebody does with it."""
    fitting = adjectives_for(head.noun)
    choice = author.integer(0, 3)
    if choice == 0 and head.noun.kind not in ("event", "outdoors", "building", "abstract", "other", "room"):
        owner = Object(author.person(pronouns=False, plural=False), DATIVE, "to")
        return Clause(head, BELONG, "present", [owner]).in_main()
    if choice == 1 and fitting:
        chosen = author.pick(fitting)
        author.combine("adjective", chosen.english, head.noun.head)
        words = (chosen.english, chosen.german.predicative)
        if chosen.english not in _WITHOUT_DEGREE:
            words = (f"very {words[0]}", f"sehr {words[1]}")
        return Clause(head, IS, "present", adverbials=[Adverbial(*words, PREDICATE)]).in_main()
    if choice == 2 or head.noun.kind in ("event", "abstract", "other"):
        person = author.person(pronouns=False)
        german_like = _TASTE if head.noun.kind in _EATEN else _PLEASE
        english = Clause(person, Verb(_LIKE, german_like), "present", [Object(head, ACCUSATIVE)])
        german = Clause(head, english.verb, "present", [Object(person, DATIVE)])
        return english.english(), german.german()
    verb, tense = author.pick(((FIND, "past"), (_SHOW, "past"), (_LOOK_FOR, "progressive")))
    if " found" in head.relative[0]:
        verb = _SHOW  # Nobody looks for what has been found.
        tense = "past"
    objects = [Object(head, ACCUSATIVE)]
    if verb is _SHOW:
        objects.insert(0, Object(author.name(), DATIVE))
    return Clause(author.person(), verb, tense, objects).in_main()


def whom(author: ClauseAuthor) -> Pair:
    """The woman whom he helped: der er geholfen hat."""
    head = author.role(plural=author.chance(0.25), indefinite=0)
    relative = Object(RelativePronoun(head, True), DATIVE)
    clause = Clause(author.person(), author.pick(_DATIVE_FRAMES).verb, "past", [relative])
    author.add_time(clause, PAST, 0.5, False)
    head.relative = clause.in_final()
    return _about_person(author, head)


def whose(author: ClauseAuthor) -> Pair:
    """The woman whose son works in Hamburg: deren Sohn in Hamburg arbeitet."""
    head = author.role(plural=False, indefinite=0)
    owned = author.pick(_OWNED)
    pronoun = "deren" if head.gender == "f" else "dessen"
    owner = Fixed(f"whose {owned.english}", f"{pronoun} {owned.german.singular}")
    head.relative = author.action(author.pick((PAST, NOW, HABIT)), owner, time=0.4, place=0.3).in_final()
    return _about_person(author, head)


def _about_person(author: ClauseAuthor, head: NounPhrase) -> Pair:
    """Where somebody is from, what he is like, or that somebody knows him."""
    choice = author.integer(0, 2)
    if choice == 0:
        city = author.pick(names.CITIES)
        origin = Adverbial(f"from {city[0]}", f"aus {city[1]}", PREDICATE)
        return Clause(head, _COME_FROM, "present", adverbials=[origin]).in_main()
    if choice == 1:
        words = author.pick(_STATES)
        return Clause(head, IS, "present", adverbials=[Adverbial(*words, PREDICATE)]).in_main()
    return Clause(author.name(), KNOW_PERSON, "present", [Object(head, ACCUSATIVE)]).in_main()


TEMPLATES = (
    (8, who),
    (8, that),
    (3, with_preposition),
    (4, whom),
    (4, whose),
)

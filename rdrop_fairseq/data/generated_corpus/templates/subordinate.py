"""Sentences with a conjunction, whose clause has its finite verb last in German."""

from typing import Optional, Tuple

from rdrop_fairseq.data.generated_corpus.clause import (
    DIRECTION,
    FINAL,
    PREDICATE,
    QUESTION,
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
    ClauseAuthor,
    suitable,
)
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, german_verb
from rdrop_fairseq.data.generated_corpus.lexicon import names, verbs
from rdrop_fairseq.data.generated_corpus.lexicon.adjectives import adjectives_for
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.lexicon.placing import PLACINGS
from rdrop_fairseq.data.generated_corpus.phrases import DEFINITE, INDEFINITE, Pair, Phrase
from rdrop_fairseq.data.generated_corpus.templates.common import BUY, FIND, FORGET, GO, IS, KNOW_FACT, SELL
from rdrop_fairseq.data.generated_corpus.templates.reasons import consequence, reason, state, weather

_AGAINST_IT = ("weak", "busy", "hurry", "hungry", "bad weather")
_AGAINST_ONE = ("weak", "busy", "hurry", "hungry")
_LEAVE_HOUSE = Verb(
    english_verb("leave left left +the +house"),
    german_verb("das_Haus_|verlassen verlässt das_Haus_verlassen"),
)
_WHITHER = (
    ("to bed", "ins Bett"),
    ("home", "nach Hause"),
    ("to work", "zur Arbeit"),
    ("to the office", "ins Büro"),
)
_GLAD_VERBS = frozenset("invite visit help find win receive save meet repair solve".split())
_SORRY_VERBS = frozenset("lose forget break destroy throw burn steal".split())
_GLAD_FRAMES = [frame for frame in verbs.TRANSITIVE + verbs.DATIVE_OBJECT if frame.verb.english.base in _GLAD_VERBS]
_SORRY_FRAMES = [frame for frame in verbs.TRANSITIVE if frame.verb.english.base in _SORRY_VERBS]
_GLAD = (("happy", "glücklich"), ("glad", "froh"), ("satisfied", "zufrieden"))
_SORRY = (("sad", "traurig"), ("angry", "wütend"), ("disappointed", "enttäuscht"))
# What makes one buy something, or not.
_ATTRACTIVE = frozenset("cheap beautiful practical comfortable elegant warm light modern interesting fast".split())
_REPELLENT = frozenset("expensive big small old ugly heavy short long narrow boring slow".split())
_BUYABLE = [noun for kind in ("clothes", "furniture", "device", "vehicle") for noun in BY_KIND[kind]] + [
    NOUNS[name] for name in ("bag", "suitcase", "book", "picture", "house", "flat")
]
_DAYS = (("tomorrow", "morgen"), ("at the weekend", "am Wochenende"), ("on Sunday", "am Sonntag"))
_CHILDHOOD = (("young", "jung"), ("ill", "krank"), ("on holiday", "im Urlaub"))
_SAY = Verb(english_verb("say said said"), german_verb("sagen"))
_REPORTS = (
    (KNOW_FACT, "present"),
    (_SAY, "present"),
    (_SAY, "past"),
    (Verb(english_verb("think thought thought"), german_verb("glauben")), "present"),
    (Verb(english_verb("hear heard heard"), german_verb("hören")), "perfect"),
    (FORGET, "perfect"),
    (Verb(english_verb("claim"), german_verb("behaupten behauptet behauptet")), "present"),
    (Verb(english_verb("write wrote written"), german_verb("schreiben schreibt geschrieben")), "past"),
)
_HOPE = Verb(english_verb("hope"), german_verb("hoffen"))
_JUDGEMENTS = (
    ("it is a pity", "es ist schade"),
    ("it is nice", "es ist schön"),
    ("it is good", "es ist gut"),
    ("it is important", "es ist wichtig"),
    ("it is strange", "es ist seltsam"),
    ("it is possible", "es ist möglich"),
    ("everybody knows", "alle wissen"),
    ("nobody believes", "niemand glaubt"),
)
# Verb, tense, negated.
_QUESTIONED = (
    (KNOW_FACT, "present", True),
    (Verb(english_verb("ask"), german_verb("fragen")), "past", False),
    (FORGET, "perfect", False),
)
_QUESTION_WORDS = (("whether", "ob"), ("when", "wann"), ("why", "warum"), ("where", "wo"), ("how", "wie"))
_FEASIBLE_VERBS = frozenset("repair open solve cook bake build find".split())
_FEASIBLE = [frame for frame in verbs.TRANSITIVE if frame.verb.english.base in _FEASIBLE_VERBS]
_SERVING = (
    FIND,
    Verb(english_verb("see saw seen"), german_verb("sehen sieht gesehen")),
    Verb(english_verb("take took taken ~along"), german_verb("mit|nehmen nimmt mitgenommen")),
)


def _join(main: Clause, conjunction: Pair, subordinate: Clause) -> Pair:
    english, german = main.in_main()
    return (
        f"{english} {conjunction[0]} {subordinate.english()}",
        f"{german}, {conjunction[1]} {subordinate.german(FINAL)}",
    )


def _lead(conjunction: Pair, subordinate: Clause, main: Clause) -> Pair:
    """The subordinate clause first: German then has the verb of the main clause before its subject."""
    return (
        f"{conjunction[0]} {subordinate.english()}, {main.english()}",
        f"{conjunction[1]} {subordinate.german(FINAL)}, {main.german(QUESTION)}",
    )


def _again(subject: Phrase) -> Phrase:
    """The pronoun for a subject that has been named."""
    return subject if subject.is_pronoun else subject.pronoun()


def because(author: ClauseAuthor) -> Pair:
    """A plan is given up, or a way chosen, for a reason."""
    past = author.chance(0.5)
    subject = author.person(visible=True)
    main, groups = consequence(author, subject, past)
    return _join(main, ("because", "weil"), reason(author, _again(subject), past, groups))


def feeling(author: ClauseAuthor) -> Pair:
    """Somebody is glad or sad because of what has happened."""
    subject = author.person(visible=True)
    glad = author.chance(0.5)
    words = author.pick(_GLAD if glad else _SORRY)
    main = Clause(subject, IS, author.pick(("present", "preterite")), adverbials=[Adverbial(*words, PREDICATE)])
    frame = author.pick(_GLAD_FRAMES if glad else _SORRY_FRAMES)
    same = author.chance(0.4)
    event = author.frame_clause(frame, PAST, _again(subject) if same else author.name(), time=0.4, negated=0)
    if not same and event.objects[0].phrase.sex and author.chance(0.7):
        event.objects = [Object(_again(subject), frame.case)]
    if main.tense == "preterite":
        author.in_simple_past(event)
    return _join(main, ("because", "weil"), event)


def bought_because(author: ClauseAuthor) -> Pair:
    """He bought the coat because it was so cheap: weil er so billig war, by the gender of Mantel."""
    noun = author.pick(_BUYABLE)
    decision = author.pick(("buy", "leave", "sell"))
    wanted = _ATTRACTIVE if decision == "buy" else _REPELLENT
    fitting = [item for item in adjectives_for(noun) if item.english in wanted]
    if not fitting:
        return bought_because(author)
    chosen = author.pick(fitting)
    author.combine("adjective", chosen.english, noun.head)
    verb = SELL if decision == "sell" else BUY
    author.combine("object", f"{verb.english.base} {verb.german.base}", noun.head)
    plural = author.chance(0.2) and not noun.english_always_plural
    thing = author.noun_phrase(noun, DEFINITE, plural, adjective=0.2)
    past = author.chance(0.6)
    main = Clause(author.person(), verb, "past" if past else author.pick(("want to", "future")))
    main.objects.append(Object(thing, ACCUSATIVE))
    main.negated = decision == "leave"
    degree = ("so", "so") if decision == "buy" else ("too", "zu")
    words = (f"{degree[0]} {chosen.english}", f"{degree[1]} {chosen.german.predicative}")
    why = Clause(thing.thing_pronoun(), IS, "preterite" if past else "present")
    why.adverbials.append(Adverbial(*words, PREDICATE))
    return _join(main, ("because", "weil"), why)


def although(author: ClauseAuthor) -> Pair:
    past = author.chance(0.5)
    subject = author.person(visible=True)
    kind = PAST if past else author.pick((NOW, MODAL, FUTURE))
    if author.chance(0.3) and not subject.is_pronoun:
        main = author.action(kind, _again(subject), time=0.5, place=0.3, negated=0)
        return _lead(("although", "obwohl"), reason(author, subject, past, _AGAINST_ONE), main)
    main = author.action(kind, subject, time=0.5, place=0.3, negated=0)
    return _join(main, ("although", "obwohl"), reason(author, _again(subject), past, _AGAINST_IT))


def condition(author: ClauseAuthor) -> Pair:
    """If it rains tomorrow, ...: wenn."""
    time = Adverbial(*author.pick(_DAYS), TIME)
    if author.chance(0.35):
        premise = weather(author, "present", author.chance(0.5))
        premise.adverbials.append(time)
        return _lead(("if", "wenn"), premise, author.action(FUTURE, time=0, place=0.5, negated=0.1))
    if author.chance(0.5):
        subject = author.person(visible=True)
        main = author.action(FUTURE, subject, time=0, place=0.5, negated=0.1)
        return _join(main, ("if", "wenn"), state(author, _again(subject), False, ("free",)))
    subject = author.person(visible=True, pronouns=False)
    premise = state(author, subject, False, ("free",))
    premise.adverbials.append(time)
    main = author.action(FUTURE, _again(subject), time=0, place=0.4, negated=0)
    return _lead(("if", "wenn"), premise, main)


def when(author: ClauseAuthor) -> Pair:
    """When the sun shines, as a rule: wenn; when he was young: als."""
    if author.chance(0.5):
        premise = weather(author, "present", author.chance(0.5))
        return _lead(("when", "wenn"), premise, author.action(HABIT, time=0, place=0.5, negated=0.1, states=False))
    subject = author.person(visible=True, plural=False)
    if author.chance(0.5):
        words = author.pick(_CHILDHOOD)
    else:
        city = author.pick(names.CITIES)
        words = (f"in {city[0]}", f"in {city[1]}")
    premise = Clause(subject, IS, "preterite", adverbials=[Adverbial(*words, PREDICATE)])
    main = author.action(PAST, _again(subject), time=0, place=0.3, negated=0.1)
    return _lead(("when", "als"), premise, author.in_simple_past(main))


def meanwhile(author: ClauseAuthor) -> Pair:
    first = author.action(NOW, time=0, place=0.5, negated=0)
    second = author.action(NOW, time=0, place=0.5, negated=0)
    if first.subject.english() == second.subject.english():
        return meanwhile(author)
    if author.chance(0.5):
        return _join(second, ("while", "während"), first)
    return _lead(("while", "während"), first, second)


def before(author: ClauseAuthor) -> Pair:
    """Before she goes to bed, she reads: bevor."""
    subject = author.person(visible=True)
    fronted = not subject.is_pronoun and author.chance(0.5)
    first, second = (subject, _again(subject)) if fronted else (_again(subject), subject)
    if author.chance(0.2):
        premise = Clause(first, _LEAVE_HOUSE, "present")
    else:
        premise = Clause(first, GO, "present", adverbials=[Adverbial(*author.pick(_WHITHER), DIRECTION)])
    main = author.action(author.pick((HABIT, MODAL)), second, time=0, place=0.3, negated=0, states=False)
    return (_lead if fronted else _swapped_join)(("before", "bevor"), premise, main)


def _swapped_join(conjunction: Pair, subordinate: Clause, main: Clause) -> Pair:
    return _join(main, conjunction, subordinate)


def reported(author: ClauseAuthor) -> Pair:
    """knows that: weiß, dass."""
    kind = author.pick((PAST, PAST, FUTURE, NOW, HABIT, MODAL))
    choice = author.integer(0, 4)
    if choice == 0:
        english, german = author.pick(_JUDGEMENTS)
        inner = author.action(kind, time=0.5, place=0.3)
        return f"{english} that {inner.english()}", f"{german}, dass {inner.german(FINAL)}"
    verb, tense = author.pick(_REPORTS)
    if choice == 1:
        verb, tense, kind = _HOPE, "present", author.pick((FUTURE, FUTURE, PAST))
    subject = author.person(visible=True)
    same = subject.person == 3 and author.chance(0.3)
    inner = author.action(kind, _again(subject) if same else None, time=0.5, place=0.3)
    return _join(Clause(subject, verb, tense), ("that", "dass"), inner)


def indirect_question(author: ClauseAuthor) -> Pair:
    """does not know where: weiß nicht, wo."""
    verb, tense, negated = author.pick(_QUESTIONED)
    word, clause = questioned(author, author.pick((PAST, PAST, FUTURE)))
    return _join(Clause(author.person(), verb, tense, negated=negated), word, clause)


def questioned(author: ClauseAuthor, kind: str, subject: Optional[Phrase] = None) -> Tuple[Pair, Clause]:
    """A question word, and a clause without what it asks for."""
    word = author.pick(_QUESTION_WORDS)
    if word[0] == "where":
        frame = author.pick([item for item in suitable("transitive", kind) if item.places])
        clause = author.frame_clause(frame, kind, subject, time=0.3, place=0, negated=0)
        clause.adverbials = [item for item in clause.adverbials if item.slot != "place"]
    elif word[0] == "how":
        clause = author.frame_clause(author.pick(_FEASIBLE), kind, subject, time=0.2, place=0, negated=0)
        clause.adverbials = [item for item in clause.adverbials if item.slot == TIME]
    elif word[0] == "when":
        clause = author.action(kind, subject, time=0, place=0.3, negated=0)
    else:
        negated = 0.3 if word[0] == "why" else 0
        clause = author.action(kind, subject, time=0.4, place=0.3, negated=negated)
    return word, clause if word[0] == "whether" else author.in_simple_past(clause)


def so_that(author: ClauseAuthor) -> Pair:
    """Anna is putting the key on the table so that Paul can find it: damit Paul ihn finden kann."""
    placing = author.pick(PLACINGS)
    noun = author.pick(placing.things)
    author.combine("object", "put", noun.head)
    thing = author.noun_phrase(noun, DEFINITE, author.chance(0.2) and not noun.english_always_plural)
    main = Clause(author.person(), placing.put, "progressive", [Object(thing, ACCUSATIVE)])
    main.adverbials.append(author.put_where(placing, noun))
    other = author.person(pronouns=False)
    purpose = Clause(other, author.pick(_SERVING), "can", [Object(thing.thing_pronoun(), ACCUSATIVE)])
    return _join(main, ("so that", "damit"), purpose)


def found_and_put(author: ClauseAuthor) -> Pair:
    """has found a key and put it on the table: ihn auf den Tisch gelegt."""
    placing = author.pick(PLACINGS)
    noun = author.pick(placing.things)
    author.combine("object", "put", noun.head)
    thing = author.noun_phrase(noun, INDEFINITE, adjective=0.4)
    subject = author.person()
    first = Clause(subject, author.pick((FIND, BUY)), "perfect", [Object(thing, ACCUSATIVE)])
    second = Clause(subject, placing.put, "perfect", [Object(thing.thing_pronoun(), ACCUSATIVE)])
    second.adverbials.append(author.put_where(placing, noun))
    return (
        f"{first.english()} and {second.english_participle()}",
        f"{first.german()} und {second.german_participle()}",
    )


TEMPLATES = (
    (7, because),
    (6, feeling),
    (6, bought_because),
    (5, although),
    (6, condition),
    (5, when),
    (4, meanwhile),
    (4, before),
    (9, reported),
    (5, indirect_question),
    (4, so_that),
    (3, found_and_put),
)

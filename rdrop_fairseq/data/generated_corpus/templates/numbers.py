"""Sentences about numbers, prices, measures and comparisons."""

from typing import Sequence

from rdrop_fairseq.data.generated_corpus.clause import (
    MANNER,
    PREDICATE,
    TIME,
    Adverbial,
    Clause,
    Object,
    Verb,
)
from rdrop_fairseq.data.generated_corpus.clause_author import FUTURE, PAST, ClauseAuthor
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import (
    ACCUSATIVE,
    GENITIVE,
    NOMINATIVE,
    german_verb,
    with_preposition,
)
from rdrop_fairseq.data.generated_corpus.lexicon import names
from rdrop_fairseq.data.generated_corpus.lexicon.adjectives import adjectives_for
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import (
    BARE,
    DEFINITE,
    THIS,
    Adjective,
    Fixed,
    Noun,
    NounPhrase,
    Pair,
    Phrase,
)
from rdrop_fairseq.data.generated_corpus.templates.common import BUY, COST, HAVE, IS, KNOW_PERSON, VISIT

_PAY = Verb(english_verb("pay paid paid"), german_verb("bezahlen bezahlt bezahlt"))
_WEIGH = Verb(english_verb("weigh"), german_verb("wiegen wiegt gewogen"))
_SELL = Verb(english_verb("sell sold sold"), german_verb("verkaufen verkauft verkauft"))
_DRINK = Verb(english_verb("drink drank drunk"), german_verb("trinken trinkt getrunken"))
_ORDER = Verb(english_verb("order"), german_verb("bestellen bestellt bestellt"))
# Kind or noun, and its price in euros.
_PRICES = (
    ("clothes", 12, 400),
    ("furniture", 30, 2000),
    ("device", 40, 1500),
    ("instrument", 80, 9000),
    ("household", 4, 99),
    ("book", 5, 60),
    ("picture", 15, 5000),
    ("bag", 9, 300),
    ("suitcase", 25, 400),
    ("ring", 90, 9000),
    ("bicycle", 90, 3000),
    ("car", 2000, 80_000),
    ("motorcycle", 900, 20_000),
    ("boat", 900, 60_000),
    ("horse", 900, 30_000),
)
_PRICED = [
    (noun, low, high)
    for name, low, high in _PRICES
    for noun in (BY_KIND[name] if name in BY_KIND and name != "picture" else [NOUNS[name]])
]
_WEIGHED = (("kilo", "ein Kilo", "Kilo"), ("pound", "ein Pfund", "Pfund"))
_BOTTLE, _GLASS, _CUP = (
    ("bottle", "eine Flasche", "Flaschen"),
    ("glass", "ein Glas", "Gläser"),
    ("cup", "eine Tasse", "Tassen"),
)
_SOLD_BY_WEIGHT = [
    NOUNS[name]
    for name in """apple pear plum cherry orange banana potato tomato carrot onion mushroom cheese meat rice
    butter fruit""".split()
]
_METRES, _KILOMETRES = ("metres", "Meter"), ("kilometres", "Kilometer")
_LONG, _HIGH, _WIDE, _DEEP = ("long", "lang"), ("high", "hoch"), ("wide", "breit"), ("deep", "tief")
_MEASURES = (
    ("bridge", 20, 900, _METRES, _LONG),
    ("river", 30, 900, _KILOMETRES, _LONG),
    ("street", 200, 999, _METRES, _LONG),
    ("tower", 25, 180, _METRES, _HIGH),
    ("mountain", 400, 4800, _METRES, _HIGH),
    ("tree", 4, 45, _METRES, _HIGH),
    ("church", 20, 160, _METRES, _HIGH),
    ("street", 5, 25, _METRES, _WIDE),
    ("river", 8, 300, _METRES, _WIDE),
    ("lake", 5, 240, _METRES, _DEEP),
    ("ship", 30, 390, _METRES, _LONG),
    ("train", 90, 400, _METRES, _LONG),
)
_INHABITANTS = ("inhabitants", "Einwohner")
_CONTENTS = (
    ("town", 12_000, 900_000, _INHABITANTS),
    ("village", 120, 4_900, _INHABITANTS),
    ("island", 300, 60_000, _INHABITANTS),
    ("theatre", 90, 2_400, ("seats", "Plätze")),
    ("cinema", 60, 900, ("seats", "Plätze")),
    ("stadium", 8_000, 80_000, ("seats", "Plätze")),
    ("plane", 40, 400, ("seats", "Plätze")),
    ("school", 90, 1_800, ("pupils", "Schüler")),
    ("university", 2_000, 45_000, ("students", "Studenten")),
    ("library", 4_000, 900_000, ("books", "Bücher")),
    ("hotel", 12, 400, ("rooms", "Zimmer")),
    ("novel", 90, 900, ("pages", "Seiten")),
    ("book", 60, 900, ("pages", "Seiten")),
    ("house", 4, 30, ("windows", "Fenster")),
    ("castle", 20, 250, ("rooms", "Zimmer")),
    ("factory", 30, 6_000, ("workers", "Arbeiter")),
)
_KILOS, _GRAMS, _TONS = ("kilos", "Kilo"), ("grams", "Gramm"), ("tons", "Tonnen")
_WEIGHTS = (
    ("suitcase", 4, 38, _KILOS),
    ("parcel", 2, 30, _KILOS),
    ("book", 150, 999, _GRAMS),
    ("dog", 3, 60, _KILOS),
    ("pig", 60, 290, _KILOS),
    ("horse", 300, 750, _KILOS),
    ("cow", 400, 900, _KILOS),
    ("elephant", 3, 6, _TONS),
    ("cupboard", 30, 180, _KILOS),
    ("fish", 120, 900, _GRAMS),
    ("lorry", 4, 38, _TONS),
    ("letter", 15, 90, _GRAMS),
)
_OLD = [NOUNS[name] for name in ("church", "castle", "bridge", "tower", "town hall", "tree", "theatre")]
_GRADED = frozenset(
    """big small old new long short wide narrow beautiful expensive cheap heavy light modern comfortable dark
    bright quiet warm cold interesting boring exciting funny difficult important famous friendly
    clever fast slow""".split()
)
_COMPARED = [
    [noun for kind in kinds for noun in BY_KIND[kind]]
    for kinds in (
        ("clothes",),
        ("furniture",),
        ("device",),
        ("vehicle", "public transport"),
        ("building",),
        ("reading",),
        ("story",),
        ("event",),
        ("room",),
    )
]
_IN_TOWN = [
    NOUNS[name]
    for name in """church museum hotel restaurant theatre bridge tower park library street school café cinema
    market house""".split()
]
_SIBLINGS = [NOUNS[name] for name in ("brother", "sister", "husband", "wife")]
_SELLERS = [NOUNS[name] for name in ("museum", "theatre", "cinema", "zoo", "stadium")]


def _number(author: ClauseAuthor, low: int, high: int) -> Pair:
    """A number whose noun is in the plural in German whatever it ends in, so not 101 or 1201."""
    number = author.integer(low, high)
    if number > 1000 and author.chance(0.5):
        size = 10 ** (len(str(number)) - 2)  # Round, as in speech.
        number = number // size * size
    return author.number(number + 1 if number % 100 == 1 else number)


def _euros(author: ClauseAuthor, low: int, high: int) -> Pair:
    """A sum of money, a small one often with cents: drei Euro fünfzig."""
    english, german = _number(author, low, high)
    if high <= 100 and author.chance(0.5):
        english_cents, german_cents = author.number(author.integer(5, 99))
        return f"{english} euros and {english_cents} cents", f"{german} Euro {german_cents}"
    return f"{english} euros", f"{german} Euro"


def price(author: ClauseAuthor) -> Pair:
    noun, low, high = author.pick(_PRICED)
    if author.chance(0.25):
        thing = author.owned(noun)
    else:
        thing = author.noun_phrase(noun, author.pick((DEFINITE, THIS)), adjective=0.5, compound=0.4)
    amount = Object(Fixed(*_euros(author, low, high)), ACCUSATIVE)
    if author.chance(0.5):
        # "The glasses cost" could be present or past, so the plural is always the present.
        tense = "present" if thing.english_plural else author.pick(("present", "past"))
        clause = Clause(thing, COST, tense, [amount])
    else:
        clause = Clause(author.person(), _PAY, author.pick(("past", "past", "must", "had to")), [amount])
        german = with_preposition("für", thing.german(ACCUSATIVE))
        # German names what is paid for before the sum.
        clause.adverbials.append(Adverbial(f"for {thing.english('object')}", german, MANNER))
    return clause.in_main()


def quantity(author: ClauseAuthor) -> Pair:
    """two bottles of milk, drei Kilo Kartoffeln."""
    if author.chance(0.5):
        noun, unit = author.pick(_SOLD_BY_WEIGHT), author.pick(_WEIGHED)
    else:
        noun = author.pick(BY_KIND["drink"])
        unit = _CUP if noun.head in ("coffee", "tea", "cocoa") else author.pick((_BOTTLE, _GLASS))
    to_go = unit not in (_CUP, _GLASS)
    stuff = author.noun_phrase(noun, BARE, not noun.mass, adjective=0.25, compound=0)
    number = author.integer(1, 12)
    if number == 1:
        english, german = f"a {unit[0]}", unit[1]
    else:
        english_number, german_number = author.number(number)
        english, german = (
            f"{english_number} {'glasse' if unit is _GLASS else unit[0]}s",
            f"{german_number} {unit[2]}",
        )
    amount = Fixed(f"{english} of {stuff.english()}", f"{german} {stuff.german(ACCUSATIVE)}", plural=number > 1)
    if author.chance(0.3):
        clause = Clause(amount, COST, "present", [Object(Fixed(*_euros(author, 2, 40)), ACCUSATIVE)])
        return clause.in_main()
    kind = author.pick((PAST, FUTURE))
    clause = Clause(author.person(), BUY if to_go else author.pick((_DRINK, _ORDER)), kind)
    clause.objects.append(Object(amount, ACCUSATIVE))
    author.add_time(clause, kind, 0.6, False)
    clause.adverbials.append(author.place(("supermarket", "market") if to_go else ("restaurant", "café", "hotel")))
    return clause.in_main()


def age(author: ClauseAuthor) -> Pair:
    if author.chance(0.3):
        subject: Phrase = author.noun_phrase(author.pick(_OLD), author.pick((DEFINITE, THIS)), adjective=0)
        english, german = _number(author, 102, 999)
    else:
        subject = author.somebody()
        english, german = author.number(author.integer(18, 99))
    years = Adverbial(f"{english} years old", f"{german} Jahre alt", PREDICATE)
    clause = Clause(subject, IS, "present", adverbials=[years])
    if author.chance(0.25):
        clause.adverbials.append(Adverbial(*author.pick((("today", "heute"), ("now", "jetzt"))), TIME))
    return clause.in_main()


def measure(author: ClauseAuthor) -> Pair:
    """The bridge is ninety-eight metres long."""
    name, low, high, unit, dimension = author.pick(_MEASURES)
    subject = author.noun_phrase(NOUNS[name], author.pick((DEFINITE, THIS)), adjective=0.4)
    english, german = _number(author, low, high)
    words = (f"{english} {unit[0]} {dimension[0]}", f"{german} {unit[1]} {dimension[1]}")
    clause = Clause(subject, IS, "present", adverbials=[Adverbial(*words, PREDICATE)])
    return clause.in_main()


def how_many(author: ClauseAuthor) -> Pair:
    """The town has forty-seven thousand inhabitants."""
    name, low, high, counted = author.pick(_CONTENTS)
    subject: Phrase = author.noun_phrase(NOUNS[name], author.pick((DEFINITE, DEFINITE, THIS)), adjective=0.4)
    if name == "town" and author.chance(0.5):
        subject = Fixed(*author.pick(names.CITIES))
    english, german = _number(author, low, high)
    amount = Fixed(f"{english} {counted[0]}", f"{german} {counted[1]}")
    clause = Clause(subject, HAVE, "present", [Object(amount, ACCUSATIVE)])
    return clause.in_main()


def weight(author: ClauseAuthor) -> Pair:
    name, low, high, unit = author.pick(_WEIGHTS)
    subject = author.noun_phrase(NOUNS[name], author.pick((DEFINITE, THIS)), adjective=0.5)
    english, german = _number(author, low, high)
    amount = Fixed(f"{english} {unit[0]}", f"{german} {unit[1]}")
    clause = Clause(subject, _WEIGH, "present", [Object(amount, ACCUSATIVE)])
    return clause.in_main()


def distance(author: ClauseAuthor) -> Pair:
    """It is ... kilometres from Cologne to Berlin."""
    start, goal = author.pick(names.CITIES), author.pick(names.CITIES)
    if start == goal:
        return distance(author)
    english, german = _number(author, 35, 1800)
    return (
        f"it is {english} kilometres from {start[0]} to {goal[0]}",
        f"von {start[1]} nach {goal[1]} sind es {german} Kilometer",
    )


def arithmetic(author: ClauseAuthor) -> Pair:
    """The results are right."""
    first, second = author.integer(240, 480), author.integer(3, 239)
    operator = author.pick(("plus", "minus"))
    result = first + second if operator == "plus" else first - second
    (first_english, first_german), (second_english, second_german) = (
        author.number(first),
        author.number(second),
    )
    english, german = author.number(result)
    return (
        f"{first_english} {operator} {second_english} is {english}",
        f"{first_german} {operator} {second_german} ist {german}",
    )


def temperature(author: ClauseAuthor) -> Pair:
    city = author.pick(names.CITIES)
    english, german = author.number(author.integer(2, 38))
    be, german_be = author.pick((("is", "sind es"), ("was", "waren es")))
    return f"in {city[0]} it {be} {english} degrees", f"in {city[1]} {german_be} {german} Grad"


def tickets_sold(author: ClauseAuthor) -> Pair:
    """The museum sold forty-seven thousand tickets last year."""
    subject = author.noun_phrase(author.pick(_SELLERS), DEFINITE)
    english, german = _number(author, 300, 90_000)
    amount = Fixed(f"{english} tickets", f"{german} Eintrittskarten")
    clause = Clause(subject, _SELL, "past", [Object(amount, ACCUSATIVE)], [author.past_period()])
    if author.chance(0.5):
        clause.bring_to_front(clause.adverbials[0])
    return clause.in_main()


def comparison(author: ClauseAuthor) -> Pair:
    """more expensive than the old bicycle: teurer als das alte Fahrrad; as old as: so alt wie."""
    nouns = author.pick(_COMPARED)
    first, second = author.pick(nouns), author.pick(nouns)
    shared = _graded(first, adjectives_for(second))
    if first is second or not shared:
        return comparison(author)
    chosen = author.pick(shared)
    author.combine("adjective", chosen.english, first.head)
    subject, other = [author.noun_phrase(noun, DEFINITE, adjective=0.2) for noun in (first, second)]
    negated = author.chance(0.2)
    if author.chance(0.6):
        much, viel = ("much ", "viel ") if author.chance(0.25) and not negated else ("", "")
        english = f"{much}{chosen.english_comparative} than {other.english()}"
        german = f"{viel}{chosen.german.comparative} als {other.german(NOMINATIVE)}"
    else:
        english = f"as {chosen.english} as {other.english()}"
        german = f"so {chosen.german.predicative} wie {other.german(NOMINATIVE)}"
    clause = Clause(subject, IS, "present", adverbials=[Adverbial(english, german, PREDICATE)], negated=negated)
    if subject.english_plural != other.english_plural:
        return comparison(author)
    return clause.in_main()


def _graded(noun: Noun, among: Sequence[Adjective]) -> Sequence[Adjective]:
    return [item for item in adjectives_for(noun) if item in among and item.english in _GRADED]


def older_by(author: ClauseAuthor) -> Pair:
    """Anna is three years older than her brother."""
    subject = author.pick((author.name, author.title))()
    other = author.relative(subject, author.pick([noun for noun in _SIBLINGS if _may_have(subject, noun)]))
    english, german = author.number(author.integer(2, 29))
    word, german_word = author.pick((("older", "älter"), ("younger", "jünger")))
    english = f"{english} years {word} than {other.english()}"
    german = f"{german} Jahre {german_word} als {other.german(NOMINATIVE)}"
    clause = Clause(subject, IS, "present", adverbials=[Adverbial(english, german, PREDICATE)])
    return clause.in_main()


def _may_have(subject: Phrase, noun: Noun) -> bool:
    return noun.head in ("brother", "sister") or noun.sex != subject.sex


def superlative(author: ClauseAuthor) -> Pair:
    """the oldest church in the town: die älteste Kirche der Stadt."""
    noun = author.pick(_IN_TOWN)
    chosen = author.pick(_graded(noun, adjectives_for(noun)))
    author.combine("adjective", chosen.english, noun.head)
    if author.chance(0.5):
        city = author.pick(names.CITIES)
        after = (f"in {city[0]}", f"in {city[1]}")
    else:
        town = NounPhrase(DEFINITE, NOUNS["town"])
        after = (f"in {town.english()}", town.german(GENITIVE))
    most = chosen._replace(
        english=chosen.english_superlative,
        german=chosen.german._replace(attributive=chosen.german.superlative),
    )
    thing = NounPhrase(DEFINITE, author.compound(noun, 0.2), (most,), after=after)
    if author.chance(0.5):
        predicate = Adverbial(thing.english(), thing.german(NOMINATIVE), PREDICATE)
        tense = author.pick(("present", "preterite"))
        clause = Clause(NounPhrase(THIS, noun), IS, tense, adverbials=[predicate])
    else:
        verb, tense = author.pick(((VISIT, "past"), (KNOW_PERSON, "present"), (VISIT, "would like to")))
        clause = Clause(author.person(), verb, tense, [Object(thing, ACCUSATIVE)])
    return clause.in_main()


TEMPLATES = (
    (5, price),
    (3, quantity),
    (3, age),
    (3, measure),
    (5, how_many),
    (2, weight),
    (2, distance),
    (1, arithmetic),
    (1, temperature),
    (1, tickets_sold),
    (4, comparison),
    (1, older_by),
    (3, superlative),
)

"""What stands, lies or hangs, and where: English says put, German stellen, legen or hängen."""

from typing import List, NamedTuple

from rdrop_fairseq.data.generated_corpus.clause import BE, Verb
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import german_verb
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import Noun


class Target(NamedTuple):
    """A two-way preposition and what it governs: accusative for motion, dative for location."""

    english_to: str
    english_at: str
    german: str
    noun: Noun


class Placing(NamedTuple):
    things: List[Noun]
    targets: List[Target]
    put: Verb
    located: Verb


def _nouns(words: str) -> List[Noun]:
    return [NOUNS[word.replace("_", " ")] for word in words.split()]


def _targets(rows: str) -> List[Target]:
    """Rows of ``english whither / english where: german preposition: nouns``."""
    targets = []
    for row in rows.strip().splitlines():
        english, german, words = row.strip().split(": ")
        english_to, english_at = english.split(" / ")
        targets += [Target(english_to, english_at, german, noun) for noun in _nouns(words)]
    return targets


_STAND = (Verb(english_verb("put put put"), german_verb("stellen stellt gestellt")), "stehen steht gestanden")
_LIE = (Verb(english_verb("put put put"), german_verb("legen legt gelegt")), "liegen liegt gelegen")
_HANG = (Verb(english_verb("hang hung hung"), german_verb("hängen hängt gehängt")), "hängen hängt gehangen")
_ROWS = (
    (
        _STAND,
        "vase bottle cup plate glass candle radio computer pot bowl pan box printer",
        """
        on / on: auf: table shelf cupboard desk balcony
        next to / next to: neben: lamp oven computer telephone radio fridge
        into / in: in: cupboard kitchen cellar
        under / under: unter: table desk
        in front of / in front of: vor: mirror
        """,
    ),
    (
        _STAND,
        "chair armchair ladder basket suitcase bucket lamp television box bench",
        """
        next to / next to: neben: bed sofa door window armchair cupboard desk
        into / in: in: kitchen corner cellar garage living_room garden
        under / under: unter: window tree
        in front of / in front of: vor: window door house
        behind / behind: hinter: door sofa house
        """,
    ),
    (
        _LIE,
        "book letter newspaper key photo map spectacles ticket magazine postcard glove bill contract "
        "calendar camera report scarf knife fork spoon",
        """
        on / on: auf: table bed sofa chair shelf desk bench floor
        into / in: in: drawer basket box bag suitcase cupboard
        under / under: unter: bed pillow table sofa
        next to / next to: neben: lamp computer telephone bed plate radio
        """,
    ),
    (
        _LIE,
        "blanket pillow towel umbrella ball hat sweater",
        """
        on / on: auf: table bed sofa chair armchair bench floor
        into / in: in: basket box suitcase cupboard
        under / under: unter: bed table sofa
        next to / next to: neben: bed bag suitcase
        """,
    ),
    (
        _HANG,
        "picture mirror clock calendar photo map drawing",
        """
        on / on: an: wall
        above / above: über: sofa bed desk table
        next to / next to: neben: door window mirror
        """,
    ),
    (
        _HANG,
        "coat jacket suit dress shirt",
        """
        next to / next to: neben: door mirror
        into / in: in: cupboard
        """,
    ),
)
PLACINGS: List[Placing] = [
    Placing(_nouns(things), _targets(rows), put, Verb(BE, german_verb(located)))
    for (put, located), things, rows in _ROWS
]

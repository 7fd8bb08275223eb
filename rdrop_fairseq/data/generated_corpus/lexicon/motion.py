"""Going somewhere: verbs with the destinations and the vehicles that go with them."""

from typing import List, NamedTuple, Tuple

from rdrop_fairseq.data.generated_corpus.clause import MANNER, Adverbial, Verb
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import german_verb


class Motion(NamedTuple):
    verb: Verb
    destinations: Tuple[str, ...]  # place, city, country, person, home, outdoors
    manner: List[Adverbial]
    long: bool


def _by(*pairs: Tuple[str, str]) -> List[Adverbial]:
    return [Adverbial(f"by {english}", f"mit {german}", MANNER) for english, german in pairs]


_MANNERS = {
    "-": [],
    "far": _by(("train", "dem Zug"), ("bus", "dem Bus"), ("car", "dem Auto")),
    "near": _by(("bus", "dem Bus"), ("taxi", "dem Taxi"), ("tram", "der Straßenbahn"), ("bicycle", "dem Fahrrad")),
}
_ROWS = """
    go went gone | gehen geht gegangen sein | place person home | -
    go went gone | fahren fährt gefahren sein | city | far
    go went gone | fahren fährt gefahren sein | place | near
    drive drove driven | fahren fährt gefahren sein | city place home | mit dem Auto
    walk | gehen geht gegangen sein | place home | zu Fuß
    cycle | fahren fährt gefahren sein | place home | mit dem Fahrrad
    run ran run | laufen läuft gelaufen sein | place home | -
    travel | reisen reist gereist sein | city country | -
    fly flew flown | fliegen fliegt geflogen sein | city country | -
    move | ziehen zieht gezogen sein | city country | -
    return | zurück|kehren kehrt zurückgekehrt sein | city country | -
"""


def _motion(row: str) -> Motion:
    english, german, destinations, manner = row.strip().split(" | ")
    # A manner that is part of the English verb has no English words: walk is zu Fuß gehen.
    manners = _MANNERS[manner] if manner in _MANNERS else [Adverbial("", manner, MANNER)]
    kinds = tuple(destinations.split())
    verb = Verb(english_verb(english), german_verb(german))
    return Motion(verb, kinds, manners, long="city" in kinds or "country" in kinds)


MOTIONS = [_motion(row) for row in _ROWS.strip().splitlines()]
DESTINATIONS = (
    "station market church school library theatre museum cinema restaurant supermarket park "
    "university airport harbour lake beach bakery pharmacy bank hotel castle zoo office factory "
    "hospital village café forest garden"
).split()

"""When, where and how: fixed adverbials, and the prepositions that go with places."""

from typing import Dict, List, NamedTuple

from rdrop_fairseq.data.generated_corpus.clause import FREQUENCY, MANNER, TIME, Adverbial
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import Noun


def _adverbials(text: str, slot: str) -> List[Adverbial]:
    result = []
    for row in text.strip().splitlines():
        english, german = row.strip().split(" = ")
        result.append(Adverbial(english, german, slot))
    return result


# By the time that the tense of the clause speaks of; "long" ones are for what takes days or is rarely done.
TIMES: Dict[str, List[Adverbial]] = {
    name: _adverbials(rows, TIME)
    for name, rows in {
        "past": """
            yesterday = gestern
            the day before yesterday = vorgestern
            yesterday morning = gestern Morgen
            yesterday afternoon = gestern Nachmittag
            yesterday evening = gestern Abend
            this morning = heute Morgen
            last night = letzte Nacht
            a few minutes ago = vor ein paar Minuten
            half an hour ago = vor einer halben Stunde
        """,
        "past long": """
            last week = letzte Woche
            last month = letzten Monat
            last year = letztes Jahr
            last summer = letzten Sommer
            last winter = letzten Winter
            last spring = letzten Frühling
            last autumn = letzten Herbst
            last weekend = letztes Wochenende
            a few days ago = vor ein paar Tagen
            a long time ago = vor langer Zeit
            at the weekend = am Wochenende
        """,
        "now": """
            right now = gerade
            at the moment = im Moment
        """,
        "now long": """
            today = heute
            this morning = heute Morgen
            this afternoon = heute Nachmittag
            this evening = heute Abend
            this week = diese Woche
            at the moment = im Moment
        """,
        "habit": """
            every day = jeden Tag
            every morning = jeden Morgen
            every evening = jeden Abend
            every Saturday = jeden Samstag
            every Sunday = jeden Sonntag
            twice a week = zweimal pro Woche
            twice a day = zweimal am Tag
            at the weekend = am Wochenende
            during the week = unter der Woche
            in the evening = abends
            in the morning = morgens
            in the afternoon = nachmittags
            at night = nachts
        """,
        "habit long": """
            every week = jede Woche
            every month = jeden Monat
            every year = jedes Jahr
            every summer = jeden Sommer
            every winter = jeden Winter
            in summer = im Sommer
            in winter = im Winter
            in spring = im Frühling
            in autumn = im Herbst
            once a month = einmal im Monat
            once a week = einmal pro Woche
            three times a year = dreimal im Jahr
        """,
        "future": """
            tomorrow = morgen
            the day after tomorrow = übermorgen
            tomorrow morning = morgen früh
            tomorrow afternoon = morgen Nachmittag
            tomorrow evening = morgen Abend
            this evening = heute Abend
            soon = bald
        """,
        "future long": """
            next week = nächste Woche
            next month = nächsten Monat
            next year = nächstes Jahr
            next summer = nächsten Sommer
            next winter = nächsten Winter
            next weekend = nächstes Wochenende
        """,
    }.items()
}
# Those that a clock time can follow: yesterday at half past seven.
WHOLE_DAYS = frozenset("yesterday tomorrow today".split()) | {"every day", "the day after tomorrow"}
FREQUENCIES = _adverbials(
    """
    often = oft
    sometimes = manchmal
    always = immer
    never = nie
    usually = meistens
    rarely = selten
    """,
    FREQUENCY,
)
ALREADY = Adverbial("already", "schon", FREQUENCY)
_MANNERS = {
    adverbial.english: adverbial
    for adverbial in _adverbials(
        """
        quickly = schnell
        slowly = langsam
        carefully = vorsichtig
        thoroughly = gründlich
        quietly = leise
        loudly = laut
        alone = allein
        immediately = sofort
        patiently = geduldig
        secretly = heimlich
        well = gut
        badly = schlecht
        happily = fröhlich
        angrily = wütend
        with great joy = mit großer Freude
        without any help = ohne Hilfe
        by mistake = aus Versehen
        hard = hart
        gladly = gern
        for the first time = zum ersten Mal
        """,
        MANNER,
    )
}


def manner(name: str) -> Adverbial:
    return _MANNERS[name.replace("_", " ")]


class Place(NamedTuple):
    """Prepositions: where (dative in German), whither (accusative after in, an, auf; dative after zu)."""

    noun: Noun
    english_at: str
    german_at: str
    english_to: str
    german_to: str


_PLACES = """
    in in into in: kitchen bathroom living_room bedroom study classroom cellar garage garden forest
    in in to in: library hospital restaurant office factory village park hotel café
    at in to in: school museum theatre cinema supermarket bakery pharmacy swimming_pool stadium zoo
    in in to zu: castle church
    at in to zu: bank town_hall
    at an to zu: station university airport harbour bus_stop
    at auf to auf: market
    on auf onto auf: balcony
    on auf to auf: farm island
    in auf into auf: field
    at an to an: lake
    by an to zu: river
    on an to an: beach
"""
PLACES: Dict[str, Place] = {}
for _row in _PLACES.strip().splitlines():
    _prepositions, _names = _row.strip().split(": ")
    for _name in _names.split(" "):
        _name = _name.replace("_", " ")
        PLACES[_name] = Place(NOUNS[_name], *_prepositions.split(" "))
PLACE_GROUPS: Dict[str, List[str]] = {
    name: [place.replace("_", " ") for place in places.split()]
    for name, places in {
        "home": "living_room kitchen bedroom study garden balcony",
        "outdoors": "garden park forest beach lake river field",
        "study": "library study school university classroom office",
        "shop": "market supermarket bakery station",
        "town": "museum theatre park station market restaurant café hotel zoo castle stadium",
        "work": "office factory hospital hotel restaurant school bank bakery museum library airport "
        "university pharmacy town_hall station theatre farm",
        "meals": "kitchen restaurant garden balcony café hotel",
        "restaurants": "restaurant café hotel",
        "workshop": "garage cellar garden",
        "lost": "park forest station cinema school theatre restaurant library airport hotel museum",
        "arrivals": "station airport",
        "water": "lake river swimming_pool",
    }.items()
}

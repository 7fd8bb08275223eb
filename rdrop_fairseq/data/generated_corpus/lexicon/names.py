"""Names of persons, cities, countries and languages."""

from typing import List, NamedTuple

MEN = (
    "Paul Peter Martin Stefan Michael Daniel Jan Oskar Anton Emil David Simon Robert Karl Otto Leo Tim Erik "
    "Walter Florian Kurt Georg Julian Philipp"
).split()
WOMEN = (
    "Anna Maria Julia Laura Lena Sophie Emma Katharina Sabine Claudia Clara Greta Ida Nina Eva Martha "
    "Johanna Helga Lisa Frieda Petra Monika Hanna Ursula"
).split()
SURNAMES = (
    "Weber Müller Schneider Fischer Becker Hoffmann Richter Klein Wolf Schröder Neumann Braun Zimmermann "
    "Krüger Hartmann Lange Krause Lehmann Köhler Maier Huber Vogel Sommer Winter"
).split()


class Country(NamedTuple):
    english: str
    german: str
    german_in: str  # where
    german_to: str  # whither


def _pairs(text: str) -> List[List[str]]:
    return [(entry.split("=") * 2)[:2] for entry in text.split()]


CITIES = _pairs(
    "Berlin Hamburg Bremen Dresden Leipzig Frankfurt Stuttgart Bonn Munich=München Cologne=Köln "
    "Nuremberg=Nürnberg Hanover=Hannover Freiburg Kiel Vienna=Wien Salzburg Graz Zurich=Zürich "
    "Geneva=Genf Basel Paris "
    "London Rome=Rom Prague=Prag Venice=Venedig Warsaw=Warschau Copenhagen=Kopenhagen Lisbon=Lissabon "
    "Athens=Athen Brussels=Brüssel Milan=Mailand Naples=Neapel Oslo Madrid"
)
COUNTRIES = [
    Country(name, german, f"in {german}", f"nach {german}")
    for name, german in _pairs(
        "Germany=Deutschland Austria=Österreich France=Frankreich Italy=Italien Spain=Spanien "
        "Poland=Polen England Sweden=Schweden Norway=Norwegen Denmark=Dänemark Greece=Griechenland "
        "Japan Portugal Ireland=Irland "
        "Hungary=Ungarn Canada=Kanada"
    )
] + [
    Country("Switzerland", "die Schweiz", "in der Schweiz", "in die Schweiz"),
    Country("Turkey", "die Türkei", "in der Türkei", "in die Türkei"),
    Country("the Netherlands", "die Niederlande", "in den Niederlanden", "in die Niederlande"),
]
LANGUAGES = _pairs(
    "German=Deutsch English=Englisch French=Französisch Spanish=Spanisch Italian=Italienisch Polish=Polnisch "
    "Swedish=Schwedisch Danish=Dänisch Russian=Russisch Japanese=Japanisch Greek=Griechisch"
)

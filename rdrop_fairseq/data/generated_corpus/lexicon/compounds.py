"""Compounds: modifiers with their linking form in German, and the heads that they make sense with.

The English compound is two words (kitchen table), the German one is the linking form and the head without
its capital (Küchen + tisch); gender, genitive and plural are the head's.
"""

from typing import Dict, List

from rdrop_fairseq.data.generated_corpus.german import GermanNoun
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import Noun

# english modifier: linking form: heads
_ROWS = """
    kitchen: Küchen: table chair cupboard lamp shelf clock door window knife towel wall bench
    living room: Wohnzimmer: table cupboard lamp shelf carpet door window wall
    bedroom: Schlafzimmer: cupboard lamp mirror carpet door window wall
    bathroom: Badezimmer: cupboard lamp mirror shelf door window
    cellar: Keller: door window lamp key shelf
    garden: Garten: table chair bench door gate party lamp
    office: Büro: chair cupboard door key lamp clock table
    hotel: Hotel: room bed key restaurant garden director guest entrance
    school: Schul: book bag library garden trip bus door entrance director festival concert
    university: Universitäts: library garden theatre entrance
    hospital: Krankenhaus: bed garden entrance director room
    museum: Museums: director entrance garden
    church: Kirchen: door tower roof
    company: Firmen: car director party
    city: Stadt: library park theatre museum gate hospital festival
    village: Dorf: school church street festival doctor pharmacy
    state: Staats: museum theatre library contract
    police: Polizei: car dog report
    family: Familien: party photo trip car picture
    children's: Kinder: book bed room coat shoe bicycle party song doctor film chair
    women's: Damen: coat shoe bicycle hat glove
    men's: Herren: coat shoe bicycle hat suit glove
    guest: Gäste: room bed towel
    summer: Sommer: dress coat party trip concert hat shoe festival course
    winter: Winter: coat shoe jacket boot trip sweater
    spring: Frühlings: festival concert flower
    autumn: Herbst: festival concert coat
    evening: Abend: dress course concert newspaper performance
    morning: Morgen: newspaper coffee
    birthday: Geburtstags: cake party song guest present
    Christmas: Weihnachts: tree song party market concert present
    wedding: Hochzeits: dress cake guest photo party present picture
    work: Arbeits: contract shoe coat table jacket
    sun: Sonnen: hat
    rain: Regen: jacket boot hat
    travel: Reise: bag report plan book
    sports: Sport: bag shoe course teacher newspaper lesson trousers
    music: Musik: teacher lesson room school student course festival
    history: Geschichts: teacher book lesson exam course student
    art: Kunst: teacher book course museum exhibition student
    language: Sprach: course school teacher exam trip
    maths: Mathematik: teacher book lesson exam task student
    physics: Physik: teacher book lesson exam student
    chemistry: Chemie: teacher book lesson exam
    biology: Biologie: teacher book lesson exam
    dance: Tanz: teacher course school lesson shoe music
    piano: Klavier: teacher lesson concert
    guitar: Gitarren: teacher lesson concert
    violin: Geigen: teacher lesson concert
    bus: Bus: driver trip ticket
    taxi: Taxi: driver
    lorry: Lastwagen: driver
    car: Auto: key door radio window
    bicycle: Fahrrad: key bag
    ship: Schiffs: trip doctor cook
    train: Zug: trip ticket window
    newspaper: Zeitungs: article report
    love: Liebes: letter story song film poem novel
    adventure: Abenteuer: novel film story trip
    crime: Kriminal: novel film story
    apple: Apfel: cake juice tree pancake
    cherry: Kirsch: cake juice tree jam
    plum: Pflaumen: cake tree jam
    pear: Birnen: cake juice tree
    orange: Orangen: juice tree jam cake
    banana: Bananen: cake
    potato: Kartoffel: soup salad field pancake
    tomato: Tomaten: soup salad juice
    onion: Zwiebel: soup cake
    carrot: Karotten: soup cake juice salad
    mushroom: Pilz: soup
    vegetable: Gemüse: soup market garden
    fish: Fisch: soup market restaurant knife
    fruit: Obst: salad market cake garden basket
    nut: Nuss: cake bread
    chocolate: Schokoladen: cake egg biscuit
    cheese: Käse: knife cake bread roll
    bread: Brot: knife basket
    milk: Milch: bottle
    wine: Wein: glass bottle
    beer: Bier: glass bottle
    water: Wasser: glass bottle bucket
    tea: Tee: cup spoon glass
    coffee: Kaffee: cup spoon
    soup: Suppen: plate spoon bowl pot
    salad: Salat: bowl
    flower: Blumen: vase market garden pot
    rose: Rosen: garden bush
    wooden: Holz: table chair box door bridge house bench spoon bowl ladder
    leather: Leder: bag jacket shoe belt glove sofa armchair suitcase trousers
    glass: Glas: table door bowl vase
    gold: Gold: ring
    silver: Silber: ring spoon fork
    stone: Stein: house bridge floor tower
    woollen: Woll: scarf cap sock sweater blanket
    silk: Seiden: dress blouse scarf tie shirt
    cotton: Baumwoll: shirt trousers dress sock
    night: Nacht: train bus
    house: Haus: door key wall roof
    bath: Bade: towel
    paper: Papier: bag hat flower
    table: Tisch: lamp
    desk: Schreibtisch: lamp chair
"""


def _compound(modifier: str, linking_form: str, head: Noun) -> Noun:
    def joined(noun: GermanNoun) -> GermanNoun:
        return GermanNoun(
            linking_form + noun.singular.lower(),
            noun.gender,
            linking_form + noun.genitive.lower(),
            linking_form + noun.plural.lower(),
        )

    return head._replace(
        english=f"{modifier} {head.english}",
        english_plural=f"{modifier} {head.english_plural}",
        german=joined(head.german),
        feminine=joined(head.feminine) if head.feminine else None,
        parts=(modifier, head.english),
    )


COMPOUNDS: Dict[str, List[Noun]] = {}  # by head
for _row in _ROWS.strip().splitlines():
    _modifier, _linking_form, _heads = _row.strip().split(": ")
    for _head in _heads.split(" "):
        COMPOUNDS.setdefault(_head, []).append(_compound(_modifier, _linking_form, NOUNS[_head]))

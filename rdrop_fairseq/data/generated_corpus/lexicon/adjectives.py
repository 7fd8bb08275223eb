"""Adjectives with the kinds of nouns that they make sense with."""

import functools
from typing import List, Tuple

from rdrop_fairseq.data.generated_corpus import english
from rdrop_fairseq.data.generated_corpus.german import german_adjective
from rdrop_fairseq.data.generated_corpus.phrases import Adjective, Noun

_THINGS = "furniture household belonging container device vehicle clothes"
# english ("+" after it: compared with -er and -est; or three forms): german: kinds or single nouns
_ROWS = f"""
    red+: rot: clothes furniture belonging vehicle part household container -entrance -floor -hammer -window
        -bed -clock -mirror -ring -key -ticket -spectacles
    blue+: blau: clothes belonging vehicle part household container -window -roof -ring -key -ticket -entrance
        -floor -hammer
    green+: grün: clothes furniture belonging vehicle part container -window -mirror -ring -key -ticket
        -entrance -floor
    white+: weiß: clothes furniture belonging vehicle part household pet -key -mirror -hammer
    black+: schwarz: clothes furniture belonging vehicle pet device -fridge -oven -mirror
    yellow: gelb: clothes belonging household -key -ring -ticket -spectacles -hammer -knife -fork
    brown: braun: clothes furniture pet bag suitcase bear container -mirror -pig -sheep
    grey: grau: clothes mouse wolf suitcase sofa carpet cat donkey house castle church
    colourful: bunt: clothes picture bird flower carpet umbrella blanket
    big+: groß größer größt: {_THINGS} building room pet plant window gate outdoors wild_animal -street
        -spectacles -ticket -sunglasses
    small+: klein: {_THINGS} building room pet plant outdoors door window gate child boy girl -street
    old+: alt/alt älter ältest: {_THINGS} building structure person acquaintance instrument grandmother
        grandfather uncle aunt reading tree story pet part -boy -girl -child -prince -princess -queen -king
    new+: neu neuer neuest: {_THINGS} building bridge tower instrument reading story picture part plan idea
        rule
    young+: jung jünger jüngst: person acquaintance pet tree -mayor -judge
    tall+: groß größer größt: man woman boy girl pupil student waiter
    high+: hoch/hoh höher höchst: tower wall tree mountain church
    long+: lang länger längst: reading story event street river bridge dress coat skirt scarf ladder trousers
        -bill -party
    short+: kurz kürzer kürzest: reading story event skirt dress question answer trousers -newspaper -party
    wide+: breit: river street door bed bridge sofa
    narrow+: schmal: street bridge door bed river
    beautiful: schön: clothes furniture outdoors building song picture plant instrument vase ring bird horse
        garden princess town -street
    ugly: hässlich: clothes furniture building picture vase
    elegant: elegant: clothes suit furniture restaurant
    expensive: teuer/teur: clothes furniture device vehicle wine hotel restaurant flat ring instrument present
        course trip
    cheap+: billig: clothes furniture device wine hotel restaurant flat ticket belonging -ring
    heavy: schwer: furniture suitcase box parcel basket bag hammer -lamp -mirror
    light+: leicht: jacket suitcase parcel coat blanket bag
    empty: leer: container bottle glass cup bowl bag suitcase room restaurant theatre cinema bucket -bathroom
    full: voll: basket bottle glass bucket suitcase box bag
    clean: sauber: clothes household window floor room towel
    dirty: schmutzig: clothes household window floor room vehicle pig
    modern: modern: building furniture device picture -castle -church
    comfortable: bequem: sofa chair armchair bed shoe trousers boot
    broken: kaputt: device chair lamp umbrella bicycle cup spectacles window clock vehicle door
    round: rund: table mirror window basket carpet bowl
    fast+: schnell: car train ship boat horse bus bicycle motorcycle tram
    slow+: langsam: train bus ship computer donkey lorry tram
    sharp: scharf schärfer schärfst: knife
    dark+: dunkel/dunkl dunkler dunkelst: room forest street suit
    bright+: hell: room lamp kitchen
    quiet+: ruhig: room street village hotel garden beach
    warm+: warm wärmer wärmst: clothes -tie -belt -swimming_trunks blanket room milk water bread soup
    cold+: kalt kälter kältest: drink room soup -tea
    hot+: heiß: drink soup oven -juice -beer -wine
    fresh+: frisch: food dish mass_food milk juice -pancake -honey -rice -jam -chocolate -soup -cake -biscuit
    sweet+: süß: food_sweet cake juice wine jam honey
    delicious: köstlich: dish food_sweet cheese wine jam
    interesting: interessant: reading story event idea plan question answer museum journalist -bill -wedding
    boring: langweilig: book novel article report story event lecture -wedding -party
    exciting: spannend spannender spannendst: book novel story match report
    funny: lustig: story song picture postcard idea letter -play
    sad+: traurig: story song letter poem
    difficult: schwierig: task question text exam language decision problem word book
    easy: leicht: task question text exam rule answer
    important: wichtig: letter message contract meeting question decision exam task conference rule word
    strange+: seltsam: story message idea question picture -film
    famous: berühmt: writer painter singer actor actress musician scientist picture museum castle song film
        hotel lawyer cook photographer novel
    friendly: freundlich: person acquaintance -king -queen
    polite: höflich: waiter waitress pupil driver student policeman boy nurse policewoman guest
    clever: klug klüger klügst: pupil student lawyer girl boy child woman fox engineer man niece nephew
    hard-working: fleißig: son daughter nephew niece pupil student craftsman gardener farmer woman man baker
    lazy: faul: pupil cat boy student dog donkey brother
    brave: mutig: soldier policeman princess boy girl policewoman prince pilot
    strict: streng: teacher judge boss director father king doctor
    rich: reich: farmer king man woman lawyer uncle
    poor: arm ärmer ärmst: farmer man painter woman musician writer
    strong: stark stärker stärkst: bear man horse boy craftsman coffee
    curious: neugierig: child tourist neighbour cat boy girl monkey journalist
    shy: schüchtern: boy girl pupil student child cousin prince
    popular: beliebt: singer teacher restaurant song actor actress mayor café film
    hungry: hungrig: pet wild_animal child boy guest
    wild: wild: wild_animal horse duck rabbit -mouse
    practical: praktisch praktischer praktischst: bag device bicycle ladder
    good: gut besser best: book idea film restaurant hotel answer wine doctor teacher cook song plan friend
    bad: schlecht: film idea answer restaurant hotel plan
"""
_GROUPS = {
    "food_sweet": "apple pear plum cherry orange banana",
}
_FORMS = {
    "good": ("better", "best"),
    "bad": ("worse", "worst"),
    "dirty": ("dirtier", "dirtiest"),
    "heavy": ("heavier", "heaviest"),
    "easy": ("easier", "easiest"),
    "funny": ("funnier", "funniest"),
    "lazy": ("lazier", "laziest"),
    "hungry": ("hungrier", "hungriest"),
    "friendly": ("friendlier", "friendliest"),
    "rich": ("richer", "richest"),
    "poor": ("poorer", "poorest"),
    "strong": ("stronger", "strongest"),
    "brave": ("braver", "bravest"),
    "ugly": ("uglier", "ugliest"),
    "sharp": ("sharper", "sharpest"),
    "strict": ("stricter", "strictest"),
    "clever": ("cleverer", "cleverest"),
    "clean": ("cleaner", "cleanest"),
}


def _parse(row: str) -> Adjective:
    word, german, kinds = row.split(": ")
    simple = word.rstrip("+")
    if simple in _FORMS:
        comparative, superlative = _FORMS[simple]
    elif word != simple:
        comparative, superlative = english.comparative(simple), english.superlative(simple)
    else:
        comparative, superlative = f"more {simple}", f"most {simple}"
    names: List[str] = []
    for name in kinds.split():
        names.extend(_GROUPS[name].split() if name in _GROUPS else [name.replace("_", " ")])
    return Adjective(simple, comparative, superlative, german_adjective(german), tuple(names))


def _rows(text: str) -> List[str]:
    rows: List[str] = []
    for line in text.strip().splitlines():
        if ": " in line:
            rows.append(line.strip())
        else:
            rows[-1] += " " + line.strip()
    return rows


ADJECTIVES: Tuple[Adjective, ...] = tuple(_parse(row) for row in _rows(_ROWS))


@functools.lru_cache(maxsize=None)
def _fitting(noun_english: str, kind: str) -> Tuple[Adjective, ...]:
    return tuple(
        adjective
        for adjective in ADJECTIVES
        if (kind in adjective.kinds or noun_english in adjective.kinds) and "-" + noun_english not in adjective.kinds
    )


def adjectives_for(noun: Noun) -> Tuple[Adjective, ...]:
    """The adjectives that make sense with a noun, or with the last part of a compound."""
    return _fitting(noun.head, noun.kind)

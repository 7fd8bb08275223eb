"""Sentences about clock times, weekdays and dates."""

from typing import Sequence

from rdrop_fairseq.data.generated_corpus.clause import PLACE, PREDICATE, TIME, Adverbial, Clause, Object, Verb
from rdrop_fairseq.data.generated_corpus.clause_author import FUTURE, PAST, ClauseAuthor
from rdrop_fairseq.data.generated_corpus.clock_and_calendar import MONTHS, WEEKDAYS, timetable_clock
from rdrop_fairseq.data.generated_corpus.english import english_verb, possessive
from rdrop_fairseq.data.generated_corpus.german import (
    ACCUSATIVE,
    DATIVE,
    GermanNoun,
    german_verb,
    with_preposition,
)
from rdrop_fairseq.data.generated_corpus.lexicon import names
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import (
    DEFINITE,
    Fixed,
    Noun,
    NounPhrase,
    Pair,
    with_ordinal,
)
from rdrop_fairseq.data.generated_corpus.templates.common import HAVE, IS, LIVE, WORK

_BEGIN = Verb(english_verb("begin began begun"), german_verb("beginnen beginnt begonnen"))
_END = Verb(english_verb("end"), german_verb("enden"))
_LAST = Verb(english_verb("last"), german_verb("dauern"))
_TAKE_PLACE = Verb(english_verb("take took taken +place"), german_verb("statt|finden findet stattgefunden"))
_LEAVE = Verb(english_verb("leave left left"), german_verb("ab|fahren fährt abgefahren sein"))
_ARRIVE = Verb(english_verb("arrive"), german_verb("an|kommen kommt angekommen sein"))
_CELEBRATE = Verb(english_verb("celebrate"), german_verb("feiern"))
_BEAR = Verb(english_verb("bear bore born"), german_verb("gebären gebiert geboren"))
_MORNING, _EVENING, _ANY_HOUR = range(5, 11), (6, 7, 8, 9, 10, 11), range(1, 13)
# Verb, and the hours that make sense.
_ROUTINES = tuple(
    (Verb(english_verb(english), german_verb(german)), hours)
    for english, german, hours in (
        ("get got got ~up", "auf|stehen steht aufgestanden sein", _MORNING),
        ("wake woke woken ~up", "auf|wachen wacht aufgewacht sein", _MORNING),
        ("leave left left +home", "los|gehen geht losgegangen sein", _MORNING),
        ("have had had +breakfast", "frühstücken", _MORNING),
        ("come came come +home", "nach_Hause_|kommen kommt nach_Hause_gekommen sein", _ANY_HOUR),
        ("have had had +dinner", "zu_Abend_|essen isst zu_Abend_gegessen", (5, 6, 7, 8)),
        ("go went gone +to +bed", "ins_Bett_|gehen geht ins_Bett_gegangen sein", (8, 9, 10, 11)),
        ("fall fell fallen +asleep", "ein|schlafen schläft eingeschlafen sein", (8, 9, 10, 11)),
    )
)
_EVENTS = [noun for noun in BY_KIND["event"] if noun.head != "trip"]
_DAY_EVENTS = [noun for noun in _EVENTS if noun.head not in ("lesson", "course", "lecture")]
_PERIODS = [NOUNS[name] for name in ("exhibition", "festival", "course", "conference", "trip")]
_VENUES = {
    "match": ("stadium", "park"),
    "wedding": ("church", "castle", "hotel", "park"),
    "exam": ("school", "university"),
    "course": ("school", "university"),
    "lesson": ("school",),
    "lecture": ("university",),
    "": ("park", "castle", "hotel", "theatre", "university", "school", "museum", "church"),
}
_OPEN = [
    NOUNS[name]
    for name in ("museum", "library", "supermarket", "bank", "zoo", "bakery", "pharmacy", "café", "town hall")
]
_ROOMS = [NOUNS[name] for name in ("office", "flat", "study", "library", "classroom", "restaurant")]
_ADVISERS = [NOUNS[name] for name in ("doctor", "dentist", "lawyer", "mayor", "director", "judge")]
_STOREY = Noun("floor", "floors", GermanNoun("Stock", "m", "Stocks", "Stockwerke"), "part")
_WEEKDAYS = tuple((f"on {english}", f"am {german}") for english, german in WEEKDAYS)
_DAYS = {
    "past": (("yesterday", "gestern"), *_WEEKDAYS),
    "future": (("tomorrow", "morgen"), *_WEEKDAYS),
    "must": (("tomorrow", "morgen"), *_WEEKDAYS),
    "present": (
        ("every day", "jeden Tag"),
        *((f"on {english}s", f"{german.lower()}s") for english, german in WEEKDAYS),
    ),
}


def _at_clock(author: ClauseAuthor, timetable: float, hours: Sequence[int] = _ANY_HOUR) -> Pair:
    """at half past seven, um halb acht; at 7:45 pm, um 19:45 Uhr."""
    if author.chance(timetable):
        english, german = timetable_clock(author.integer(7, 22), author.integer(1, 59))
        return f"at {english}", f"um {german}"
    if author.chance(0.25):
        hours, day_part = author.pick(
            ((_MORNING, ("in the morning", "morgens")), (_EVENING, ("in the evening", "abends")))
        )
        english, german = author.clock(hours)
        return f"at {english} {day_part[0]}", f"um {german} {day_part[1]}"
    english, german = author.clock(hours)
    return f"at {english}", f"um {german}"


def what_time(author: ClauseAuthor) -> Pair:
    english_clock, german_clock = author.clock()
    english_degree, german_degree = author.pick((("", ""), ("already ", "schon "), ("only ", "erst ")))
    if author.chance(0.5):
        city = author.city(PLACE)
        return (
            f"{city.english} it is {english_degree}{english_clock}",
            f"{city.german} ist es {german_degree}{german_clock}",
        )
    return f"it is {english_degree}{english_clock}", f"es ist {german_degree}{german_clock}"


def departure(author: ClauseAuthor) -> Pair:
    """The train to Munich leaves at twenty to nine: fährt ... ab."""
    noun = author.compound(NOUNS[author.pick(("train", "bus"))], 0.2)
    here, there = author.pick(names.CITIES), author.pick(names.CITIES)
    tense = author.pick(("present", "present", "past", "future"))
    clock = Adverbial(*_at_clock(author, 0.35), TIME)
    time = clock
    if tense != "present":
        day = author.pick(_DAYS[tense])
        time = Adverbial(f"{clock.english} {day[0]}", f"{day[1]} {clock.german}", TIME)
    if author.chance(0.5):
        vehicle = NounPhrase(DEFINITE, noun, after=(f"to {there[0]}", f"nach {there[1]}"))
        clause = Clause(vehicle, _LEAVE, tense, adverbials=[time])
    else:
        vehicle = NounPhrase(DEFINITE, noun, after=(f"from {there[0]}", f"aus {there[1]}"))
        clause = Clause(vehicle, _ARRIVE, tense, adverbials=[time])
        if here != there and author.chance(0.6):
            clause.adverbials.append(Adverbial(f"in {here[0]}", f"in {here[1]}", PLACE))
    if tense == "present" and author.chance(0.3):
        clause.bring_to_front(time)
    return clause.in_main()


def begins(author: ClauseAuthor) -> Pair:
    event = author.noun_phrase(author.pick(_EVENTS), DEFINITE, compound=0.4)
    tense = author.pick(("present", "present", "past", "future"))
    english_clock, german_clock = _at_clock(author, 0.2)
    if tense != "present":
        day = author.pick(_DAYS[tense])
        english_clock, german_clock = f"{english_clock} {day[0]}", f"{day[1]} {german_clock}"
    clause = Clause(event, author.pick((_BEGIN, _BEGIN, _END)), tense)
    clause.adverbials.append(Adverbial(english_clock, german_clock, TIME))
    if author.chance(0.3):
        clause.adverbials.append(_venue(author, event))
    return clause.in_main()


def _venue(author: ClauseAuthor, event: NounPhrase) -> Adverbial:
    return author.place(_VENUES.get(event.noun.head, _VENUES[""]))


def opening_hours(author: ClauseAuthor) -> Pair:
    """From nine o'clock to half past six: von neun Uhr bis halb sieben."""
    place = author.noun_phrase(author.pick(_OPEN), DEFINITE)
    (start, german_start), (end, german_end) = author.clock((7, 8, 9, 10)), author.clock((4, 5, 6, 12))
    hours = Adverbial(f"open from {start} to {end}", f"von {german_start} bis {german_end} geöffnet", PREDICATE)
    day = Adverbial(*author.pick(_DAYS["present"]), TIME)
    clause = Clause(place, IS, "present", adverbials=[hours, day])
    if author.chance(0.4):
        clause.bring_to_front(day)
    return clause.in_main()


def routine(author: ClauseAuthor) -> Pair:
    """My brother gets up at a quarter past six every day: separable verbs."""
    verb, hours = author.pick(_ROUTINES)
    tense = author.pick(("present", "past", "must"))
    if tense == "must" and verb.english.base in ("fall", "wake"):
        tense = "past"
    day = author.pick(_DAYS[tense])
    english_clock, german_clock = author.clock(hours)
    time = Adverbial(f"at {english_clock} {day[0]}", f"{day[1]} um {german_clock}", TIME)
    clause = Clause(author.person(), verb, tense, adverbials=[time])
    if tense == "present" and author.chance(0.3):
        clause.adverbials = [Adverbial(f"at {english_clock}", f"um {german_clock}", TIME)]
        clause.bring_to_front(clause.adverbials[0])
        clause.front = Adverbial(f"{day[0]} {clause.front.english}", f"{day[1]} {clause.front.german}", TIME)
    return clause.in_main()


def appointment(author: ClauseAuthor) -> Pair:
    """She has an appointment with the dentist: einen Termin beim Zahnarzt."""
    adviser = NounPhrase(DEFINITE, author.pick(_ADVISERS))
    german = f"einen Termin {with_preposition('bei', adviser.german(DATIVE))}"
    thing = Object(Fixed(f"an appointment with {adviser.english()}", german), ACCUSATIVE)
    past = author.chance(0.3)
    english_clock, german_clock = author.clock((8, 9, 10, 11, 1, 2, 3, 4))
    day = author.pick(_DAYS["past" if past else "future"])
    time = Adverbial(f"{day[0]} at {english_clock}", f"{day[1]} um {german_clock}", TIME)
    clause = Clause(author.person(), HAVE, "preterite" if past else "present", [thing], [time])
    if author.chance(0.5):
        clause.bring_to_front(time)
    return clause.in_main()


def born(author: ClauseAuthor) -> Pair:
    """My grandmother was born on the third of March 1937: wurde ... geboren."""
    time = Adverbial(*author.date(author.integer(1921, 2005)), TIME)
    clause = Clause(author.somebody(), _BEAR, "past", adverbials=[time], passive=True)
    if author.chance(0.7):
        clause.adverbials.append(author.city(PLACE))
    if author.chance(0.25):
        clause.bring_to_front(time)
    return clause.in_main()


def birthday(author: ClauseAuthor) -> Pair:
    """She is celebrating her eightieth birthday; her birthday is on the third of May."""
    subject = author.somebody()
    if author.chance(0.4):
        english_day, german_day = author.date()
        clause = Clause(subject, HAVE, "present", [Object(Fixed("", "Geburtstag"), ACCUSATIVE)])
        clause.adverbials.append(Adverbial("", german_day, TIME))
        return f"{possessive(subject.english())} birthday is {english_day}", clause.german()
    thing = with_ordinal(NOUNS["birthday"], author.ordinal(author.integer(18, 99)), subject.possessive())
    kind = author.pick((PAST, FUTURE))
    clause = Clause(subject, _CELEBRATE, kind, [Object(thing, ACCUSATIVE)])
    time = author.time(kind, True, precise=False)
    clause.adverbials.append(time)
    if author.chance(0.4):
        clause.adverbials.append(author.place(("restaurant", "hotel", "garden", "café", "castle")))
    if author.chance(0.3):
        clause.bring_to_front(time)
    return clause.in_main()


def floor(author: ClauseAuthor) -> Pair:
    """on the third floor: im dritten Stock."""
    storey = with_ordinal(_STOREY, author.ordinal(author.integer(1, 48)), DEFINITE)
    english, german = f"on {storey.english()}", with_preposition("in", storey.german(DATIVE))
    if author.chance(0.5):
        if author.chance(0.4):
            english, german = f"{english} of a modern hotel", f"{german} eines modernen Hotels"
        where = Adverbial(english, german, PLACE)
        clause = Clause(author.person(), author.pick((LIVE, WORK)), "present", adverbials=[where])
    else:
        noun = author.pick(_ROOMS)
        owned = noun.head in ("office", "flat", "study")
        thing = author.owned(noun) if owned else author.noun_phrase(noun, DEFINITE)
        clause = Clause(thing, IS, "present", adverbials=[Adverbial(english, german, PREDICATE)])
    return clause.in_main()


def today_is(author: ClauseAuthor) -> Pair:
    """Today is the twenty-first of June: Heute ist der einundzwanzigste Juni."""
    english, german = _named_day(author, author.integer(1, 12), "e")
    start = author.pick((("today is", "heute ist"), ("tomorrow is", "morgen ist"), ("yesterday was", "gestern war")))
    if author.chance(0.5):
        weekday = author.pick(WEEKDAYS)
        english, german = f"{weekday[0]}, the {english}", f"{weekday[1]}, der {german}"
    else:
        english, german = f"the {english}", f"der {german}"
    return f"{start[0]} {english}", f"{start[1]} {german}"


def _named_day(author: ClauseAuthor, month: int, ending: str) -> Pair:
    english_day, german_day = author.ordinal(author.day_of(month))
    return f"{english_day} of {MONTHS[month - 1][0]}", f"{german_day}{ending} {MONTHS[month - 1][1]}"


def from_to(author: ClauseAuthor) -> Pair:
    """from the third of May to the seventh of June: vom dritten Mai bis zum siebten Juni."""
    event = author.noun_phrase(author.pick(_PERIODS), DEFINITE, compound=0.5)
    first_month = author.integer(1, 11)
    start, german_start = _named_day(author, first_month, "en")
    end, german_end = _named_day(author, first_month + 1, "en")
    span = Adverbial(f"from the {start} to the {end}", f"vom {german_start} bis zum {german_end}", TIME)
    clause = Clause(event, _LAST, author.pick(("present", "past", "future")), adverbials=[span])
    return clause.in_main()


def takes_place(author: ClauseAuthor) -> Pair:
    event = author.noun_phrase(author.pick(_DAY_EVENTS), DEFINITE, compound=0.5)
    kind = author.pick((PAST, FUTURE))
    if author.chance(0.5):
        time = Adverbial(*author.date(), TIME)
    else:
        time = author.time(kind, True, precise=False)
    clause = Clause(event, _TAKE_PLACE, kind, adverbials=[time])
    clause.adverbials.append(author.city(PLACE) if author.chance(0.4) else _venue(author, event))
    if author.chance(0.4):
        clause.bring_to_front(time)
    return clause.in_main()


TEMPLATES = (
    (2, what_time),
    (4, departure),
    (4, begins),
    (3, opening_hours),
    (4, routine),
    (3, appointment),
    (3, born),
    (3, birthday),
    (2, floor),
    (2, today_is),
    (2, from_to),
    (3, takes_place),
)

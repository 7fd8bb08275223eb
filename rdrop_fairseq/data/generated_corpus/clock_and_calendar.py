"""Clock times and dates in English and German."""

from typing import Optional, Tuple

from rdrop_fairseq.data.generated_corpus.number_words import (
    english_cardinal,
    english_ordinal,
    german_cardinal,
    german_ordinal,
)

MONTHS = (
    ("January", "Januar", 31),
    ("February", "Februar", 28),
    ("March", "März", 31),
    ("April", "April", 30),
    ("May", "Mai", 31),
    ("June", "Juni", 30),
    ("July", "Juli", 31),
    ("August", "August", 31),
    ("September", "September", 30),
    ("October", "Oktober", 31),
    ("November", "November", 30),
    ("December", "Dezember", 31),
)
WEEKDAYS = (
    ("Monday", "Montag"),
    ("Tuesday", "Dienstag"),
    ("Wednesday", "Mittwoch"),
    ("Thursday", "Donnerstag"),
    ("Friday", "Freitag"),
    ("Saturday", "Samstag"),
    ("Sunday", "Sonntag"),
)


def spoken_clock(hour: int, minute: int) -> Tuple[str, str]:
    """Twelve-hour clock: ``(7, 30)`` -> ``half past seven``, ``halb acht``.

    Args:
        hour: 1 to 12.
        minute: a multiple of 5 from 0 to 55.
    """
    if not 1 <= hour <= 12 or minute % 5 or not 0 <= minute < 60:
        raise ValueError(f"no spoken form for {hour}:{minute}")
    following = hour % 12 + 1
    if minute == 0:
        return f"{english_cardinal(hour)} o'clock", f"{'ein' if hour == 1 else german_cardinal(hour)} Uhr"
    if minute == 30:
        return f"half past {english_cardinal(hour)}", f"halb {german_cardinal(following)}"
    past = minute < 30
    distance = minute if past else 60 - minute
    english = "a quarter" if distance == 15 else english_cardinal(distance)
    english += f" past {english_cardinal(hour)}" if past else f" to {english_cardinal(following)}"
    if distance == 25:  # German counts these from the half hour.
        return english, f"fünf {'vor' if past else 'nach'} halb {german_cardinal(following)}"
    german = "Viertel" if distance == 15 else german_cardinal(distance)
    german += f" nach {german_cardinal(hour)}" if past else f" vor {german_cardinal(following)}"
    return english, german


def timetable_clock(hour: int, minute: int) -> Tuple[str, str]:
    """Twenty-four-hour clock: ``(19, 45)`` -> ``7:45 pm``, ``19:45 Uhr``."""
    if not 0 <= hour < 24 or not 0 <= minute < 60:
        raise ValueError(f"no such time: {hour}:{minute}")
    half = "am" if hour < 12 else "pm"
    return f"{(hour + 11) % 12 + 1}:{minute:02d} {half}", f"{hour}:{minute:02d} Uhr"


def date(day: int, month: int, year: Optional[int] = None, digits: bool = False) -> Tuple[str, str]:
    """With the preposition: ``(3, 3, 1987)`` -> ``on the third of March 1987``, ``am dritten März 1987``.

    Args:
        day: 1 to the last day of the month.
        month: 1 to 12.
        year: written in digits.
        digits: the day in digits as well: ``on 3 March 1987``, ``am 3. März 1987``.
    """
    english_month, german_month, days = MONTHS[month - 1]
    if not 1 <= day <= days:
        raise ValueError(f"{english_month} has no day {day}")
    year_text = "" if year is None else f" {year}"
    if digits:
        return f"on {day} {english_month}{year_text}", f"am {day}. {german_month}{year_text}"
    return (
        f"on the {english_ordinal(day)} of {english_month}{year_text}",
        f"am {german_ordinal(day)}en {german_month}{year_text}",
    )

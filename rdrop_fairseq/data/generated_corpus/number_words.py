"""Cardinal and ordinal number words in English (with the British "and") and German."""

from typing import List, Tuple

_ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_ENGLISH_TENS = "- ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_GERMAN = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn"
).split()
_GERMAN_TENS = "- zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
_ENGLISH_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_GERMAN_ORDINALS = {"eins": "erst", "drei": "dritt", "sieben": "siebt", "acht": "acht"}
LARGEST = 999_999_999


def english_cardinal(number: int) -> str:
    """``47321`` -> ``forty-seven thousand three hundred and twenty-one``. From 0 to ``LARGEST``."""
    _check(number)
    if number < 20:
        return _ENGLISH[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _ENGLISH_TENS[tens] + (f"-{_ENGLISH[units]}" if units else "")
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            count, rest = divmod(number, size)
            text = f"{english_cardinal(count)} {name}"
            if not rest:
                return text
            return f"{text}{' and ' if rest < 100 else ' '}{english_cardinal(rest)}"
    raise AssertionError("unreachable")


def german_cardinal(number: int) -> str:
    """``47321`` -> ``siebenundvierzigtausenddreihunderteinundzwanzig``. From 0 to ``LARGEST``.

    A leading "ein" is left out before "hundert" and "tausend" (hunderteins, tausend), as in running text,
    and kept inside the word (zweitausendeinhundert).
    """
    _check(number)
    if number == 0:
        return _GERMAN[0]
    millions, rest = divmod(number, 1_000_000)
    words = []
    if millions:
        count = _german_below_thousand(millions, leading=True, last=False)
        words.append("eine Million" if millions == 1 else f"{count} Millionen")
    thousands, rest = divmod(rest, 1000)
    word = ""
    if thousands:
        word = "" if thousands == 1 else _german_below_thousand(thousands, leading=True, last=False)
        word += "tausend"
    if rest:
        word += _german_below_thousand(rest, leading=not word, last=True)
    return " ".join([*words, word] if word else words)


def english_ordinal(number: int) -> str:
    """``21`` -> ``twenty-first``, ``112`` -> ``one hundred and twelfth``."""
    words = english_cardinal(number)
    start = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[start:]
    if last in _ENGLISH_ORDINALS:
        return words[:start] + _ENGLISH_ORDINALS[last]
    return words[:-1] + "ieth" if last.endswith("y") else words + "th"


def german_ordinal(number: int) -> str:
    """The stem that takes adjective endings: ``3`` -> ``dritt``, ``21`` -> ``einundzwanzigst``."""
    words = german_cardinal(number)
    last_two = number % 100
    if not 0 < last_two < 20:
        return words + "st"
    for cardinal, ordinal in _GERMAN_ORDINALS.items():
        if last_two == _GERMAN.index(cardinal):
            return words[: -len(cardinal)] + ordinal
    return words + "t"


def tens_and_units(number: int) -> List[Tuple[int, int]]:
    """The digits that German says in the other order, in groups of three: 47321 -> (4, 7), (2, 1)."""
    pairs = []
    for size in (1_000_000, 1000, 1):
        tens, units = divmod(number // size % 1000 % 100, 10)
        if tens >= 2 and units:
            pairs.append((tens, units))
    return pairs


def _german_below_thousand(number: int, leading: bool, last: bool) -> str:
    """1 to 999; ``leading``: nothing stands before it in the word; ``last``: nothing follows ("eins")."""
    hundreds, rest = divmod(number, 100)
    word = ""
    if hundreds:
        word = "" if hundreds == 1 and leading else _one_as_prefix(hundreds)
        word += "hundert"
    tens, units = divmod(rest, 10)
    if 0 < rest < 20:
        return word + (_GERMAN[rest] if last else _one_as_prefix(rest))
    if rest:
        word += (f"{_one_as_prefix(units)}und" if units else "") + _GERMAN_TENS[tens]
    return word


def _one_as_prefix(number: int) -> str:
    return "ein" if number == 1 else _GERMAN[number]


def _check(number: int) -> None:
    if not 0 <= number <= LARGEST:
        raise ValueError(f"no number words for {number}: supported are 0 to {LARGEST}")

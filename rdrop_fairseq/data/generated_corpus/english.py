"""English inflection: plurals, verb forms, comparison, a or an."""

from typing import NamedTuple

_VOWELS = "aeiou"
_CONSONANT_SOUND = ("uni", "use", "euro", "one", "uku")
_SILENT_H = ("hour", "honest", "heir")
_DOUBLED = frozenset("put cut run swim get forget plan win begin travel fit big hot sad".split())


def with_indefinite_article(phrase: str) -> str:
    """``apple`` -> ``an apple``."""
    lower = phrase.lower()
    vowel = lower[0] in _VOWELS and not lower.startswith(_CONSONANT_SOUND)
    return f"an {phrase}" if vowel or lower.startswith(_SILENT_H) else f"a {phrase}"


def plural(noun: str) -> str:
    """The regular plural."""
    return _with_s(noun)


def possessive(singular: str) -> str:
    """``boss`` -> ``boss's``; not for plurals."""
    return singular + "'s"


def comparative(adjective: str) -> str:
    return _with_suffix(adjective, "er")


def superlative(adjective: str) -> str:
    return _with_suffix(adjective, "est")


class EnglishVerb(NamedTuple):
    """A pronoun may part the verb from its ``particle`` (turn on), not from its ``complement`` (look for)."""

    base: str
    third: str
    past: str
    participle: str
    progressive: str
    particle: str
    complement: str


def english_verb(text: str) -> EnglishVerb:
    """From ``bake``, ``write wrote written``, ``put put put ~on`` (particle), ``look for`` (complement)."""
    words = text.split(" ")
    particle = " ".join(word[1:] for word in words if word.startswith("~"))
    complement = " ".join(word[1:] for word in words if word.startswith("+"))
    words = [word for word in words if word[0] not in "~+"]
    base = words[0]
    if len(words) == 3:
        past, participle = words[1:]
    elif len(words) == 1:
        past = participle = _with_suffix(base, "ed")
    else:
        raise ValueError(f"one or three forms expected: {text!r}")
    third = "has" if base == "have" else _with_s(base)
    progressive = base[:-2] + "ying" if base.endswith("ie") else _with_suffix(base, "ing")
    return EnglishVerb(base, third, past, participle, progressive, particle, complement)


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")) or word in ("go", "do", "potato", "tomato"):
        return word + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _with_suffix(word: str, suffix: str) -> str:
    """Add -ed, -ing, -er or -est with its changes of spelling."""
    if word in _DOUBLED:
        return word + word[-1] + suffix
    if word.endswith("e") and not (suffix == "ing" and word.endswith(("ee", "oe", "ye"))):
        return word[:-1] + suffix
    if word.endswith("y") and suffix != "ing" and word[-2] not in _VOWELS:
        return word[:-1] + "i" + suffix
    return word + suffix

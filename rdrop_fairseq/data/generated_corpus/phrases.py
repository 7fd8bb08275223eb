"""Noun phrases and pronouns that know their English and their German form in every case."""

from typing import NamedTuple, Optional, Sequence, Tuple

from rdrop_fairseq.data.generated_corpus import english
from rdrop_fairseq.data.generated_corpus.german import (
    CASES,
    GENITIVE,
    NOMINATIVE,
    PERSONAL_PRONOUNS,
    GermanAdjective,
    GermanNoun,
    adjective_ending,
    article,
    relative_pronoun,
)

Pair = Tuple[str, str]


class Noun(NamedTuple):
    """A lexicon entry; a compound is one too, with its parts in ``parts`` and its last part in ``head``."""

    english: str
    english_plural: str
    german: GermanNoun
    kind: str
    mass: bool = False  # no plural and no indefinite article: bread, Brot
    english_always_plural: bool = False  # trousers: die Hose
    always_plural: bool = False  # parents: die Eltern
    sex: str = ""  # m, f, or "" where the pronoun would not be clear
    feminine: Optional[GermanNoun] = None  # what the German noun is when a pronoun shows that a woman is meant
    head: str = ""
    parts: Optional[Pair] = None


class Adjective(NamedTuple):
    english: str
    english_comparative: str
    english_superlative: str
    german: GermanAdjective
    kinds: Tuple[str, ...]


class Determiner(NamedTuple):
    english: str
    german: str  # as for german.article
    definite: bool
    genitive: str = ""  # in its place before the noun: Annas


DEFINITE = Determiner("the", "der", True)
INDEFINITE = Determiner("a", "ein", False)
BARE = Determiner("", "", False)
NO = Determiner("no", "kein", False)
WHICH = Determiner("which", "welch", True)
THIS = Determiner("this", "dies", True)
EVERY = Determiner("every", "jed", True)
MANY = Determiner("many", "viel", False)
SEVERAL = Determiner("several", "mehrer", False)
ALL = Determiner("all the", "all", True)
POSSESSIVES = {
    name: Determiner(name, word, True)
    for name, word in {
        "my": "mein",
        "his": "sein",
        "her": "ihr",
        "its": "sein",
        "our": "unser",
        "their": "ihr",
    }.items()
}
YOUR = {
    "du": Determiner("your", "dein", True),
    "ihr": Determiner("your", "euer", True),
    "Sie": Determiner("your", "Ihr", True),
}


class Phrase:
    """What can be a subject or an object. ``relative`` is a relative clause in both languages."""

    person = 3
    plural = False
    english_plural = False
    gender = "n"  # of the German word
    sex = ""
    definite = True
    is_pronoun = False
    is_relative = False
    relative: Optional[Pair] = None

    def english(self, role: str = "subject") -> str:
        raise NotImplementedError

    def german(self, case: str) -> str:
        raise NotImplementedError

    @property
    def german_person(self) -> Tuple[int, bool]:
        return self.person, self.plural

    def possessive(self) -> Determiner:
        """The possessive that refers back to this phrase."""
        if self.person == 1:
            return POSSESSIVES["our" if self.plural else "my"]
        if self.plural:
            return POSSESSIVES["their"]
        return POSSESSIVES[{"m": "his", "f": "her", "": "its"}[self.sex]]

    def pronoun(self) -> "Pronoun":
        """The personal pronoun that refers back to this phrase."""
        if self.person == 1:
            return PRONOUNS["we" if self.plural else "I"]
        if self.plural:
            return PRONOUNS["they"]
        return PRONOUNS[{"m": "he", "f": "she", "": "it"}[self.sex]]

    def thing_pronoun(self) -> "Pronoun":
        """The pronoun for a thing: English it or they, German by grammatical gender."""
        german = "sie plural" if self.plural else {"m": "er", "f": "sie", "n": "es"}[self.gender]
        name, english_object = ("they", "them") if self.english_plural else ("it", "it")
        return Pronoun(name, english_object, german, 3, self.plural, self.gender, "", self.english_plural)


class Pronoun(Phrase):
    is_pronoun = True

    def __init__(
        self,
        subject: str,
        english_object: str,
        german: str,
        person: int,
        plural: bool,
        gender: str = "n",
        sex: str = "",
        english_plural: Optional[bool] = None,
    ) -> None:
        self._english = {"subject": subject, "object": english_object}
        self._german = PERSONAL_PRONOUNS[german]
        self.person = person
        self.plural = plural
        self.english_plural = plural if english_plural is None else english_plural
        self.gender = gender
        self.sex = sex

    def english(self, role: str = "subject") -> str:
        return self._english[role]

    def german(self, case: str) -> str:
        return self._german[CASES.index(case)]


PRONOUNS = {
    "I": Pronoun("I", "me", "ich", 1, False),
    "he": Pronoun("he", "him", "er", 3, False, "m", "m"),
    "she": Pronoun("she", "her", "sie", 3, False, "f", "f"),
    "it": Pronoun("it", "it", "es", 3, False, "n"),
    "we": Pronoun("we", "us", "wir", 1, True),
    "they": Pronoun("they", "them", "sie plural", 3, True),
    "who": Pronoun("who", "who", "wer", 3, False),
    "what": Pronoun("what", "what", "was", 3, False),
}


class _You(Pronoun):
    """The English verb is that of the plural; which German word it is, the person addressed shows."""

    def __init__(self, german: str) -> None:
        person, plural = {"du": (2, False), "ihr": (2, True), "Sie": (3, True)}[german]
        super().__init__("you", "you", german, person, plural, english_plural=True)
        self.person = person
        self._word = german

    def possessive(self) -> Determiner:
        return YOUR[self._word]

    def pronoun(self) -> Pronoun:
        return self


YOU = {word: _You(word) for word in ("du", "ihr", "Sie")}


class RelativePronoun(Phrase):
    """who, that / der, die, das: stands first in its clause."""

    is_relative = True

    def __init__(self, antecedent: Phrase, is_person: bool) -> None:
        self.plural = antecedent.plural
        self.english_plural = antecedent.english_plural
        self.gender = "p" if antecedent.plural else antecedent.gender
        self.sex = antecedent.sex
        self.is_person = is_person

    def english(self, role: str = "subject") -> str:
        if role == "object":
            return "whom" if self.is_person else "that"
        return "who" if self.is_person else "that"

    def german(self, case: str) -> str:
        return relative_pronoun(case, self.gender)


class Name(Phrase):
    """A person or a place by name; ``german_oblique`` for Herr: Herrn Weber in the other cases."""

    def __init__(self, text: str, sex: str, german: str = "", german_oblique: str = "") -> None:
        self.text = text
        self.sex = sex
        self.gender = sex or "n"
        self._german = german or text
        self._oblique = german_oblique or self._german

    def english(self, role: str = "subject") -> str:
        return self.text

    def german(self, case: str) -> str:
        if case == GENITIVE:
            return self._oblique + ("" if self._oblique.endswith(("s", "z", "x", "ß")) else "s")
        return self._german if case == NOMINATIVE else self._oblique


class NounPhrase(Phrase):
    """Determiner, adjectives, noun, and what follows the noun (a genitive, a prepositional phrase)."""

    def __init__(
        self,
        determiner: Determiner,
        noun: Noun,
        adjectives: Sequence[Adjective] = (),
        plural: bool = False,
        after: Optional[Pair] = None,
        quantity: Optional[Pair] = None,
    ) -> None:
        """``quantity``: number words, before the adjectives; ``after``: follows the noun (a genitive)."""
        self.determiner = determiner
        self.noun = noun
        self.adjectives = adjectives
        self.plural = plural or noun.always_plural
        self.english_plural = self.plural or noun.english_always_plural
        self.gender = noun.german.gender
        self.sex = noun.sex
        self.definite = determiner.definite
        self.after = after
        self.quantity = quantity

    def english(self, role: str = "subject") -> str:
        words = [adjective.english for adjective in self.adjectives]
        words.append(self.noun.english_plural if self.english_plural else self.noun.english)
        if self.quantity:
            words.insert(0, self.quantity[0])
        text = " ".join(words)
        word = self.determiner.english
        if word == "a":
            pair = self.noun.english_always_plural
            text = "a pair of " + text if pair else english.with_indefinite_article(text)
        elif word == "this":
            text = f"{'these' if self.english_plural else 'this'} {text}"
        elif word:
            text = f"{word} {text}"
        if self.after and self.after[0]:
            text = f"{text} {self.after[0]}"
        return f"{text} {self.relative[0]}" if self.relative else text

    def german(self, case: str) -> str:
        gender = "p" if self.plural else self.gender
        word = self.determiner.german
        words = [article(word, case, gender)] if word else []
        if self.determiner.genitive:
            words = [self.determiner.genitive]
        if self.quantity:
            words.append(self.quantity[1])
        if self.adjectives:
            ending = adjective_ending(word, case, gender)
            words.extend(adjective.german.attributive + ending for adjective in self.adjectives)
        words.append(self.noun.german.form(case, self.plural))
        if self.after:
            words.append(self.after[1])
        return " ".join(words)


class Coordination(Phrase):
    """Two persons: Anna and her brother."""

    plural = english_plural = True

    def __init__(self, first: Phrase, second: Phrase) -> None:
        self.first = first
        self.second = second
        if first.person == 1 or second.person == 1:
            self.person = 1

    def english(self, role: str = "subject") -> str:
        return f"{self.first.english(role)} and {self.second.english(role)}"

    def german(self, case: str) -> str:
        return f"{self.first.german(case)} und {self.second.german(case)}"


class Fixed(Phrase):
    """A phrase that is the same in every case that it is used in: Deutsch, the date, a sum of money."""

    def __init__(self, english_text: str, german_text: str, definite: bool = False, plural: bool = False) -> None:
        self._texts = (english_text, german_text)
        self.definite = definite
        self.plural = self.english_plural = plural

    def english(self, role: str = "subject") -> str:
        return self._texts[0]

    def german(self, case: str) -> str:
        return self._texts[1]


def with_ordinal(noun: Noun, adjective_pair: Pair, determiner: Determiner) -> NounPhrase:
    """the third floor / der dritte Stock: an ordinal takes the endings of an adjective."""
    english_word, german_stem = adjective_pair
    ordinal = Adjective(english_word, "", "", GermanAdjective(german_stem, german_stem, "", ""), ())
    return NounPhrase(determiner, noun, (ordinal,))

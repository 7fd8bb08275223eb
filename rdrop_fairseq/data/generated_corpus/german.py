"""German inflection: articles, adjective endings, nouns, pronouns and verbs."""

from typing import Dict, List, NamedTuple, Tuple

NOMINATIVE, ACCUSATIVE, DATIVE, GENITIVE = "nominative", "accusative", "dative", "genitive"
CASES = (NOMINATIVE, ACCUSATIVE, DATIVE, GENITIVE)


def _table(text: str) -> Dict[str, Dict[str, str]]:
    """Four rows (the cases) of four endings: masculine, feminine, neuter, plural; "-" is no ending."""
    rows = [row.replace("-", " - ").split() for row in text.split("/")]
    return {
        case: dict(zip("mfnp", ("" if ending == "-" else ending for ending in row))) for case, row in zip(CASES, rows)
    }


_DEFINITE = _table("der die das die / den die das die / dem der dem den / des der des der")
# dieser, jeder, welcher, alle, viele, mehrere, einige
_LIKE_DEFINITE = _table("er e es e / en e es e / em er em en / es er es er")
# ein, kein and the possessives
_LIKE_INDEFINITE = _table("- e - e / en e - e / em er em en / es er es er")
_ADJECTIVE = {
    "weak": _table("e e e en / en e e en / en en en en / en en en en"),
    "mixed": _table("er e es en / en e es en / en en en en / en en en en"),
    "strong": _table("er e es e / en e es e / em er em en / en er en er"),
}
_DEFINITE_LIKE_WORDS = frozenset("dies jed welch all".split())
_STRONG_QUANTIFIERS = frozenset("viel mehrer einig".split())
_CONTRACTIONS = {
    ("in", "dem"): "im",
    ("an", "dem"): "am",
    ("zu", "dem"): "zum",
    ("bei", "dem"): "beim",
    ("von", "dem"): "vom",
    ("zu", "der"): "zur",
    ("in", "das"): "ins",
    ("an", "das"): "ans",
}


def article(word: str, case: str, gender: str) -> str:
    """The inflected form of "der", "ein", "kein", "mein" ... "dies", "jed", "viel" ...; "" stays "".

    Args:
        gender: ``m``, ``f``, ``n``, or ``p`` for the plural of every gender.
    """
    if word == "":
        return ""
    if word == "der":
        return _DEFINITE[case][gender]
    if word in _DEFINITE_LIKE_WORDS or word in _STRONG_QUANTIFIERS:
        return word + _LIKE_DEFINITE[case][gender]
    ending = _LIKE_INDEFINITE[case][gender]
    return "eur" + ending if word == "euer" and ending else word + ending


def adjective_ending(determiner: str, case: str, gender: str) -> str:
    """The ending of an adjective after ``determiner``, a word as for ``article``."""
    if determiner == "der" or determiner in _DEFINITE_LIKE_WORDS:
        kind = "weak"
    elif determiner == "" or determiner in _STRONG_QUANTIFIERS:
        kind = "strong"
    else:
        kind = "mixed"
    return _ADJECTIVE[kind][case][gender]


def with_preposition(preposition: str, phrase: str) -> str:
    """Put ``preposition`` before ``phrase`` and contract it with a definite article: in + dem -> im."""
    first, _, rest = phrase.partition(" ")
    contraction = _CONTRACTIONS.get((preposition, first))
    return f"{contraction} {rest}" if contraction and rest else f"{preposition} {phrase}"


class GermanNoun(NamedTuple):
    singular: str
    gender: str  # m, f, n
    genitive: str
    plural: str

    def form(self, case: str, plural: bool) -> str:
        """The inflected noun; weak masculines (den Studenten) are those whose genitive has no -s."""
        if plural:
            needs_n = case == DATIVE and not self.plural.endswith(("n", "s"))
            return self.plural + "n" if needs_n else self.plural
        if case == NOMINATIVE:
            return self.singular
        weak = self.gender == "m" and not self.genitive.endswith("s")
        return self.genitive if case == GENITIVE or weak else self.singular


class GermanAdjective(NamedTuple):
    predicative: str
    attributive: str  # what takes the endings: teuer -> teur, müde -> müd
    comparative: str
    superlative: str


def german_adjective(text: str) -> GermanAdjective:
    """From ``schön`` (all regular) or ``groß größer größt`` or ``hoch/hoh höher höchst``."""
    base, *steps = text.split()
    predicative, _, attributive = base.partition("/")
    attributive = attributive or (predicative[:-1] if predicative.endswith("e") else predicative)
    if steps:
        comparative, superlative = steps
    else:
        comparative = attributive + "er"
        needs_e = attributive.endswith(("d", "t", "s", "ß", "z", "sch"))
        superlative = (predicative if predicative.endswith(("el", "er")) else attributive) + "e" * needs_e + "st"
    return GermanAdjective(predicative, attributive, comparative, superlative)


PERSONS = ((1, False), (2, False), (3, False), (1, True), (2, True), (3, True))


def _forms(text: str) -> Dict[Tuple[int, bool], str]:
    return dict(zip(PERSONS, text.split()))


_IRREGULAR_PRESENT = {
    "sein": _forms("bin bist ist sind seid sind"),
    "haben": _forms("habe hast hat haben habt haben"),
    "werden": _forms("werde wirst wird werden werdet werden"),
    "wissen": _forms("weiß weißt weiß wissen wisst wissen"),
    "müssen": _forms("muss musst muss müssen müsst müssen"),
    "können": _forms("kann kannst kann können könnt können"),
    "dürfen": _forms("darf darfst darf dürfen dürft dürfen"),
    "wollen": _forms("will willst will wollen wollt wollen"),
    "sollten": _forms("sollte solltest sollte sollten solltet sollten"),
    "möchten": _forms("möchte möchtest möchte möchten möchtet möchten"),
    "mögen": _forms("mag magst mag mögen mögt mögen"),
}
_PAST_STEMS = {
    "sein": "war",
    "haben": "hatte",
    "werden": "wurde",
    "wissen": "wusste",
    "müssen": "musste",
    "können": "konnte",
    "dürfen": "durfte",
    "wollen": "wollte",
    "stehen": "stand",
    "liegen": "lag",
    "hängen": "hing",
    "sitzen": "saß",
    "wohnen": "wohnte",
    "arbeiten": "arbeitete",
    "scheinen": "schien",
    "regnen": "regnete",
    "schneien": "schneite",
    "geben": "gab",
}
_PREFIXES_WITHOUT_GE = ("be", "ver", "er", "zer", "ent", "emp")
_IRREGULAR_SECOND_PERSON = {"hält": "hältst"}


class GermanVerb(NamedTuple):
    """``prefix`` separates (an|rufen); it is a word by itself if it ends in a space (spazieren |gehen)."""

    prefix: str
    base: str
    third: str  # er ruft
    participle: str
    auxiliary: str  # haben or sein
    reflexive: bool  # sich freuen, with a pronoun in the accusative

    def present(self, person: int, plural: bool) -> str:
        """The finite form without its prefix; the polite Sie is the third person plural."""
        irregular = _IRREGULAR_PRESENT.get(self.base)
        if irregular:
            return irregular[person, plural]
        stem = self._stem()
        if plural:
            return self.base if person != 2 else stem + ("et" if _needs_e(stem) else "t")
        if person == 1:
            return (stem[:-2] + "l" if self.base.endswith("eln") else stem) + "e"
        if person == 3:
            return self.third
        if self.third in _IRREGULAR_SECOND_PERSON:
            return _IRREGULAR_SECOND_PERSON[self.third]
        second = self.third[:-1]
        return second + ("t" if second.endswith(("s", "ß", "z", "x")) else "st")

    def past(self, person: int, plural: bool) -> str:
        """The preterite, for the verbs in which the spoken language prefers it to the perfect."""
        stem = _PAST_STEMS[self.base]
        if not plural and person != 2:
            return stem
        if plural and person != 2:
            return stem + ("n" if stem.endswith("e") else "en")
        e = "e" if stem.endswith(("nd", "ß")) and (plural or stem.endswith("ß")) else ""
        return stem + e + ("t" if plural else "st")

    def imperative(self) -> str:
        """The form for a person addressed as du, without the prefix."""
        stem = self._stem()
        if "e" in stem and "i" in self.third and "i" not in stem:
            return self.third[:-1]
        if _needs_e(stem) or stem.endswith(("ier", "er")):
            return stem + "e"
        return stem[:-2] + "le" if self.base.endswith("eln") else stem

    def infinitive(self) -> str:
        return self.prefix + self.base

    def infinitive_with_zu(self) -> str:
        """zu kaufen, anzurufen, spazieren zu gehen."""
        if not self.prefix:
            return f"zu {self.base}"
        return f"{self.prefix}zu {self.base}" if self.prefix.endswith(" ") else f"{self.prefix}zu{self.base}"

    def _stem(self) -> str:
        return self.base[:-2] if self.base.endswith("en") else self.base[:-1]


def german_verb(text: str) -> GermanVerb:
    """From ``kaufen`` (weak), ``lesen liest gelesen``, ``an|kommen kommt angekommen sein``, ``sich freuen``.

    An underscore stands for a space.
    """
    words = text.split(" ")
    reflexive = words[0] == "sich"
    if reflexive:
        words = words[1:]
    prefix, separator, base = words[0].rpartition("|")
    prefix = prefix.replace("_", " ")
    auxiliary = "sein" if words[-1] == "sein" and len(words) > 1 else "haben"
    if auxiliary == "sein":
        words = words[:-1]
    if len(words) == 3:
        third, participle = words[1], words[2].replace("_", " ")
    else:
        stem = base[:-2] if base.endswith("en") else base[:-1]
        third = stem + ("et" if _needs_e(stem) else "t")
        ge = "" if stem.startswith(_PREFIXES_WITHOUT_GE) or base.endswith("ieren") else "ge"
        participle = prefix + ge + third
    return GermanVerb(prefix, base, third, participle, auxiliary, reflexive)


SEIN = GermanVerb("", "sein", "ist", "gewesen", "sein", False)
HABEN = GermanVerb("", "haben", "hat", "gehabt", "haben", False)
WERDEN = GermanVerb("", "werden", "wird", "geworden", "sein", False)


def modal(name: str) -> GermanVerb:
    """müssen, können, dürfen, wollen, sollten or möchten."""
    return GermanVerb("", name, "", "", "haben", False)


REFLEXIVE_PRONOUNS = _forms("mich dich sich uns euch sich")
# nominative, accusative, dative
PERSONAL_PRONOUNS: Dict[str, List[str]] = {
    name: forms.split()
    for name, forms in {
        "ich": "ich mich mir",
        "du": "du dich dir",
        "er": "er ihn ihm",
        "sie": "sie sie ihr",
        "es": "es es ihm",
        "wir": "wir uns uns",
        "ihr": "ihr euch euch",
        "sie plural": "sie sie ihnen",
        "Sie": "Sie Sie Ihnen",
        "wer": "wer wen wem",
        "was": "was was was",
    }.items()
}
_RELATIVE = _table("der die das die / den die das die / dem der dem denen / dessen deren dessen deren")


def relative_pronoun(case: str, gender: str) -> str:
    return _RELATIVE[case][gender]


def _needs_e(stem: str) -> bool:
    """Whether an e stands between the stem and -t: arbeit-et, öffn-et, but lern-t, komm-t."""
    if stem.endswith(("d", "t")):
        return True
    return stem.endswith(("chn", "chm")) or stem[-1] in "mn" and stem[-2] not in "aeiouäöülrmnh"

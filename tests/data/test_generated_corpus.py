"""The generated corpus: its German by hand-checked cases, and the promises about its splits by the text."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from rdrop_fairseq.data.generated_corpus import corpus, english, generate
from rdrop_fairseq.data.generated_corpus.__main__ import main
from rdrop_fairseq.data.generated_corpus.clause import (
    BE,
    FINAL,
    MAIN,
    PREDICATE,
    QUESTION,
    Adverbial,
    Clause,
    Object,
    Verb,
)
from rdrop_fairseq.data.generated_corpus.clock_and_calendar import MONTHS, date, spoken_clock, timetable_clock
from rdrop_fairseq.data.generated_corpus.german import (
    ACCUSATIVE,
    CASES,
    DATIVE,
    GENITIVE,
    NOMINATIVE,
    PERSONS,
    SEIN,
    adjective_ending,
    article,
    german_adjective,
    german_verb,
    modal,
    relative_pronoun,
    with_preposition,
)
from rdrop_fairseq.data.generated_corpus.lexicon import adjectives, verbs
from rdrop_fairseq.data.generated_corpus.lexicon.compounds import COMPOUNDS
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.number_words import (
    english_cardinal,
    english_ordinal,
    german_cardinal,
    german_ordinal,
    tens_and_units,
)
from rdrop_fairseq.data.generated_corpus.phrases import (
    DEFINITE,
    INDEFINITE,
    PRONOUNS,
    THIS,
    Fixed,
    Name,
    NounPhrase,
    RelativePronoun,
)
from rdrop_fairseq.data.generated_corpus.templates import times
from rdrop_fairseq.errors import UserError

SPLITS = ("train", "valid", "test")
PINNED = "6612d13dcf7a8c82d62234ed411ac1a9166923fe64a7244a2eee8f833ae92d27"


@pytest.fixture(scope="module")
def splits():
    return generate()


# Words


@pytest.mark.parametrize(
    "number, english_words, german_words",
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (12, "twelve", "zwölf"),
        (16, "sixteen", "sechzehn"),
        (17, "seventeen", "siebzehn"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (66, "sixty-six", "sechsundsechzig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (100, "one hundred", "hundert"),
        (101, "one hundred and one", "hunderteins"),
        (116, "one hundred and sixteen", "hundertsechzehn"),
        (999, "nine hundred and ninety-nine", "neunhundertneunundneunzig"),
        (1000, "one thousand", "tausend"),
        (1001, "one thousand and one", "tausendeins"),
        (1100, "one thousand one hundred", "tausendeinhundert"),
        (2100, "two thousand one hundred", "zweitausendeinhundert"),
        (21021, "twenty-one thousand and twenty-one", "einundzwanzigtausendeinundzwanzig"),
        (
            47321,
            "forty-seven thousand three hundred and twenty-one",
            "siebenundvierzigtausenddreihunderteinundzwanzig",
        ),
        (101_000, "one hundred and one thousand", "hunderteintausend"),
        (1_000_000, "one million", "eine Million"),
        (
            2_300_017,
            "two million three hundred thousand and seventeen",
            "zwei Millionen dreihunderttausendsiebzehn",
        ),
    ],
)
def test_cardinals(number, english_words, german_words):
    assert (english_cardinal(number), german_cardinal(number)) == (english_words, german_words)


@pytest.mark.parametrize(
    "number, english_words, german_stem",
    [
        (1, "first", "erst"),
        (2, "second", "zweit"),
        (3, "third", "dritt"),
        (7, "seventh", "siebt"),
        (8, "eighth", "acht"),
        (12, "twelfth", "zwölft"),
        (17, "seventeenth", "siebzehnt"),
        (20, "twentieth", "zwanzigst"),
        (21, "twenty-first", "einundzwanzigst"),
        (80, "eightieth", "achtzigst"),
        (101, "one hundred and first", "hunderterst"),
        (1000, "one thousandth", "tausendst"),
    ],
)
def test_ordinals(number, english_words, german_stem):
    assert (english_ordinal(number), german_ordinal(number)) == (english_words, german_stem)


def test_number_words_are_all_different():
    assert len({german_cardinal(number) for number in range(20_000)}) == 20_000
    assert len({english_cardinal(number) for number in range(20_000)}) == 20_000


def test_number_words_end_somewhere():
    for number in (-1, 1_000_000_000):
        with pytest.raises(ValueError, match=str(number)):
            german_cardinal(number)


def test_tens_and_units():
    assert tens_and_units(47321) == [(4, 7), (2, 1)]
    assert tens_and_units(30_019) == []


@pytest.mark.parametrize(
    "hour, minute, english_words, german_words",
    [
        (1, 0, "one o'clock", "ein Uhr"),
        (12, 0, "twelve o'clock", "zwölf Uhr"),
        (6, 15, "a quarter past six", "Viertel nach sechs"),
        (6, 25, "twenty-five past six", "fünf vor halb sieben"),
        (7, 30, "half past seven", "halb acht"),
        (12, 30, "half past twelve", "halb eins"),
        (8, 35, "twenty-five to nine", "fünf nach halb neun"),
        (8, 40, "twenty to nine", "zwanzig vor neun"),
        (12, 45, "a quarter to one", "Viertel vor eins"),
        (1, 5, "five past one", "fünf nach eins"),
    ],
)
def test_spoken_clock(hour, minute, english_words, german_words):
    assert spoken_clock(hour, minute) == (english_words, german_words)


def test_timetable_clock():
    assert timetable_clock(19, 45) == ("7:45 pm", "19:45 Uhr")
    assert timetable_clock(0, 5) == ("12:05 am", "0:05 Uhr")
    assert timetable_clock(12, 30) == ("12:30 pm", "12:30 Uhr")


def test_impossible_times_are_refused():
    for call in (lambda: spoken_clock(13, 0), lambda: spoken_clock(7, 31), lambda: timetable_clock(24, 0)):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError, match="February has no day 30"):
        date(30, 2)


def test_dates():
    assert date(3, 3, 1987) == ("on the third of March 1987", "am dritten März 1987")
    assert date(21, 8) == ("on the twenty-first of August", "am einundzwanzigsten August")
    assert date(7, 5, 2001, digits=True) == ("on 7 May 2001", "am 7. Mai 2001")


# German endings. The tables are written out here as a grammar book has them: rows are the cases nominative,
# accusative, dative and genitive, columns masculine, feminine, neuter and plural.


@pytest.mark.parametrize(
    "word, forms",
    [
        ("der", "der die das die  den die das die  dem der dem den  des der des der"),
        (
            "dies",
            "dieser diese dieses diese  diesen diese dieses diese  diesem dieser diesem diesen  "
            "dieses dieser dieses dieser",
        ),
        (
            "kein",
            "kein keine kein keine  keinen keine kein keine  keinem keiner keinem keinen  keines keiner keines keiner",
        ),
        (
            "euer",
            "euer eure euer eure  euren eure euer eure  eurem eurer eurem euren  eures eurer eures eurer",
        ),
    ],
)
def test_articles(word, forms):
    assert [article(word, case, gender) for case in CASES for gender in "mfnp"] == forms.split()


@pytest.mark.parametrize(
    "determiner, endings",
    [
        ("der", "e e e en  en e e en  en en en en  en en en en"),
        ("all", "e e e en  en e e en  en en en en  en en en en"),
        ("mein", "er e es en  en e es en  en en en en  en en en en"),
        ("", "er e es e  en e es e  em er em en  en er en er"),
    ],
)
def test_adjective_endings(determiner, endings):
    assert [adjective_ending(determiner, case, gender) for case in CASES for gender in "mfnp"] == endings.split()


def _adjectives(*words):
    return [next(item for item in adjectives.ADJECTIVES if item.english == word) for word in words]


def test_noun_phrases_in_every_case():
    def forms(*arguments, **options):
        phrase = NounPhrase(*arguments, **options)
        return [phrase.german(case) for case in (NOMINATIVE, ACCUSATIVE, DATIVE, GENITIVE)]

    assert forms(DEFINITE, NOUNS["table"], _adjectives("old")) == [
        "der alte Tisch",
        "den alten Tisch",
        "dem alten Tisch",
        "des alten Tisches",
    ]
    assert forms(INDEFINITE, NOUNS["wife"], _adjectives("beautiful", "young")) == [
        "eine schöne junge Frau",
        "eine schöne junge Frau",
        "einer schönen jungen Frau",
        "einer schönen jungen Frau",
    ]
    # The n-declension.
    assert forms(THIS, NOUNS["student"]) == [
        "dieser Student",
        "diesen Studenten",
        "diesem Studenten",
        "dieses Studenten",
    ]
    assert forms(DEFINITE, NOUNS["apple"], _adjectives("red"), plural=True, quantity=("three", "drei")) == [
        "die drei roten Äpfel",
        "die drei roten Äpfel",
        "den drei roten Äpfeln",
        "der drei roten Äpfel",
    ]
    assert forms(DEFINITE, NOUNS["car"], _adjectives("expensive"), plural=True)[2] == "den teuren Autos"
    assert forms(INDEFINITE, NOUNS["tower"], _adjectives("high"))[1] == "einen hohen Turm"
    assert forms(INDEFINITE, NOUNS["room"], _adjectives("dark"))[2] == "einem dunklen Zimmer"


def test_english_noun_phrases():
    assert NounPhrase(INDEFINITE, NOUNS["apple"]).english() == "an apple"
    assert NounPhrase(INDEFINITE, NOUNS["university"]).english() == "a university"
    assert NounPhrase(INDEFINITE, NOUNS["house"], _adjectives("old")).english() == "an old house"
    assert NounPhrase(INDEFINITE, NOUNS["trousers"]).english() == "a pair of trousers"
    assert NounPhrase(INDEFINITE, NOUNS["trousers"]).german(ACCUSATIVE) == "eine Hose"
    assert NounPhrase(THIS, NOUNS["knife"], plural=True).english() == "these knives"


def test_names():
    weber = Name("Mr Weber", "m", "Herr Weber", "Herrn Weber")
    assert [weber.german(case) for case in CASES] == [
        "Herr Weber",
        "Herrn Weber",
        "Herrn Weber",
        "Herrn Webers",
    ]
    assert Name("Anna", "f").german(GENITIVE) == "Annas"


def test_contractions():
    assert with_preposition("in", "dem Garten") == "im Garten"
    assert with_preposition("zu", "der Schule") == "zur Schule"
    assert with_preposition("an", "das Meer") == "ans Meer"
    assert with_preposition("auf", "das Dach") == "auf das Dach"
    assert with_preposition("in", "diesem Garten") == "in diesem Garten"


def test_relative_pronouns():
    assert relative_pronoun(ACCUSATIVE, "m") == "den"
    assert relative_pronoun(DATIVE, "p") == "denen"
    assert relative_pronoun(GENITIVE, "f") == "deren"


@pytest.mark.parametrize(
    "text, present, participle, imperative",
    [
        ("kaufen", "kaufe kaufst kauft kaufen kauft kaufen", "gekauft", "kauf"),
        ("arbeiten", "arbeite arbeitest arbeitet arbeiten arbeitet arbeiten", "gearbeitet", "arbeite"),
        ("öffnen", "öffne öffnest öffnet öffnen öffnet öffnen", "geöffnet", "öffne"),
        ("zeichnen", "zeichne zeichnest zeichnet zeichnen zeichnet zeichnen", "gezeichnet", "zeichne"),
        ("wohnen", "wohne wohnst wohnt wohnen wohnt wohnen", "gewohnt", "wohn"),
        ("spielen", "spiele spielst spielt spielen spielt spielen", "gespielt", "spiel"),
        ("angeln", "angle angelst angelt angeln angelt angeln", "geangelt", "angle"),
        ("feiern", "feiere feierst feiert feiern feiert feiern", "gefeiert", "feiere"),
        (
            "reparieren",
            "repariere reparierst repariert reparieren repariert reparieren",
            "repariert",
            "repariere",
        ),
        ("fahren fährt gefahren sein", "fahre fährst fährt fahren fahrt fahren", "gefahren", "fahr"),
        ("lesen liest gelesen", "lese liest liest lesen lest lesen", "gelesen", "lies"),
        ("nehmen nimmt genommen", "nehme nimmst nimmt nehmen nehmt nehmen", "genommen", "nimm"),
        ("halten hält gehalten", "halte hältst hält halten haltet halten", "gehalten", "halte"),
        ("ein|laden lädt eingeladen", "lade lädst lädt laden ladet laden", "eingeladen", "lade"),
    ],
)
def test_verbs(text, present, participle, imperative):
    verb = german_verb(text)
    assert [verb.present(*person) for person in PERSONS] == present.split()
    assert (verb.participle, verb.imperative()) == (participle, imperative)


def test_irregular_verbs():
    assert [SEIN.present(*person) for person in PERSONS] == "bin bist ist sind seid sind".split()
    assert [modal("müssen").past(*person) for person in PERSONS] == (
        "musste musstest musste mussten musstet mussten".split()
    )
    assert german_verb("stehen steht gestanden").past(3, True) == "standen"
    assert german_verb("an|rufen ruft angerufen").infinitive_with_zu() == "anzurufen"
    assert german_verb("spazieren_|gehen geht x sein").infinitive_with_zu() == "spazieren zu gehen"


def test_comparison():
    assert german_adjective("teuer/teur")[2:] == ("teurer", "teuerst")
    assert german_adjective("hoch/hoh höher höchst")[1:] == ("hoh", "höher", "höchst")
    assert german_adjective("breit")[2:] == ("breiter", "breitest")
    assert (english.comparative("big"), english.superlative("heavy")) == ("bigger", "heaviest")


@pytest.mark.parametrize(
    "text, forms",
    [
        ("write wrote written", ("writes", "wrote", "written", "writing")),
        ("plan", ("plans", "planned", "planned", "planning")),
        ("study", ("studies", "studied", "studied", "studying")),
        ("wash", ("washes", "washed", "washed", "washing")),
        ("see saw seen", ("sees", "saw", "seen", "seeing")),
        ("play", ("plays", "played", "played", "playing")),
    ],
)
def test_english_verbs(text, forms):
    assert english.english_verb(text)[1:5] == forms


def _compound(text):
    modifier, _, head = text.rpartition(" ")
    return next(item for item in COMPOUNDS[head] if item.parts == (modifier, head))


@pytest.mark.parametrize(
    "text, german",
    [
        ("kitchen table", "des Küchentisches"),
        ("children's book", "des Kinderbuches"),
        ("work contract", "des Arbeitsvertrags"),
        ("school bag", "der Schultasche"),
        ("history teacher", "des Geschichtslehrers"),
        ("birthday cake", "des Geburtstagskuchens"),
    ],
)
def test_compounds_link_and_inflect_like_their_head(text, german):
    noun = _compound(text)
    assert NounPhrase(DEFINITE, noun).german(GENITIVE) == german
    assert NounPhrase(DEFINITE, noun).english() == f"the {text}"


def test_compounds_for_women():
    assert _compound("history teacher").feminine.plural == "Geschichtslehrerinnen"


# Order of words

_CALL = Verb(english.english_verb("call"), german_verb("an|rufen ruft angerufen"))
_GIVE = Verb(english.english_verb("give gave given"), german_verb("geben gibt gegeben"))
_GO = Verb(english.english_verb("go went gone"), german_verb("gehen geht gegangen sein"))
_REJOICE = Verb(english.english_verb("look +forward"), german_verb("sich freuen"))
_YESTERDAY = Adverbial("yesterday", "gestern", "time")
_MOTHER = NounPhrase(DEFINITE, NOUNS["mother"])


@pytest.mark.parametrize(
    "tense, negated, order, english_text, german_text",
    [
        ("present", False, MAIN, "Anna calls the mother", "Anna ruft die Mutter an"),
        ("present", True, MAIN, "Anna does not call the mother", "Anna ruft die Mutter nicht an"),
        ("present", False, FINAL, "Anna calls the mother", "Anna die Mutter anruft"),
        ("past", False, FINAL, "Anna called the mother", "Anna die Mutter angerufen hat"),
        ("past", False, QUESTION, "did Anna call the mother", "hat Anna die Mutter angerufen"),
        ("future", True, MAIN, "Anna will not call the mother", "Anna wird die Mutter nicht anrufen"),
        ("must", False, FINAL, "Anna must call the mother", "Anna die Mutter anrufen muss"),
        ("must not", True, MAIN, "Anna must not call the mother", "Anna darf die Mutter nicht anrufen"),
        (
            "have to",
            True,
            MAIN,
            "Anna does not have to call the mother",
            "Anna muss die Mutter nicht anrufen",
        ),
        ("can", True, MAIN, "Anna cannot call the mother", "Anna kann die Mutter nicht anrufen"),
        ("had to", False, MAIN, "Anna had to call the mother", "Anna musste die Mutter anrufen"),
    ],
)
def test_tenses_and_orders(tense, negated, order, english_text, german_text):
    clause = Clause(Name("Anna", "f"), _CALL, tense, [Object(_MOTHER, ACCUSATIVE)], negated=negated)
    assert (clause.english(order), clause.german(order)) == (english_text, german_text)


def test_fronted_time_puts_the_verb_second():
    clause = Clause(PRONOUNS["she"], _GO, "past", adverbials=[_YESTERDAY, Adverbial("home", "nach Hause", "direction")])
    clause.bring_to_front(_YESTERDAY)
    assert clause.in_main() == ("yesterday she went home", "gestern ist sie nach Hause gegangen")


def test_definite_objects_stand_before_the_time_and_indefinite_ones_after_it():
    def german(determiner):
        objects = [Object(_MOTHER, DATIVE), Object(NounPhrase(determiner, NOUNS["key"]), ACCUSATIVE)]
        return Clause(Name("Paul", "m"), _GIVE, "past", objects, [_YESTERDAY]).german()

    assert german(DEFINITE) == "Paul hat der Mutter den Schlüssel gestern gegeben"
    assert german(INDEFINITE) == "Paul hat der Mutter gestern einen Schlüssel gegeben"


def test_reflexive_pronoun():
    clause = Clause(Name("Paul", "m"), _REJOICE, "past", front=_YESTERDAY)
    assert clause.german() == "gestern hat sich Paul gefreut"
    assert Clause(PRONOUNS["I"], _REJOICE, "past", front=_YESTERDAY).german() == "gestern habe ich mich gefreut"


def test_passive():
    clause = Clause(NounPhrase(DEFINITE, NOUNS["key"], plural=True), _GIVE, "perfect", passive=True)
    assert clause.in_main() == ("the keys have been given", "die Schlüssel sind gegeben worden")
    clause.tense = "past"
    assert clause.in_main() == ("the keys were given", "die Schlüssel wurden gegeben")
    clause.tense = "must"
    assert clause.german(FINAL) == "die Schlüssel gegeben werden müssen"


def test_relative_clause_follows_the_end_of_the_main_clause():
    key = NounPhrase(DEFINITE, NOUNS["key"])
    inner = Clause(PRONOUNS["he"], _GIVE, "past", [Object(RelativePronoun(key, False), ACCUSATIVE)])
    key.relative = inner.in_final()
    assert key.relative == ("that he gave", "den er gegeben hat")
    main_clause = Clause(Name("Anna", "f"), _GIVE, "past", [Object(key, ACCUSATIVE)])
    assert main_clause.german() == "Anna hat den Schlüssel gegeben, den er gegeben hat,"
    assert main_clause.german(FINAL) == "Anna den Schlüssel, den er gegeben hat, gegeben hat"


def test_adjective_as_predicate():
    clause = Clause(PRONOUNS["I"], Verb(BE, SEIN), "preterite", adverbials=[Adverbial("ill", "krank", PREDICATE)])
    assert clause.in_main() == ("I was ill", "ich war krank")
    assert Clause(Fixed("it", "es"), Verb(BE, SEIN), "present").german(QUESTION) == "ist es"


# The lexicon


def test_adjectives_and_verbs_name_words_that_exist():
    for adjective in adjectives.ADJECTIVES:
        for name in adjective.kinds:
            assert name.lstrip("-") in NOUNS or name in BY_KIND, (adjective.english, name)
    frames = Counter((frame.name, frame.verb.english.complement) for frame in verbs.ALL)
    assert len(verbs.ALL) > 120 and max(frames.values()) <= 2


def test_one_english_verb_with_two_german_ones_is_told_apart_by_the_object():
    """paint: malen or streichen; miss: verpassen or vermissen; answer: beantworten or antworten."""
    meanings = {}
    for frame in verbs.TRANSITIVE + verbs.DATIVE_OBJECT:
        for noun in frame.objects:
            english_verb = (
                frame.verb.english.base,
                frame.verb.english.particle,
                frame.verb.english.complement,
            )
            german = meanings.setdefault((*english_verb, noun.english), frame.verb.german.infinitive())
            assert german == frame.verb.german.infinitive(), (english_verb, noun.english)


# The corpus


def test_sizes_and_shape(splits):
    assert [len(splits[name]) for name in SPLITS] == [6000, 500, 500]
    for name in SPLITS:
        for pair in splits[name]:
            for text in pair:
                assert re.fullmatch(r"[A-ZÄÖÜ0-9].*[.?]", text), text
                assert not re.search(r"\s\s|^\s|\s$| [,.?]|,,|,[.?]|[@_|]", text), text
                assert text.isprintable()


def test_english_and_german_agree_on_questions_and_digits(splits):
    for name in SPLITS:
        for source, target in splits[name]:
            assert source.endswith("?") == target.endswith("?")
            source_years, target_years = re.findall(r"\b\d{4}\b", source), re.findall(r"\b\d{4}\b", target)
            assert source_years == target_years, source


def test_no_sentence_comes_twice(splits):
    sources = [source for name in SPLITS for source, _ in splits[name]]
    assert len(set(sources)) == len(sources)


def test_a_sentence_has_one_translation():
    translations = {}
    for sentence in islice(corpus.sentences(5), 20_000):
        assert translations.setdefault(sentence.english, sentence.german) == sentence.german


def test_feminine_nouns_are_shown_by_a_pronoun():
    """Lehrerin is the translation of teacher only beside she or her, or as what a woman is."""
    for sentence in islice(corpus.sentences(6), 10_000):
        if re.search(r"\b(der|die|eine|einer|den) (\w+ )?(Lehrerin|Ärztin|Studentin|Köchin)\b", sentence.german):
            assert re.search(r"\b(she|her)\b", sentence.english), sentence


def test_words(splits):
    """Every English word of the held-out splits occurs in training, though not in these combinations."""

    def words(name):
        return {word for source, _ in splits[name] for word in re.findall(r"[^\W\d_]+", source.lower())}

    assert words("valid") | words("test") <= words("train")
    types = {word for source, _ in splits["train"] for word in re.findall(r"[\w'-]+", source.lower())}
    assert 1500 <= len(types) <= 2500
    lengths = [len(source.split()) for source, _ in splits["train"]]
    assert 9 <= sum(lengths) / len(lengths) <= 14


def _english(pairs):
    return "\n".join(source for source, _ in pairs).lower()


def _with_enough_partners(pairs):
    """Pairs whose first part has so many others that it can be learned without one of them."""
    pairs = list(pairs)
    counts = Counter(first for first, _ in pairs)
    return [(first, second) for first, second in pairs if counts[first] >= 4]


def _noun_pattern(name):
    noun = NOUNS[name]
    return f"({noun.english}|{noun.english_plural})"


def _patterns_of_combinations():
    """(combination, regular expression for how it is said in English), without the generator's help."""
    for tens in range(2, 10):
        for units in range(1, 10):
            cardinal, ordinal = english_cardinal(10 * tens + units), english_ordinal(10 * tens + units)
            # Twenty-five past six is about the clock.
            yield ("number", tens, units), rf"\b({cardinal}|{ordinal})\b(?! (past|to) )"
    for hour in range(1, 13):
        for minute in range(0, 60, 5):
            # From five past ten to twelve o'clock: this is not ten to twelve.
            yield ("clock", hour, minute), rf"(?<![\w-]){spoken_clock(hour, minute)[0]}\b(?! o'clock)"
    for month, (name, _, days) in enumerate(MONTHS, 1):
        for day in range(1, days + 1):
            words = f"the {english_ordinal(day)} of {name}|{day} {name}".lower()
            yield ("date", day, month), rf"(?<![\w-])({words})\b"
    compounds = (item.parts for heads in COMPOUNDS.values() for item in heads)
    for modifier, head in _with_enough_partners(compounds):
        yield ("compound", modifier, head), rf"\b{modifier.lower()} {_noun_pattern(head)}\b"
    described = (
        (adjective.english, name) for name, noun in NOUNS.items() for adjective in adjectives.adjectives_for(noun)
    )
    for adjective, name in _with_enough_partners(described):
        yield ("adjective", adjective, name), rf"\b{adjective} {_noun_pattern(name)}\b(?! [a-z]+s?\b)"


def test_held_out_combinations_are_not_in_the_training_text(splits):
    """By the text: what is held out is looked for in it, without the record that the generator keeps."""
    train, others = _english(splits["train"]), _english(splits["valid"] + splits["test"])
    found, tried = Counter(), Counter()
    for (kind, first, second), pattern in _patterns_of_combinations():
        in_train = re.search(pattern, train)
        if corpus.is_held_out((kind, str(first), str(second))):
            assert not in_train, in_train
            found[kind] += bool(re.search(pattern, others))
        else:
            tried[kind] += bool(in_train)
    # What is not held out is found in training, and what is in the other sets: so the expressions are right.
    assert min(tried[kind] for kind in ("number", "clock", "date", "compound", "adjective")) > 40, tried
    assert min(found[kind] for kind in ("number", "clock", "date", "compound", "adjective")) > 5, found


def test_every_sentence_is_in_the_right_split(splits):
    """By the generator's record, which also knows verbs and their objects."""
    records = {sentence.english: sentence for sentence in islice(corpus.sentences(1), 40_000)}
    for name in SPLITS:
        for source, target in splits[name]:
            assert records[source].german == target
            assert records[source].held_out == (name != "train")
    held_out = [item for record in records.values() for item in record.combinations if corpus.is_held_out(item)]
    assert {kind for kind, _, _ in held_out} == {"number", "clock", "date", "compound", "adjective", "object"}


def test_other_seeds_hold_out_the_same(splits):
    other = generate(2, 2000, 100, 100)
    assert not {source for source, _ in other["train"]} & {source for source, _ in splits["test"]}
    assert len(set(other["train"]) & set(splits["train"])) < 100


@pytest.mark.parametrize("train_pairs", [1, 500, 20_000])
def test_other_sizes(train_pairs):
    made = generate(3, train_pairs, 20, 30)
    assert [len(made[name]) for name in SPLITS] == [train_pairs, 20, 30]
    assert len({source for name in SPLITS for source, _ in made[name]}) == train_pairs + 50


SMALL = ["--seed", "11", "--train-pairs", "300", "--valid-pairs", "40", "--test-pairs", "40"]


def _digest(folder):
    digest = hashlib.sha256()
    for name in SPLITS:
        for language in ("en", "de"):
            digest.update((folder / f"{name}.{language}").read_bytes())
    return digest.hexdigest()


def test_command_line_writes_the_same_bytes_everywhere(tmp_path):
    main(["--output", str(tmp_path / "here"), *SMALL])
    environment = dict(os.environ, PYTHONHASHSEED="4711")
    command = [
        sys.executable,
        "-m",
        "rdrop_fairseq.data.generated_corpus",
        "--output",
        str(tmp_path / "there"),
    ]
    run = subprocess.run([*command, *SMALL], env=environment, capture_output=True, text=True, check=True)
    assert "300 train, 40 valid, 40 test" in run.stdout
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == sorted(
        f"{name}.{language}" for name in SPLITS for language in ("en", "de")
    )
    assert _digest(tmp_path / "here") == _digest(tmp_path / "there")
    content = (tmp_path / "here" / "valid.de").read_bytes()
    assert content.count(b"\n") == 40 and b"\r" not in content and content.endswith(b"\n")


def test_the_text_of_a_seed_is_pinned(tmp_path):
    """The same on every Python and platform. A change of the grammar or the lexicon needs a new pin."""
    main(["--output", str(tmp_path), *SMALL])
    assert _digest(tmp_path) == PINNED


@pytest.mark.parametrize("option", ["--train-pairs", "--valid-pairs", "--test-pairs"])
@pytest.mark.parametrize("count", ["0", "-5", "1000001"])
def test_impossible_counts_are_refused(tmp_path, option, count):
    with pytest.raises(UserError, match=f"{count} .* pairs cannot be generated; ask for 1 to 1000000"):
        main(["--output", str(tmp_path / "corpus"), option, count])
    assert not (tmp_path / "corpus").exists()


def test_more_pairs_than_there_are(monkeypatch):
    monkeypatch.setattr(corpus, "_TEMPLATES", ((1, times.what_time),))
    monkeypatch.setattr(corpus, "_WEIGHTS", (1,))
    monkeypatch.setattr(corpus, "_PATIENCE", 100)
    with pytest.raises(UserError, match="only .* different sentences can be generated; ask for fewer pairs"):
        generate(1, 50_000, 10, 10)


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write"):
        main(["--output", str(tmp_path / "file"), *SMALL])
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"

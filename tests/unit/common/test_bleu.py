"""The tokeniser of BLEU, which validation and final scores share."""

import importlib

import pytest
from sacrebleu.metrics import BLEU

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.common.errors import UserError


@pytest.mark.parametrize("language", [None, "", "de", "zhx", "pt-br", "en_GB", "azh"])
def test_most_languages_have_the_default(language):
    assert sacrebleu_tokeniser(language) == "13a"


@pytest.mark.parametrize("language", ["zh", "zh-cn", "zh_TW", "ZH", "zh-Hant-HK", "zho_Hans", "cmn", "yue"])
def test_chinese_has_its_own_with_any_region_or_script(language):
    assert sacrebleu_tokeniser(language) == "zh"


def test_the_choice_is_the_one_of_sacrebleu():
    """Where sacreBLEU learns of a further language, this table should too."""
    choices = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
    assert BLEU._TOKENIZER_MAP == {language: choices[language] for language in BLEU._TOKENIZER_MAP}
    assert BLEU.TOKENIZER_DEFAULT == "13a"


@pytest.mark.parametrize("language, name", [("ja", "ja"), ("jpn_Jpan", "ja"), ("ko-KR", "ko")])
def test_tokenisers_of_japanese_and_korean(language, name, monkeypatch):
    module = importlib.import_module(f"sacrebleu.tokenizers.tokenizer_{name}_mecab")
    tokenizer = {"ja": "TokenizerJaMecab", "ko": "TokenizerKoMecab"}[name]

    def fail(self):
        raise RuntimeError("requires extra dependencies")

    monkeypatch.setattr(module, tokenizer, type(tokenizer, (), {"__init__": fail}))
    message = rf"sacreBLEU's tokeniser for {language} is not installed; pip install -U 'sacrebleu\[{name}\]'"
    with pytest.raises(UserError, match=message):
        sacrebleu_tokeniser(language)
    present = type(tokenizer, (), {"signature": lambda self: name})
    monkeypatch.setattr(module, tokenizer, present)
    assert sacrebleu_tokeniser(language) == f"{name}-mecab"

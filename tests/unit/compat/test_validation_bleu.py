"""BLEU in validation: by the tokeniser of the final score, and 0 where there is nothing to count."""

import fairseq_tools
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.logging import metrics
from sacrebleu.metrics import BLEU

from rdrop_fairseq.common.errors import UserError

CHINESE = ["我们在北京的公园里看见了一只鸟", "他昨天没有来学校上课"]


def make_task(data_bin, *flags, name="rdrop_translation", language=None, lines=()):
    """A task with --eval-bleu; with ``lines``, its target dictionary has one symbol for each."""
    config = fairseq_tools.training_config(
        data_bin, "--task", name, "--eval-bleu", *fairseq_tools.TINY_TRANSFORMER, *flags
    )
    config.task.target_lang = language or config.task.target_lang
    dictionary = Dictionary()
    for line in lines:
        dictionary.add_symbol(f"▁{line}")
    from fairseq import tasks

    task = (
        tasks.setup_task(config.task) if language is None else tasks.TASK_REGISTRY[name](config.task, *[dictionary] * 2)
    )
    task.tokenizer = None
    return task


def statistics(task, hypotheses, references) -> dict:
    """What validation logs for sentences of the target dictionary, given by their numbers."""
    eos, pad = task.target_dictionary.eos(), task.target_dictionary.pad()
    task.inference_step = lambda *_, **__: [[{"tokens": torch.tensor([*tokens, eos])}] for tokens in hypotheses]
    target = [torch.tensor([*tokens, eos]) for tokens in references]
    sample = {"target": torch.nn.utils.rnn.pad_sequence(target, batch_first=True, padding_value=pad)}
    bleu = task._inference_with_bleu(None, sample, None)
    log = {"_bleu_sys_len": bleu.sys_len, "_bleu_ref_len": bleu.ref_len}
    for order in range(4):
        log[f"_bleu_counts_{order}"], log[f"_bleu_totals_{order}"] = bleu.counts[order], bleu.totals[order]
    return {
        **log,
        "loss": torch.zeros(()),
        "nll_loss": torch.zeros(()),
        "ntokens": 1,
        "nsentences": 1,
        "sample_size": 1,
    }


def figures(task, batches) -> dict:
    """The figures of a validation of these batches, each the logs of some processes."""
    from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

    criterion = LabelSmoothedCrossEntropyCriterion(task, False, 0.1)
    with metrics.aggregate(new_root=True) as aggregator:
        for logs in batches:
            task.reduce_metrics(logs, criterion)
    return aggregator.get_smoothed_values()


@pytest.mark.parametrize("name", ["rdrop_translation", "translation"])
def test_chinese_is_scored_as_in_the_end(data_bin, name, caplog):
    task = make_task(data_bin, "--eval-bleu-remove-bpe", "sentencepiece", name=name, language="zh", lines=CHINESE)
    first, second = (task.target_dictionary.index(f"▁{line}") for line in CHINESE)
    right, wrong = statistics(task, [[first], [second]], [[first], [second]]), statistics(task, [[first]], [[second]])
    assert figures(task, [[right]])["bleu"] == 100
    expected = BLEU(trg_lang="zh").corpus_score([*CHINESE, CHINESE[0]], [[*CHINESE, CHINESE[1]]])
    assert 0 < expected.score < 100
    assert figures(task, [[right], [wrong]])["bleu"] == round(expected.score, 2)


def test_the_tokens_of_the_text_are_taken_where_they_are_asked_for(data_bin):
    flags = ("--eval-bleu-remove-bpe", "sentencepiece", "--eval-tokenized-bleu")
    task = make_task(data_bin, *flags, language="zh", lines=CHINESE)
    first = task.target_dictionary.index(f"▁{CHINESE[0]}")
    assert statistics(task, [[first]], [[first]])["_bleu_ref_len"] == 1


@pytest.mark.parametrize("language", ["ja", "ko"])
def test_a_tokeniser_that_is_not_installed_is_said_before_training(data_bin, monkeypatch, language):
    def without(*arguments, trg_lang="", **options):
        raise RuntimeError("requires extra dependencies")

    monkeypatch.setattr("sacrebleu.metrics.BLEU", without)
    from rdrop_fairseq.compat.validation import _bleu_of_language

    _bleu_of_language.cache_clear()
    task = make_task(data_bin, name="translation", language=language)
    with pytest.raises(UserError, match=rf"pip install -U 'sacrebleu\[{language}\]'"):
        task.begin_epoch(1, None)
    _bleu_of_language.cache_clear()


@pytest.mark.parametrize("name", ["rdrop_translation", "translation"])
def test_empty_translations_have_a_bleu_of_0(data_bin, name):
    task = make_task(data_bin, name=name)
    empty = statistics(task, [[], []], [[7, 8, 9, 10, 11], [12, 13]])
    assert figures(task, [[empty], [empty]])["bleu"] == 0
    assert "bleu" not in figures(task, [[{"loss": 0.0, "nll_loss": 0.0, "ntokens": 1, "sample_size": 1}]])


def test_references_of_empty_translations_count(data_bin):
    """Two sentences of which one has been translated, and rightly, have the brevity of half a text."""
    task = make_task(data_bin)
    words = list(range(7, 15))
    empty, right = statistics(task, [[]], [words]), statistics(task, [words], [words])
    text = task.target_dictionary.string(torch.tensor(words))
    expected = BLEU().corpus_score(["", text], [[text, text]]).score
    assert 0 < expected < 50
    for batches in ([[empty], [right]], [[right], [empty]], [[empty, right]]):
        assert figures(task, batches)["bleu"] == round(expected, 2)

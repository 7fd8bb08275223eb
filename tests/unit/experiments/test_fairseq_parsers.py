"""The configurations of this repository, through fairseq's own parsers, against what was published."""

from pathlib import Path

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import VARIANTS, Setting, read_configuration
from rdrop_fairseq.experiments.fairseq_parsers import check_flags

CONFIGURATIONS = Path(__file__).resolve().parents[3] / "configs"
COMMON = {
    "share_all_embeddings": True, "optimizer": "adam", "adam_betas": "(0.9,0.98)", "lr_scheduler": "inverse_sqrt",
    "warmup_init_lr": 1e-7, "label_smoothing": 0.1, "fp16": True, "required_batch_size_multiple": 1, "clip_norm": 0.0,
}  # fmt: skip
BEST_BLEU = {
    "eval_bleu": True, "best_checkpoint_metric": "bleu", "maximize_best_checkpoint_metric": True,
    "eval_bleu_remove_bpe": "sentencepiece",
}  # fmt: skip
# The R-Drop authors' issue 19.
WMT14_EN_DE = {
    "arch": "transformer_vaswani_wmt_en_de_big", "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1,
    "lr": [0.001], "warmup_updates": 6000, "weight_decay": 0.0, "max_update": 300000, "encoder_embed_dim": 1024,
}  # fmt: skip
# Ott et al. 2018.
WMT14_EN_FR = {
    "arch": "transformer_vaswani_wmt_en_de_big", "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0,
    "lr": [0.0007], "warmup_updates": 4000, "weight_decay": 0.0, "max_update": 80000,
}  # fmt: skip
# The R-Drop authors' script.
IWSLT14 = {
    "arch": "transformer_iwslt_de_en", "dropout": 0.3, "lr": [0.0005], "warmup_updates": 4000, "weight_decay": 0.0001,
    "max_update": 300000, "seed": 64, "eval_bleu_detok": "moses", **BEST_BLEU,
}  # fmt: skip
MULTI30K = {"dropout": 0.3, "lr": [0.0005], "warmup_updates": 4000, "encoder_embed_dim": 256, **BEST_BLEU}
EXPERIMENTS = {
    # name: flags of fairseq-train, languages, tokens of a batch and of an update, beam, length penalty
    "wmt14_en_de": (WMT14_EN_DE, "en-de", 4096, 4096 * 16 * 8, 4, 0.6),
    "wmt14_en_fr": (WMT14_EN_FR, "en-fr", 5120, 5120 * 128, 4, 0.6),
    "iwslt14_de_en": (IWSLT14, "de-en", 4096, 4096, 5, 1),
    "multi30k_en_de": (MULTI30K, "en-de", 4096, 4096, 5, 1),
}


def test_every_configuration_is_tested():
    """The quickstart's is tested with its script."""
    assert {path.stem for path in CONFIGURATIONS.glob("*.yaml")} == {*EXPERIMENTS, "quickstart"}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_training(name, variant):
    flags, languages, max_tokens, tokens_per_update, _, _ = EXPERIMENTS[name]
    configuration = read_configuration(CONFIGURATIONS / f"{name}.yaml")
    values, _ = check_flags(configuration.training(variant), "fairseq-train", "data")
    for flag, expected in {**COMMON, **flags}.items():
        assert getattr(values, flag) == expected, flag
    if variant == "rdrop":
        assert (values.task, values.criterion) == ("rdrop_translation", "label_smoothed_cross_entropy_with_rdrop")
        assert values.rdrop_alpha == 5 and values.rdrop_passes == 2
    else:
        assert (values.task, values.criterion) == ("translation", "label_smoothed_cross_entropy")
    assert f"{configuration.source_language}-{configuration.target_language}" == languages
    assert (configuration.max_tokens, configuration.tokens_per_update) == (max_tokens, tokens_per_update)
    assert name.startswith(configuration.recipe)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_generation(name):
    beam, length_penalty = EXPERIMENTS[name][-2:]
    configuration = read_configuration(CONFIGURATIONS / f"{name}.yaml")
    values, _ = check_flags(configuration.generation, "fairseq-generate", "data")
    assert (values.beam, values.lenpen) == (beam, length_penalty)
    # The best one by BLEU, or the average of the last ones; those have to be kept.
    training, _ = check_flags(configuration.training("rdrop"), "fairseq-train", "data")
    if configuration.average is None:
        assert training.best_checkpoint_metric == "bleu"
    else:
        assert training.keep_interval_updates >= configuration.average
        assert training.max_update % training.save_interval_updates == 0


def settings(*words) -> list:
    return [Setting(flag, value, f"x.yaml:{number}") for number, (flag, value) in enumerate(words, start=1)]


@pytest.mark.parametrize(
    "flag, value, message",
    [
        (
            "--warmup-update",
            "5",
            "x.yaml:2: --warmup-update is no flag of fairseq-train; did you mean --warmup-updates?",
        ),
        ("--qqqqqqqqqqqq", "5", "x.yaml:2: --qqqqqqqqqqqq is no flag of fairseq-train; leave it out"),
        ("--max-update", "many", "x.yaml:2: --max-update many: invalid int value: 'many'"),
        ("--lr", None, "x.yaml:2: --lr needs a value"),
        ("--lr", "", "x.yaml:2: --lr needs a value"),
        ("--lr", "0.001 0.002", "x.yaml:2: --lr 0.001 0.002: fairseq cannot read this value; correct it"),
        ("--lr", "fast", "x.yaml:2: --lr fast: fairseq cannot read this value"),
        ("--adam-betas", "x", "x.yaml:2: fairseq cannot read --adam-betas x; give (0.9, 0.98), say"),
        ("--adam-betas", "(0.9,)", "x.yaml:2: fairseq cannot read --adam-betas (0.9,)"),
        ("--eval-bleu-args", "{beam: 5}", "x.yaml:2: fairseq cannot read --eval-bleu-args {beam: 5}; give JSON"),
        ("--save-directory", "x", "x.yaml:2: --save-directory is no flag of fairseq-train; leave it out"),
        ("--max-tokens-valid", "many", "x.yaml:2: fairseq cannot read --max-tokens-valid many; give a whole number"),
        ("--eval-bleu", "yes", "x.yaml:2: --eval-bleu is a switch; leave yes out"),
        ("--optimizer", "adm", "x.yaml:2: --optimizer adm does not exist; did you mean adam?"),
        ("--arch", "transfromer", "x.yaml:2: --arch transfromer does not exist; did you mean transformer?"),
        (
            "--task",
            "rdrop_translations",
            "x.yaml:2: --task rdrop_translations does not exist; did you mean rdrop_transl",
        ),
    ],
)
def test_mistakes_in_flags_of_fairseq(flag, value, message):
    with pytest.raises(UserError) as error:
        words = [("--arch", "transformer"), ("--optimizer", "adam"), ("--task", "rdrop_translation")]
        kept = [word for word in words if word[0] != flag]
        check_flags(settings(kept[0], (flag, value), *kept[1:]), "fairseq-train", "data")
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_flag_of_another_optimizer_has_no_namesake():
    with pytest.raises(UserError) as error:
        words = [("--arch", "transformer"), ("--optimizer", "nag"), ("--adam-betas", "(0.9, 0.98)")]
        check_flags(settings(*words), "fairseq-train", "data")
    assert str(error.value) == "x.yaml:3: --adam-betas is no flag of fairseq-train; leave it out"


def test_mistakes_in_flags_of_generation():
    with pytest.raises(UserError) as error:
        check_flags(settings(("--bean", "4")), "fairseq-generate", "data")
    assert str(error.value) == "x.yaml:1: --bean is no flag of fairseq-generate; did you mean --beam?"

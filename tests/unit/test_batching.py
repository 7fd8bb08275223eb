"""Concatenating a batch with itself."""

import copy

import pytest
import torch
from fairseq_tools import assert_equal

from rdrop_fairseq.batching import Rows, concatenate_passes, of_all_passes


def make_sample():
    return {
        "id": torch.arange(3),
        "nsentences": 3,
        "ntokens": 7,
        "net_input": {
            "src_tokens": torch.arange(12).view(3, 4),
            "src_lengths": torch.tensor([4, 3, 2]),
            "prev_output_tokens": torch.arange(9).view(3, 3),
            "nested": {"scores": [torch.ones(3, 2), torch.ones(2, 3)], "name": "x"},
            "pair": (torch.arange(3), "x"),
            "future_mask": torch.zeros(5, 5),
            "scalar": torch.tensor(2.0),
            "none": None,
        },
        "target": torch.arange(9).view(3, 3),
    }


@pytest.mark.parametrize("passes", [2, 3])
def test_batch_first_tensors_are_repeated_pass_after_pass(passes):
    sample = make_sample()
    result = concatenate_passes(sample, passes)
    tokens = sample["net_input"]["src_tokens"]
    assert torch.equal(result["net_input"]["src_tokens"], torch.cat([tokens] * passes))
    assert result["net_input"]["src_lengths"].tolist() == [4, 3, 2] * passes
    assert result["net_input"]["nested"]["scores"][0].shape == (3 * passes, 2)
    pair = result["net_input"]["pair"]
    assert isinstance(pair, tuple) and pair[0].tolist() == [0, 1, 2] * passes and pair[1] == "x"
    assert result["rdrop_passes"] == passes


@pytest.mark.parametrize("repeated", [[], [1], [0, 2], [0, 1, 2]])
def test_some_sentences_are_repeated(repeated):
    """The first pass holds all sentences, the later ones some; what the model makes of these is found again."""
    sample = make_sample()
    rows = Rows(torch.tensor(repeated, dtype=torch.int64), torch.tensor([it for it in range(3) if it not in repeated]))
    result = concatenate_passes(sample, 3, rows)
    tokens = sample["net_input"]["src_tokens"]
    assert torch.equal(result["net_input"]["src_tokens"], torch.cat([tokens, tokens[repeated], tokens[repeated]]))
    assert result["net_input"]["nested"]["scores"][0].shape == (3 + 2 * len(repeated), 2)
    assert result["rdrop_passes"] == 3 and result["rdrop_rows"] is rows
    chosen = of_all_passes(result["net_input"]["src_tokens"], rows, batch_size=3)
    assert torch.equal(chosen, torch.cat([tokens[repeated]] * 3))
    of_columns = of_all_passes(result["net_input"]["src_tokens"].t(), rows, batch_size=3, dim=1)
    assert torch.equal(of_columns, chosen.t())


def test_the_rest_is_kept():
    sample = make_sample()
    result = concatenate_passes(sample, 2)
    assert result["net_input"]["nested"]["scores"][1].shape == (2, 3)
    assert result["net_input"]["nested"]["name"] == "x"
    assert result["net_input"]["future_mask"].shape == (5, 5)
    assert result["net_input"]["scalar"].shape == ()
    assert result["net_input"]["none"] is None
    for key in ("id", "target", "ntokens", "nsentences"):
        assert result[key] is sample[key]


@pytest.mark.parametrize("name", ["attn_mask", "future_mask", "mask"])
@pytest.mark.parametrize("batch_size", [3, 5], ids=["another size", "the size of the batch"])
def test_a_mask_of_positions_is_kept_whatever_the_size_of_the_batch(name, batch_size):
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    tokens = torch.arange(batch_size * 5).view(batch_size, 5)
    padding = torch.zeros(batch_size, 5, dtype=torch.bool)
    inputs = {
        "src_tokens": tokens, "decoder": {name: mask, "layers": [padding]},
        "encoder_padding_mask": padding, "attention_mask": padding,
    }  # fmt: skip
    result = concatenate_passes({"net_input": inputs, "target": tokens}, 2)["net_input"]
    assert result["decoder"][name] is mask
    assert result["src_tokens"].shape == result["decoder"]["layers"][0].shape == (2 * batch_size, 5)
    assert result["encoder_padding_mask"].shape == result["attention_mask"].shape == (2 * batch_size, 5)


def test_the_callers_sample_is_unchanged():
    sample = make_sample()
    before = copy.deepcopy(sample)
    concatenate_passes(sample, 2)
    assert_equal(sample, before)


def test_nothing_is_concatenated_twice():
    with pytest.raises(ValueError, match="rdrop_passes=2"):
        concatenate_passes(concatenate_passes(make_sample(), 2), 2)

"""Models whose encoders pack a batch as one whose lengths decrease, given a batch concatenated with itself."""

import pytest
import torch
from fairseq.data import Dictionary


def dictionary() -> Dictionary:
    result = Dictionary()
    for number in range(10):
        result.add_symbol(f"word{number}")
    return result


def fairseqs_encoder():
    from fairseq.models.lstm import LSTMEncoder

    encoder = LSTMEncoder(dictionary(), embed_dim=6, hidden_size=6, left_pad=False)
    return lambda tokens, lengths: encoder.eval()(tokens, lengths)[0]  # (T, B, D)


def lasers_encoder():
    laser = pytest.importorskip("fairseq.examples.laser.laser_src.laser_lstm")
    encoder = laser.LSTMEncoder(dictionary(), embed_dim=6, hidden_size=6, left_pad=False, bidirectional=True)
    return lambda tokens, lengths: encoder.eval()(tokens, lengths, "train")["encoder_out"][0]


@pytest.mark.parametrize("make_encoder", [fairseqs_encoder, lasers_encoder])
def test_each_pass_has_what_it_has_alone(make_encoder):
    torch.manual_seed(0)
    encoder = make_encoder()
    tokens, lengths = torch.tensor([[4, 5, 6, 2], [7, 8, 2, 1]]), torch.tensor([4, 3])
    once = encoder(tokens, lengths)
    twice = encoder(torch.cat([tokens, tokens]), torch.cat([lengths, lengths]))
    assert once.shape[:2] == (4, 2)
    torch.testing.assert_close(twice, torch.cat([once, once], dim=1))

"""What the preparation of text costs: BLEU of a text that went through it and back, against itself.

    python -m rdrop_fairseq.data.round_trip --input newstest2014.de --lang de --model sentencepiece.model

tokenises, splits into sub-words, joins and detokenises; no system that works on the prepared text can score higher. It
also tells which characters the model does not know: they survive in writing, but a system cannot translate into them.
"""

from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

from sacrebleu.metrics import BLEU

from rdrop_fairseq.common.command_line import Parser
from rdrop_fairseq.common.text import iterate_lines
from rdrop_fairseq.data.moses import make_detokenise, make_tokenise
from rdrop_fairseq.data.subwords import decode, load_model, make_encode


class RoundTrip(NamedTuple):
    bleu: float
    signature: str
    sentences: int
    changed: List[int]
    """The numbers, from 1, of the lines that came back different."""
    unknown: Dict[str, int]
    """How often each character that the model does not know occurs, the most frequent first."""


def round_trip(source: Path, model: Path, language: str, dash_splits: bool = True, escape: bool = True) -> RoundTrip:
    """Send every line of ``source`` through the preparation and back."""
    tokenise, detokenise = make_tokenise(language, dash_splits, escape), make_detokenise(language)
    encode, subwords = make_encode(model), load_model(model)
    unknown: Counter = Counter()
    original, returned = list(iterate_lines(source)), []
    for line in original:
        pieces = encode(tokenise(line))
        returned.append(detokenise(decode(pieces)))
        for piece in pieces.split():
            if subwords.piece_to_id(piece) == subwords.unk_id():
                unknown.update(piece.lstrip("\u2581"))
    metric = BLEU()
    score = metric.corpus_score(returned, [original]).score
    changed = [number for number, pair in enumerate(zip(original, returned), start=1) if pair[0] != pair[1]]
    return RoundTrip(score, str(metric.get_signature()), len(original), changed, dict(unknown.most_common()))


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = Parser(prog="python -m rdrop_fairseq.data.round_trip", description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, required=True, help="raw text")
    parser.add_argument("--lang", required=True)
    parser.add_argument("--model", type=Path, required=True, help="SentencePiece model learnt from tokenised text")
    parser.add_argument("--no-dash-splits", action="store_true")
    parser.add_argument("--no-escape", action="store_true")
    options = parser.parse_args(arguments)
    result = round_trip(options.input, options.model, options.lang, not options.no_dash_splits, not options.no_escape)
    print(f"BLEU {result.bleu:.2f} of {result.sentences} lines against themselves ({result.signature})")
    print(f"{len(result.changed)} lines changed, such as {', '.join(map(str, result.changed[:10])) or 'none'}")
    unknown = ", ".join(f"{character} ({count})" for character, count in list(result.unknown.items())[:20])
    print(f"{len(result.unknown)} characters unknown to the model{f', such as {unknown}' if unknown else ''}")


if __name__ == "__main__":
    main()

"""A generated English-German corpus: text made by rules from a small lexicon, not collected from anywhere.

It is a small but real translation problem: number words, compounds, gender and case, clock times and dates,
and the German order of words. It shows that training and scoring work, on any machine and without a network;
it says nothing about how well a system translates other text.

    python -m rdrop_fairseq.data.generated_corpus --output DIR
"""

from rdrop_fairseq.data.generated_corpus.corpus import generate

__all__ = ["generate"]

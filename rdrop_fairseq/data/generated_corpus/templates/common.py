"""Verbs that several templates use."""

from rdrop_fairseq.data.generated_corpus.clause import BE, Verb
from rdrop_fairseq.data.generated_corpus.clause import HAVE as _ENGLISH_HAVE
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import HABEN, SEIN, german_verb

IS = Verb(BE, SEIN)
HAVE = Verb(_ENGLISH_HAVE, HABEN)
LIVE = Verb(english_verb("live"), german_verb("wohnen"))
WORK = Verb(english_verb("work"), german_verb("arbeiten"))
LEARN = Verb(english_verb("learn"), german_verb("lernen"))
KNOW_PERSON = Verb(english_verb("know knew known"), german_verb("kennen kennt gekannt"))
KNOW_FACT = Verb(english_verb("know knew known"), german_verb("wissen weiß gewusst"))
BELONG = Verb(english_verb("belong"), german_verb("gehören gehört gehört"))
BUY = Verb(english_verb("buy bought bought"), german_verb("kaufen"))
VISIT = Verb(english_verb("visit"), german_verb("besuchen besucht besucht"))
COST = Verb(english_verb("cost cost cost"), german_verb("kosten"))
SELL = Verb(english_verb("sell sold sold"), german_verb("verkaufen verkauft verkauft"))
FIND = Verb(english_verb("find found found"), german_verb("finden findet gefunden"))
FORGET = Verb(english_verb("forget forgot forgotten"), german_verb("vergessen vergisst vergessen"))
GO = Verb(english_verb("go went gone"), german_verb("gehen geht gegangen sein"))

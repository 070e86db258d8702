"""From texts to the features that memories are found by: terms, counts, signs. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import chain, count, filterfalse, repeat

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.arrays.postings import TermCounts
from langchain_kronvex.recall.arrays.table import value_counts
from langchain_kronvex.recall.tokenizer import (
    MONTHS,
    QUESTION_MARKS,
    STOP_WORDS,
    language_of,
    terms,
    terms_of,
    words,
)

FIRST_PERSON = frozenset("i me my mine myself we us our ours ourselves".split())
TIME_WORDS = frozenset(MONTHS).union(
    """
    ago yesterday today tonight tomorrow morning afternoon evening night noon midnight weekend
    day days week weeks month months year years hour hours last next recently soon
    jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday
    spring summer autumn fall winter christmas easter birthday anniversary
    """.split()
)

_NUMBER = re.compile(r"(?<!\d)\d{1,4}(?!\d)")


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """The features of some texts. All but `terms` hold one value for each text.

    Attributes:
        terms: Stems without function words.
        term_count: How many terms; repeated terms count each time.
        word_count: How many words, including function words.
        languages: Of the texts, see `language_of`.
        first_words: The first word, "" for none.
        asks: Whether the text has a question mark.
        personal: Whether it is written in the first person.
        timed: Whether it has a word of time or a number of up to four digits.
    """

    terms: TermCounts
    term_count: NDArray[np.intp]
    word_count: NDArray[np.intp]
    languages: Sequence[str]
    first_words: list[str]
    asks: list[bool]
    personal: NDArray[np.bool_]
    timed: NDArray[np.bool_]


def text_features(texts: Sequence[str], languages: Sequence[str] | None = None) -> TextFeatures:
    """Return the features of texts.

    Args:
        texts: The texts.
        languages: Of the texts; by default told from their words.
    """
    split = [words(text) for text in texts]
    if languages is None:
        languages = [language_of(found) for found in split]
    distinct = list(dict.fromkeys(chain.from_iterable(split)))
    number_of = {word: number for number, word in enumerate(distinct)}
    sizes = np.array([len(found) for found in split], np.intp)
    numbers = map(number_of.__getitem__, chain.from_iterable(split))
    word = np.fromiter(numbers, np.intp, int(sizes.sum()))
    text = np.repeat(np.arange(len(texts)), sizes)

    def holding(marked: Set[str]) -> NDArray[np.bool_]:
        of_words = np.fromiter(map(marked.__contains__, distinct), np.bool_, len(distinct))[word]
        return np.bincount(text[of_words], minlength=len(texts)) > 0

    counted = (
        _counted_one(distinct, split[0], languages[0])
        if len(texts) == 1
        else _counted(distinct, word, text, languages)
    )
    return TextFeatures(
        terms=counted,
        term_count=np.bincount(counted.text, counted.count, len(texts)).astype(np.intp),
        word_count=sizes,
        languages=languages,
        first_words=[found[0] if found else "" for found in split],
        asks=["?" in each or "？" in each for each in texts],  # noqa: RUF001 - of CJK text
        personal=holding(FIRST_PERSON),
        timed=holding(TIME_WORDS.union(filter(_NUMBER.search, filterfalse(str.isalpha, distinct)))),
    )


def _counted_one(distinct: Sequence[str], split: Sequence[str], language: str) -> TermCounts:
    """Count the terms of one text, as after every turn of a chat: without arrays of its words."""
    term_of = dict(zip(distinct, terms_of(distinct, language), strict=True))
    counts = Counter(filter(None, map(term_of.__getitem__, split)))
    return TermCounts(
        names=list(counts),
        term=np.arange(len(counts)),
        text=np.zeros(len(counts), np.intp),
        count=np.array([*counts.values()], np.float32),
    )


def _counted(
    distinct: Sequence[str],
    word: NDArray[np.intp],
    text: NDArray[np.intp],
    languages: Sequence[str],
) -> TermCounts:
    """Count terms.

    Args:
        distinct: The words.
        word: Their numbers, as they follow in the texts.
        text: The number of the text that each stands in.
        languages: Of the texts.
    """
    names: dict[str, int] = {}
    present = list(dict.fromkeys(languages))
    # The number of each word's term in each language; -1 for a function word.
    term_of = np.empty((len(present), len(distinct)), np.intp)
    of_text = np.array([present.index(language) for language in languages], np.intp)
    for row, language in enumerate(present):
        used = np.bincount(word[of_text[text] == row], minlength=len(distinct)).nonzero()[0]
        chosen = distinct if len(used) == len(distinct) else [distinct[n] for n in used.tolist()]
        found = terms_of(chosen, language)
        fresh = dict.fromkeys(filterfalse(names.__contains__, filter(None, found)))
        names.update(zip(fresh, count(len(names)), strict=False))
        term_of[row, used] = list(map(names.get, found, repeat(-1)))
    term = term_of[of_text[text], word]
    kept = term >= 0
    texts = max(len(languages), 1)
    pair, counts = value_counts(term[kept] * texts + text[kept])
    return TermCounts(
        names=list(names), term=pair // texts, text=pair % texts, count=counts.astype(np.float32)
    )


# -- what sentences do ------------------------------------------------------------------------

# English, but for the marks of questions. These signs only order memories: one without any is found
# as before.
_STATED = re.compile(r"[.!:;]\s|[。！]")  # noqa: RUF001 - of CJK text
_SHORT_CHARS = 300  # a longer reply says more than that
_GREETING = re.compile(
    r"(?:hello|hi|hey|hiya|greetings|good (?:morning|afternoon|evening|day)|hallo"
    r"|guten (?:morgen|tag|abend)|hola|buen[oa]s (?:d[ií]as|tardes|noches)|bonjour|bonsoir|salut"
    r"|ciao|ol[aá])"
    r"(?: there| again| everyone)?[\s,.!?]*",
    re.IGNORECASE,
)
# With function words, all of a query that names nothing: "Tell me something about the user".
_ANYTHING = frozenset(
    """
    know known tell say said remember recall memory memories user profile general context
    background information info summary summarize summarise anything everything something
    """.split()
)
# Below this similarity, memories that share no word with the query do not answer it. Of 1,127
# questions about long conversations that were answered, none counted as unanswered; of 172 about
# 13 facts, in nine languages, 5. Of 48 queries about something else, 19 did. At 0.2 that would be
# 9 and 22, at 0.25 19 and 27: no figure of a recall tells the two apart for certain.
_LEAST_ANSWER = 0.15
# A wish for all answers to come. A request, such as "Please write a mail", has no such sign.
_OPENS = re.compile(
    r"(?:\w+ said: )?(?:please )?(?:from now on,? )?"
    r"(?:always|never(?! mind)|avoid|whenever|call me"
    r"|(?:don't|do not) (?:ever )?(?:suggest|recommend|use|mention|call|ask|tell|write|answer|book"
    r"|give|show|send|remind|include|offer)"
    r"|(?:answer|reply|respond|write|speak) (?:to me )?(?:in|as|like|with|briefly)"
    r"|use (?:\w+ ){1,2}(?:for|when|in|with)|keep (?:all|it|my|your)"
    r"|explain (?:things|everything)|make sure|remember to"
    r"|i(?:'d| would)? (?:much )?(?:prefer|rather)|i(?:'d| would) like you"
    r"|i want (?:you|(?:my|your) \w+) to)\b"
)
_WHENEVER = re.compile(
    r"\bwhen(?:ever)? i (?:ask|mention|need|say|talk|want)\b"
    r"|\bwhen(?:ever)? you (?:answer|book|explain|recommend|reply|suggest|write)\b"
    r"|\bfrom now on\b"
)
# Of the one who replies, or of what the user has told: "You don't have to bring anything" answers.
_UNKNOWN = re.compile(
    r"\bi (?:do|did)(?:n't| not) (?:\w+ )?(?:know|recall|remember)\b"
    r"|\bi (?:do|did)(?:n't| not) (?:\w+ )?(?:have|see|find) (?:access|enough|any|anything|it|that"
    r"|the|this|your)\b"
    r"|\bi(?:'m| am) (?:\w+ )?(?:not (?:sure|aware|certain|able to)|unable to)\b"
    r"|\bi (?:can't|cannot|can not|couldn't|could not) (?:tell|find|recall|remember|say|see)\b"
    r"|\bi have no (?:idea|information|records?|memory|memories|details|mention)\b|^no idea\b"
    r"|\bunknown to me\b"
    r"|\byou (?:have|had|did)(?:n't| not) (?:\w+ )?(?:told|tell|mention|say|said|share|specif)"
    r"|\b(?:it|that|this) (?:has|was)(?:n't| not) (?:\w+ )?(?:told|mentioned|said|shared|specif)",
    re.IGNORECASE,
)
_ANSWERS = re.compile(r"\b(?:but|however)\b", re.IGNORECASE)  # after all


def asks_nothing(query: str) -> bool:
    """Return whether a query is a greeting, or asks for all that is known, so for nothing certain.

    >>> asks_nothing("What do you know about me?"), asks_nothing("What do you know about tea?")
    (True, False)
    """
    if len(query) > _SHORT_CHARS:
        return False
    asked = [word for word in words(query) if word not in STOP_WORDS]
    return _GREETING.fullmatch(query.strip()) is not None or _ANYTHING.issuperset(asked)


def is_unanswered(query: str, found: Sequence[tuple[float, str]]) -> bool:
    """Return whether nothing that was found has to do with the query.

    Args:
        query: The query.
        found: The best memories: how similar they are, and their texts.
    """
    if not found or max(similarity for similarity, _ in found) >= _LEAST_ANSWER:
        return False
    asked = set(terms(query))
    return all(asked.isdisjoint(terms(text)) for _, text in found)


def only_asks(text: str) -> bool:
    """Return whether a text is a question, and says nothing beside it.

    >>> only_asks("Where do I live?"), only_asks("I moved to Porto. Do you know a good café?")
    (True, False)
    """
    return text.rstrip().endswith(QUESTION_MARKS) and not _STATED.search(text)


def instructs(text: str) -> bool:
    """Return whether a short text says how to answer from now on.

    >>> instructs("Always suggest vegan options when I ask about food."), instructs("I'm vegan.")
    (True, False)
    """
    if len(text) > _SHORT_CHARS:
        return False
    text = text.lower().replace("\u2019", "'")
    if _OPENS.match(text):
        return True
    return ("when" in text or "from" in text) and bool(_WHENEVER.search(text))


def knows_nothing(reply: str) -> bool:
    """Return whether a reply only says that the answer is not known.

    >>> knows_nothing("I'm sorry, I don't have that information."), knows_nothing("In Porto.")
    (True, False)
    """
    if len(reply) > _SHORT_CHARS or _ANSWERS.search(reply):
        return False
    return bool(_UNKNOWN.search(reply.replace("\u2019", "'")))

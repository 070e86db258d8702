"""The shipped related words: their files and their values."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from inside import STOP_WORDS, bm25, related, static, stems
from langchain_kronvex.embeddings import StaticEmbeddings

DATA = bm25.DATA
CHECKSUMS = {
    "stems.txt": "3136aad623bb621442e0d6e70b96c5e6f2e8000660738611fce3e24bd16c7a99",
    "near_rows.npy": "92af80ce94d2c17530e608446c3ba973c5c4ae5e0dc61833d5c0fdd98b77de37",
    "near_cosines.npy": "4b7808a4190145f33a0827950fd6778452fdeeab6c4f24b594e74d09545683ae",
}
NEIGHBOURS = 12
STEP = 1 / 255  # of a stored cosine
ROUNDED = 0.03  # the vectors were rounded to 27 steps after the thesaurus had been made


@pytest.fixture(scope="module")
def shipped() -> list[str]:
    """The stems, in the order of the rows."""
    return (DATA / "stems.txt").read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture(scope="module")
def words() -> dict[str, str]:
    """The most frequent English word of each stem in the table, whose words go by frequency."""
    tokens = (static.DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")
    english = [
        token
        for token in tokens
        if len(token) > 2 and token.isascii() and token.isalpha() and token not in STOP_WORDS
    ]
    chosen: dict[str, str] = {}
    for stem, word in zip(stems(english), english, strict=True):
        chosen.setdefault(stem, word)
    return chosen


class TestShippedFiles:
    @pytest.mark.parametrize("name", CHECKSUMS)
    def test_are_the_ones_that_were_measured(self, name: str) -> None:
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == CHECKSUMS[name]

    def test_fit_together(self, shipped: list[str]) -> None:
        rows, cosines = np.load(DATA / "near_rows.npy"), np.load(DATA / "near_cosines.npy")
        assert rows.shape == cosines.shape == (len(shipped), NEIGHBOURS)
        assert (rows.dtype, cosines.dtype) == (np.uint16, np.uint8)
        assert rows.max() < len(shipped)
        assert len(shipped) > 10_000

    def test_contain_each_stem_of_the_table_once_in_order(
        self, shipped: list[str], words: dict[str, str]
    ) -> None:
        assert shipped == sorted(set(shipped))
        # A few stems differ from one release of the stemmer to another.
        assert len(set(shipped) ^ set(words)) < 0.02 * len(shipped)

    def test_have_cosines_of_at_least_a_half_nearest_first(self) -> None:
        cosines = np.load(DATA / "near_cosines.npy").astype(int)
        assert (np.diff(cosines, axis=1) <= 0).all()
        assert cosines[cosines > 0].min() * STEP >= 0.5
        assert cosines.max() <= 255

    def test_contain_no_stem_twice_and_not_the_stem_itself(self, shipped: list[str]) -> None:
        rows, cosines = np.load(DATA / "near_rows.npy"), np.load(DATA / "near_cosines.npy")
        for row, (near, cosine) in enumerate(zip(rows, cosines, strict=True)):
            named = near[cosine > 0].tolist()
            assert len(set(named)) == len(named)
            assert row not in named

    def test_agree_with_the_table_of_tokens(
        self, shipped: list[str], words: dict[str, str]
    ) -> None:
        known = [stem for stem in shipped if stem in words]
        complete = len(known) == len(shipped)  # the stemmer is the one they were made with
        vectors = StaticEmbeddings().embed_array([words[stem] for stem in known])
        row_of = {stem: row for row, stem in enumerate(known)}
        differences: list[float] = []
        for row in range(0, len(known), len(known) // 200):
            products = vectors @ vectors[row]
            products[row] = -1
            near = [
                (row_of[other], cosine) for other, cosine in related(known[row]) if other in row_of
            ]
            differences += [abs(products[other] - cosine) for other, cosine in near]
            if complete:
                nearest = np.sort(products)[::-1][:NEIGHBOURS]
                sure = nearest[nearest >= 0.5 + ROUNDED].tolist()
                found = [cosine for _, cosine in near][: len(sure)]
                assert found == pytest.approx(sure, abs=ROUNDED)
        # Another stemmer gives a few stems another word, which has another vector.
        assert np.quantile(differences, 1.0 if complete else 0.98) <= ROUNDED


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("dance", {"dancer", "ballet"}),
        ("doctor", {"physician"}),
        ("car", {"automobile", "vehicle"}),
        ("cats", {"kitten"}),
        ("running", {"runner"}),
    ],
)
def test_related_words_are_found(word: str, others: set[str]) -> None:
    [stem] = stems([word])
    found = dict(related(stem))
    assert set(stems(sorted(others))) <= found.keys()
    assert stem not in found
    assert all(0.5 <= cosine <= 1 for cosine in found.values())
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_nearness_is_mutual_unless_others_are_nearer(shipped: list[str]) -> None:
    for stem in shipped[::500]:
        for other, cosine in related(stem):
            back = dict(related(other))
            crowd = len(back) == NEIGHBOURS and min(back.values()) >= cosine - STEP
            assert crowd or back[stem] == pytest.approx(cosine, abs=ROUNDED)


@pytest.mark.parametrize("stem", ["", "the", "zzzqx", "2023", "日本", "dancing", "a", "\n"])
def test_rare_stems_have_no_related_words(stem: str) -> None:
    assert list(related(stem)) == []


def test_importing_it_opens_no_file() -> None:
    code = (
        "from langchain_kronvex.recall.bm25 import load_thesaurus;"
        "print(load_thesaurus.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"

"""The bundled embeddings: their files, tokens, similarities and behaviour."""

from __future__ import annotations

import gc
import hashlib
import pickle
import random
import subprocess
import sys
import unicodedata
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from inside import WordPiece, static
from langchain_kronvex.embeddings import StaticEmbeddings

DATA = static.DATA
CHECKSUMS = {
    "static.npy": "c42655677812f11891fda0de72eee4ec2e234148fafbb8e51329932d6f61896a",
    "scales.npy": "f538ad39a4b413a6c379495757252d773f2ad73cfe37f98f63dc12771f596a66",
    "vocab.txt": "efa5da3d114f3ed85a23cb138a37efafbe439877814abd7f84a9a318eb80152b",
}
TOKENS = 29_523

STATEMENTS = [
    "User prefers formal tone",
    "User is on the Pro plan",
    "Company uses Slack for comms",
    "Last deployment was on March 10",
]

TEXTS = [
    "User prefers formal tone",
    "Don't shout: it's 3.14159 o'clock -- or isn't it?!",
    "e-mail me@example.com, see https://example.com/a_b?c=d&e=f#g",
    "naïve café Zürich señor Ångström İstanbul Straße Łódź cœur",
    "Cafe\u0301 and zu\u0308rich decomposed",
    "ΌΣΟΙ ΑΝΘΡΩΠΟΣ, Σίσυφος; Привет, мир!",
    "東京に行きました。我爱北京天安门 한국어 문장 ひらがな カタカナ",
    "豈\uf900 㐂 \U00020000 \U0002f800 CJK mixed東京with letters",
    "I 💛 it 😊 great😊 🤣🤣 👩\u200d👩\u200d👧 🇨🇭 ✌🏽 ☺️",
    "tab\there\nnew line\r\nvertical\x0btab form\x0cfeed next\x85line",
    "nul\x00 bell\x07 escape\x1b[0m delete\x7f soft\u00adhyphen",
    "zero\u200bwidth bom\ufeff bad\ufffd private\ue000use",
    "non\u00a0breaking\u2003em\u3000ideographic\u2028line\u2029paragraph\u202ebidi",
    "“curly” ‘quotes’ — dash … ellipsis «guillemets» ¿qué? ¡no!",
    "$5 + €3 = £7 ^ `code` | ~tilde~ <tag> 50% ½ ² ™ © °C § ¶ ±",
    "[CLS] [SEP] [UNK] [MASK] [PAD] [unused1] ## ##ing",
    "مرحبا بالعالم שלום עולם नमस्ते สวัสดี",
    "supercalifragilisticexpialidocious antidisestablishmentarianism qzxjkvbw",
    "y" * 100 + " " + "y" * 101 + " " + "é" * 100 + " " + "é" * 101,
    "ﬁne ﬂow Ⅷ ① ａｂｃ",
    "",
    " \t\n ",
]

# The reference library and Python know different editions of Unicode. What both have known since
# Unicode 3.2 and never reclassified is the ground on which they can be compared.
STABLE_CHARACTERS = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if (category := unicodedata.category(character)) not in {"Cn", "Cs"}
    and unicodedata.ucd_3_2_0.category(character) == category
]
EMOJI = list("😀😂🤣😊💛👍🏽🎉🚀☺️❤️‍🔥🇨🇭")


@pytest.fixture(scope="module")
def embeddings() -> StaticEmbeddings:
    return StaticEmbeddings()


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    """BERT's uncased tokenizer in its original implementation, with the shipped vocabulary."""
    tokens = (DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    vocabulary = {token: row for row, token in enumerate([*tokens, "[UNK]"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def tokenizer() -> WordPiece:
    table = static.load_table()
    return WordPiece(table.rows, table.longest_token)


def tokens(text: str, ours: WordPiece | None = None) -> list[str]:
    ours = ours or tokenizer()
    return [piece for word in ours.words(text) for piece in ours.pieces(word)]


def cosine(embeddings: StaticEmbeddings, one: str, other: str) -> float:
    first, second = embeddings.embed_array([one, other])
    return float(first @ second)


def order(embeddings: StaticEmbeddings, query: str, texts: list[str]) -> list[str]:
    scores = embeddings.embed_array(texts) @ embeddings.embed_array([query])[0]
    return [texts[i] for i in np.argsort(-scores)]


class TestShippedFiles:
    @pytest.mark.parametrize("name", CHECKSUMS)
    def test_are_the_ones_that_were_measured(self, name: str) -> None:
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == CHECKSUMS[name]

    def test_fit_together(self) -> None:
        table = static.load_table()
        assert table.vectors.shape == (TOKENS, 256)
        assert table.vectors.dtype == np.int8
        assert table.scales.shape == (TOKENS,)
        assert table.scales.dtype == np.float32
        assert np.isfinite(table.scales).all()
        assert (table.scales > 0).all()
        assert len(table.rows) == TOKENS

    def test_take_at_most_seven_megabytes_in_a_wheel(self) -> None:
        assert sum(len(zlib.compress(file.read_bytes())) for file in DATA.iterdir()) <= 7_500_000

    def test_carry_the_notice_and_licence_of_their_source(self) -> None:
        assert "all-MiniLM-L6-v2" in (DATA / "NOTICE").read_text(encoding="utf-8")
        licence = (DATA / "LICENSE-APACHE-2.0.txt").read_text(encoding="utf-8")
        assert "Version 2.0, January 2004" in licence

    def test_lack_only_tokens_that_no_text_contains(self) -> None:
        rows = static.load_table().rows
        assert not any(token.startswith("[") and token != "[" for token in rows)
        assert {"[", "]", "unused", "##s", "the", "a", "東"} <= rows.keys()

    def test_weigh_frequent_tokens_less(self) -> None:
        table = static.load_table()
        lengths = np.linalg.norm(table.vectors.astype(np.float32), axis=1) * table.scales
        weight = {token: lengths[table.rows[token]] for token in ("the", "you", "time", "mountain")}
        assert weight["the"] < weight["you"] < weight["time"] < weight["mountain"]


class TestInterface:
    def test_is_a_langchain_embeddings(self, embeddings: StaticEmbeddings) -> None:
        assert isinstance(embeddings, Embeddings)

    def test_has_a_name_and_a_width(self, embeddings: StaticEmbeddings) -> None:
        assert embeddings.model == "kronvex-static-minilm-256-v1"
        assert embeddings.dimensions == 256

    def test_gives_lists_of_floats(self, embeddings: StaticEmbeddings) -> None:
        documents = embeddings.embed_documents(STATEMENTS)
        assert [len(vector) for vector in documents] == [256] * 4
        assert all(type(number) is float for vector in documents for number in vector)
        assert embeddings.embed_query(STATEMENTS[2]) == documents[2]

    async def test_async_gives_the_same(self, embeddings: StaticEmbeddings) -> None:
        documents = await embeddings.aembed_documents(STATEMENTS)
        assert documents == embeddings.embed_documents(STATEMENTS)
        assert await embeddings.aembed_query(STATEMENTS[0]) == documents[0]

    def test_array_is_float32_of_unit_rows(self, embeddings: StaticEmbeddings) -> None:
        array = embeddings.embed_array(STATEMENTS)
        assert array.shape == (4, 256)
        assert array.dtype == np.float32
        assert np.linalg.norm(array, axis=1) == pytest.approx(1.0, abs=1e-5)

    def test_survives_pickling(self, embeddings: StaticEmbeddings) -> None:
        copy = pickle.loads(pickle.dumps(embeddings))
        assert copy.embed_query("hello") == embeddings.embed_query("hello")

    def test_import_loads_no_model_library_and_no_table(self) -> None:
        code = (
            "import sys, langchain_kronvex.embeddings as e;"
            "assert e.static.load_table.cache_info().currsize == 0;"
            "e.StaticEmbeddings().embed_query('hello');"
            "print(sorted({'torch', 'tokenizers', 'transformers'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr


class TestOddInput:
    def test_no_texts(self, embeddings: StaticEmbeddings) -> None:
        assert embeddings.embed_documents([]) == []
        assert embeddings.embed_array([]).shape == (0, 256)

    @pytest.mark.parametrize("text", ["", " ", "\n\t\x00", "\u200b", "😊", "z" * 101, "\ud800"])
    def test_without_known_token_is_all_zero(self, embeddings: StaticEmbeddings, text: str) -> None:
        assert not embeddings.embed_array([text]).any()
        assert embeddings.embed_query(text) == [0.0] * 256

    def test_empty_texts_do_not_shift_their_neighbours(self, embeddings: StaticEmbeddings) -> None:
        array = embeddings.embed_array(["", "tea", "", "", "coffee", ""])
        assert array.any(axis=1).tolist() == [False, True, False, False, True, False]
        assert np.array_equal(array[[1, 4]], embeddings.embed_array(["tea", "coffee"]))

    def test_a_repeated_text_has_the_same_vector(self, embeddings: StaticEmbeddings) -> None:
        once = "The database crashed last night. "
        huge = once * (1_048_576 // len(once))
        array = embeddings.embed_array(["tea", huge, "coffee"])
        assert array[1] @ embeddings.embed_array([once])[0] == pytest.approx(1.0, abs=1e-4)
        assert np.array_equal(array[[0, 2]], embeddings.embed_array(["tea", "coffee"]))

    def test_a_smiley_does_not_hide_the_word_before_it(self, embeddings: StaticEmbeddings) -> None:
        assert tokens("great😊") == ["[UNK]"]
        assert cosine(embeddings, "great😊", "great") == pytest.approx(1.0, abs=1e-6)

    def test_case_accents_and_control_characters_do_not_matter(
        self, embeddings: StaticEmbeddings
    ) -> None:
        assert embeddings.embed_query("Café in Zürich") == embeddings.embed_query("cafe IN zurich")
        assert embeddings.embed_query("caf\x00e") == embeddings.embed_query("cafe")


class TestDeterminism:
    def test_the_vector_of_a_text_does_not_depend_on_the_others(
        self, embeddings: StaticEmbeddings
    ) -> None:
        chance = random.Random(7)
        words = list(static.load_table().rows)
        texts = [" ".join(chance.choices(words, k=chance.randrange(40))) for _ in range(600)]
        texts[100] = " ".join(chance.choices(words, k=10_000))
        together = embeddings.embed_array(texts)
        assert np.array_equal(together, embeddings.embed_array(texts))
        alone = np.concatenate([embeddings.embed_array([text]) for text in texts])
        assert np.array_equal(together, alone)

    def test_threads_agree(self, embeddings: StaticEmbeddings) -> None:
        expected = embeddings.embed_array(TEXTS)
        static.load_table.cache_clear()
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _: StaticEmbeddings().embed_array(TEXTS), range(16)):
                assert np.array_equal(found, expected)

    def test_nothing_of_a_text_outlives_the_call(
        self, embeddings: StaticEmbeddings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alive: list[weakref.ref[WordPiece]] = []

        class Watched(WordPiece):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments)  # type: ignore[arg-type]
                alive.append(weakref.ref(self))

        monkeypatch.setattr(static, "WordPiece", Watched)
        embeddings.embed_query("a secret")
        embeddings.embed_documents(["another secret"])
        gc.collect()
        assert [reference() for reference in alive] == [None] * 2


class TestMeaning:
    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            ("dog", "puppy", 0.69),
            ("car", "automobile", 0.83),
            ("doctor", "physician", 0.81),
            ("Paris", "France", 0.68),
            ("coffee", "tea", 0.44),
            ("dog", "mortgage", -0.01),
            ("I love hiking in the mountains", "She enjoys climbing mountains", 0.68),
            ("I love hiking in the mountains", "the invoice is overdue", -0.08),
        ],
    )
    def test_known_similarities(
        self, embeddings: StaticEmbeddings, one: str, other: str, expected: float
    ) -> None:
        assert cosine(embeddings, one, other) == pytest.approx(expected, abs=0.02)

    @pytest.mark.parametrize(
        ("query", "answer"),
        [
            ("how should I write my responses?", 0),
            ("what tone should I use?", 0),
            ("which subscription does the user have?", 1),
            ("how does the team communicate?", 2),
            ("when did we last release?", 3),
        ],
    )
    def test_a_question_finds_its_answer_first(
        self, embeddings: StaticEmbeddings, query: str, answer: int
    ) -> None:
        assert order(embeddings, query, STATEMENTS)[0] == STATEMENTS[answer]

    def test_a_question_of_style_is_far_from_a_deployment(
        self, embeddings: StaticEmbeddings
    ) -> None:
        ranked = order(embeddings, "how should I write my responses?", STATEMENTS)
        assert STATEMENTS[3] not in ranked[:2]

    def test_stop_words_hardly_move_a_vector(self, embeddings: StaticEmbeddings) -> None:
        assert cosine(embeddings, "the wedding of the sister", "wedding sister") > 0.9

    def test_words_near_a_word(self, embeddings: StaticEmbeddings) -> None:
        words = ["physician", "invoice", "hospital", "guitar", "weather"]
        near = embeddings.embed_array(words) @ embeddings.embed_array(["Doctor"])[0]
        assert [words[i] for i in np.argsort(-near)[:2]] == ["physician", "hospital"]


class TestTokens:
    @pytest.mark.parametrize("text", TEXTS)
    def test_agree_with_the_reference(self, reference: Tokenizer, text: str) -> None:
        assert tokens(text) == reference.encode(text).tokens

    @pytest.mark.parametrize("every", [13, pytest.param(1, marks=pytest.mark.soak)])
    def test_agree_on_stable_characters(self, reference: Tokenizer, every: int) -> None:
        texts = [f"in{character}side" for character in STABLE_CHARACTERS[::every]]
        theirs = [encoding.tokens for encoding in reference.encode_batch(texts)]
        ours = tokenizer()
        differing = [t for t, their in zip(texts, theirs, strict=True) if tokens(t, ours) != their]
        assert differing == []
        assert len(texts) > 90_000 / every

    def test_agree_on_every_token_of_the_vocabulary(self, reference: Tokenizer) -> None:
        text = " ".join(static.load_table().rows)
        assert tokens(text) == reference.encode(text).tokens

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(STABLE_CHARACTERS),
                st.sampled_from([c for c in STABLE_CHARACTERS if ord(c) < 0x500]),
                st.sampled_from(EMOJI),
                st.sampled_from(["the ", "un", "able", "ing ", " said: ", "\u0301", "Σ", " "]),
            ),
            max_size=60,
        ).map("".join)
    )
    def test_agree_on_any_text(self, reference: Tokenizer, text: str) -> None:
        assert tokens(text) == reference.encode(text).tokens

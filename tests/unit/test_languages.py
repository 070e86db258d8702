"""The languages of texts, their terms, and vectors of other languages than English."""

from __future__ import annotations

import string
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inside import (
    STOP_WORDS,
    foreign_rows,
    foreign_sum,
    language_of,
    parse_query,
    static,
    stop_words,
    terms,
    terms_of,
    text_features,
    words,
)
from langchain_kronvex.embeddings import StaticEmbeddings

from .conversations import AT, built, similarities, statement, unit

SENTENCES = {
    "german": "Meine Schwester hat sich gestern ein neues Fahrrad gekauft.",
    "spanish": "Mi hermana se ha comprado una bicicleta nueva para el verano.",
    "french": "Ma sœur s'est acheté un nouveau vélo pour les vacances.",
    "italian": "Mia sorella si è comprata una bicicletta nuova per le vacanze.",
    "portuguese": "A minha irmã comprou uma bicicleta nova para as férias.",
    "dutch": "Mijn zus heeft gisteren een nieuwe fiets gekocht voor de vakantie.",
    "swedish": "Min syster har köpt en ny cykel till sommaren och den är blå.",
    "danish": "Min søster har købt en ny cykel til sommeren, og den er blå.",
    "norwegian": "Søsteren min har kjøpt ny sykkel til sommeren, og hun liker den.",
    "finnish": "Minun sisareni on ostanut uuden pyörän, ja se on sininen.",
    "hungarian": "A nővérem vett egy új biciklit, és az nagyon kék.",
    "indonesian": "Kakak saya sudah membeli sepeda baru untuk liburan yang akan datang.",
    "russian": "Моя сестра купила новый велосипед и поехала на нём в отпуск.",
}
ENGLISH = [
    "My sister bought a new bicycle for the summer.",
    "I met Manuel and Dieter at the café in San Sebastián.",
    "The war will end in May, say the men by the door.",
    "Sea bass, please.",
    "Per person, it is ten euros.",
    "Die hard is on at nine.",
    "No idea.",
    "k8s",
    "Deploy with make release, then tag it.",
    "I'd've said so, but don't you worry: it's Ana's.",
    "Der Spiegel has an article about us.",
    "El Paso is hot",
    "42",
    "",
    "?!",
]


@pytest.mark.parametrize("language", SENTENCES)
def test_a_language_is_told_by_its_function_words(language: str) -> None:
    found = language_of(words(SENTENCES[language]))
    if language in ("danish", "norwegian"):
        assert found in ("danish", "norwegian")  # which share most of them
    else:
        assert found == language


@pytest.mark.parametrize("text", ENGLISH)
def test_english_stays_english(text: str) -> None:
    assert language_of(words(text)) == "english"


NAMES = ["manuel", "dieter", "porto", "zürich", "piano", "bicycle", "lighthouse", "4417", "tea"]
FUNCTION_WORDS = sorted(word for word in STOP_WORDS if len(word) > 2)  # not "y", "re" or "ma"


@settings(max_examples=120)
@given(
    st.lists(st.sampled_from(FUNCTION_WORDS), min_size=2, max_size=8),
    st.lists(st.sampled_from(NAMES), max_size=8),
    st.randoms(use_true_random=False),
)
def test_english_function_words_and_names_stay_english(
    function_words: list[str], names: list[str], random: Random
) -> None:
    split = [*function_words, *names]
    random.shuffle(split)
    others = {word for name, listed in stop_words().items() if name != "english" for word in listed}
    # "so", "no", "me", "on", "an"… are words of other languages, too: English has the majority.
    assume(sum(word not in others for word in function_words) > len(function_words) / 2)
    assert language_of(split) == "english"


SCRIPTS = (
    "aé ß я ж и γ ς א ب ه क ி த 日 本 語 ก 한 글 ა ա ١ 7 '-?. \u0301\u064b\u202e\x00\ud800🙂\n"
)
MIXED = st.text(SCRIPTS + string.ascii_lowercase) | st.text()
SOME_WORDS = st.lists(
    st.sampled_from(sorted(set().union(*(" ".join(SENTENCES.values()).split(), NAMES)))) | MIXED,
    max_size=10,
).map(" ".join)


@settings(max_examples=120)
@given(MIXED | SOME_WORDS)
def test_any_text_has_a_language_terms_and_a_vector(text: str) -> None:
    split = words(text)
    language = language_of(split)
    assert language in stop_words()
    assert language_of(split[::-1]) == language or len(split) > 1
    of_language = terms_of(split, language)
    assert len(of_language) == len(split)
    assert [term for term in of_language if term] == terms(text)
    vector = np.array(StaticEmbeddings().embed_query(text))
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) or not vector.any()


@settings(max_examples=100)
@given(st.lists(SOME_WORDS, max_size=6))
def test_texts_read_together_have_the_terms_they_have_alone(texts: list[str]) -> None:
    together = text_features(texts)
    counts = together.terms
    for number, text in enumerate(texts):
        found = [counts.names[term] for term in counts.term[counts.text == number]]
        assert sorted(found) == sorted(set(terms(text)))
        assert together.languages[number] == language_of(words(text))
        assert together.term_count[number] == len(terms(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Die Katzen schlafen auf dem Sofa", "Eine Katze und das Sofa"),
        ("Las bicicletas están en el garaje", "La bicicleta es de mi hermana"),
        ("Мои кошки спят на диване", "У неё есть кошка, и она спит"),
        ("Οι γάτες κοιμούνται", "η γάτα"),
        ("كتابان", "كتاب"),
    ],
)
def test_forms_of_a_word_share_a_term_in_other_languages(one: str, other: str) -> None:
    assert {*terms(one)} & {*terms(other)}


def test_function_words_of_other_languages_are_no_terms() -> None:
    assert terms("Wo ist das Fahrrad von meiner Schwester?") == terms_of(
        ["fahrrad", "schwester"], "german"
    )
    assert "la" not in terms("¿Dónde está la bicicleta de mi hermana?")


def test_words_of_two_scripts_are_stemmed_each_by_its_own() -> None:
    assert terms("running with кошками 日本") == [*terms("running"), *terms("кошками"), "日本"]


@pytest.mark.parametrize("query", ["bicicletas", "bicicletas in the garage"])
def test_words_are_looked_for_in_the_languages_of_the_memories(query: str) -> None:
    texts = ["Mi bicicleta es roja.", "La llave está en la casa.", "The tea is cold.", "A kite."]
    index = built([statement(n, text) for n, text in enumerate(texts, 1)])
    parsed = parse_query(index, query, None, AT)
    assert parsed.found.value.tolist() == [1.0]  # the word itself, not one spelt like it
    found = similarities(index, query)
    assert found[1] > max(found[2], found[3], found[4])


def test_pairs_of_little_meaning_count_only_without_vectors() -> None:
    index = built([statement(1, "这是我的。"), statement(2, "小提琴。"), statement(3, "Tea.")])
    query, vector = "什么是我的小提琴", unit([1.0, 2.0])
    with_vector = parse_query(index, query, vector, AT)
    assert "提琴" in with_vector.terms
    assert "我的" not in with_vector.all_terms
    assert "我的" in parse_query(index, query, None, AT).terms
    assert parse_query(index, "我的", vector, AT).missing == 0


# -- vectors -----------------------------------------------------------------------------------

TRANSLATIONS = [
    ("Ich wohne in einem alten Haus am Fluss.", "I live in an old house by the river."),
    ("Mi hermano trabaja como médico en un hospital.", "My brother is a doctor at a hospital."),
    ("Ma fille est allergique aux noix.", "My daughter is allergic to nuts."),
    ("Моя сестра играет на скрипке в оркестре.", "My sister plays the violin in an orchestra."),
    ("Il mio cane ha paura del temporale.", "My dog is afraid of thunderstorms."),
    ("O meu pai reformou-se da escola.", "My father retired from the school."),
    ("Mijn moeder bakt elke zondag brood.", "My mother bakes bread every Sunday."),
]


def unit_vectors(texts: list[str]) -> np.ndarray:
    return StaticEmbeddings().embed_array(texts)


def test_a_translation_is_nearest() -> None:
    foreign_texts, english = zip(*TRANSLATIONS, strict=True)
    cosines = unit_vectors(list(foreign_texts)) @ unit_vectors(list(english)).T
    assert cosines.argmax(axis=1).tolist() == list(range(len(TRANSLATIONS)))


def test_a_translation_is_nearest_between_two_other_languages() -> None:
    german = [
        "Ich habe eine Katze.",
        "Wir fahren mit dem Zug nach Berlin.",
        "Das Brot ist im Ofen.",
    ]
    spanish = ["Tengo un gato en la casa.", "Vamos a Berlín en tren.", "El pan está en el horno."]
    cosines = unit_vectors(german) @ unit_vectors(spanish).T
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", [text for text in ENGLISH if words(text)])
def test_english_vectors_do_not_know_of_other_languages(text: str) -> None:
    assert foreign_rows(text, static.load_table().rows) is None


@pytest.mark.parametrize(
    "text", ["我住在里斯本的老城区。", "私は京都に住んでいます", "ฉันอยู่เชียงใหม่", "나는 서울에 산다"]
)
def test_scripts_the_table_does_not_know_have_no_vector(text: str) -> None:
    assert not any(StaticEmbeddings().embed_query(text))


def test_a_name_in_a_foreign_text_counts() -> None:
    rows = static.load_table().rows
    found = foreign_rows("Я работаю в фирме Google и живу в Москве", rows)
    assert found is not None
    assert rows["google"] in found[1]


def test_no_rows_are_no_vector() -> None:
    assert not foreign_sum([]).any()


def test_the_shipped_files_fit_together() -> None:
    stems = (static.DATA / "foreign_stems.txt").read_text(encoding="utf-8").split("\n")[:-1]
    vectors = np.load(static.DATA / "foreign.npy", mmap_mode="r")
    directions = np.load(static.DATA / "foreign_directions.npy")
    assert len(stems) == len(set(stems)) == len(vectors)
    assert all(stems)
    assert vectors.dtype == np.int8
    assert directions.shape == (vectors.shape[1], StaticEmbeddings.dimensions)
    assert np.abs(vectors).max(axis=1).min() > 0
    assert np.isfinite(directions).all()

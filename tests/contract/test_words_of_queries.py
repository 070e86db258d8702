"""Questions in other languages and spellings, at the end of long messages, and without answers."""

from __future__ import annotations

from typing import Any

import pytest

from contract.drivers import Driver
from langchain_kronvex import MemoryDraft

FACTS = {
    "english": [
        "My sister plays the violin in an orchestra.",
        "I keep the spare key under the flower pot.",
        "My dog is afraid of thunder.",
        "We bought a red bicycle for the children.",
        "My doctor told me to drink less coffee.",
        "The bread is in the oven.",
    ],
    "german": [
        "Meine Schwester spielt Geige in einem Orchester.",
        "Der Ersatzschlüssel liegt unter dem Blumentopf.",
        "Mein Hund hat Angst vor dem Donner.",
        "Wir haben den Kindern ein rotes Fahrrad gekauft.",
        "Mein Arzt hat gesagt, ich soll weniger Kaffee trinken.",
        "Das Brot ist im Ofen.",
    ],
    "spanish": [
        "Mi hermana toca el violín en una orquesta.",
        "La llave de repuesto está debajo de la maceta.",
        "Mi perro tiene miedo de los truenos.",
        "Les compramos una bicicleta roja a los niños.",
        "Mi médico me dijo que bebiera menos café.",
        "El pan está en el horno.",
    ],
    "russian": [
        "Моя сестра играет на скрипке в оркестре.",
        "Запасной ключ лежит под цветочным горшком.",
        "Моя собака боится грома.",
        "Мы купили детям красный велосипед.",
        "Мой врач сказал, что мне надо пить меньше кофе.",
        "Хлеб стоит в духовке.",
    ],
}
QUESTIONS = {
    "german": {
        0: "Welches Instrument spielen meine Schwestern?",
        1: "Wo liegen die Ersatzschlüssel?",
        2: "Wovor haben Hunde Angst?",
        3: "Welche Farbe haben die Fahrräder der Kinder?",
        4: "Was haben die Ärzte zum Kaffee gesagt?",
    },
    "spanish": {
        0: "¿Qué instrumento tocan mis hermanas?",
        1: "¿Dónde están las llaves?",
        2: "¿De qué tienen miedo los perros?",
        3: "¿De qué color son las bicicletas de los niños?",
        4: "¿Qué dijeron los médicos del café?",
    },
    "russian": {
        0: "На чём играют сёстры?",
        1: "Где запасные ключи?",
        2: "Чего боятся собаки?",
        3: "Какого цвета велосипеды?",
        4: "Что сказали врачи про кофе?",
    },
}
ACROSS = [
    ("english", "Wovor hat der Hund Angst?", 2),
    ("english", "¿Qué instrumento toca mi hermana?", 0),
    ("english", "Где хлеб?", 5),
    ("german", "Which colour is the bicycle?", 3),
    ("spanish", "What is the dog afraid of?", 2),
    ("russian", "What did the doctor say about coffee?", 4),
    ("spanish", "Wo ist das Brot?", 5),
]


def fill(memory: Driver, texts: list[str], user_id: str = "ana", **options: Any) -> None:
    memory.remember_many([MemoryDraft(text, user_id=user_id, **options) for text in texts])


def first(memory: Driver, question: str, user_id: str = "ana") -> str:
    return memory.recall(question, user_id=user_id, order_by="similarity")[0].content


@pytest.mark.parametrize("memory_type", ["episodic", "semantic"])
def test_other_languages_are_found_by_other_forms_of_words(
    memory: Driver, memory_type: str
) -> None:
    for language, questions in QUESTIONS.items():
        fill(memory, FACTS[language], language, memory_type=memory_type)
        for number, question in questions.items():
            found = memory.recall(question, user_id=language, order_by="similarity", top_k=2)
            assert FACTS[language][number] in [each.content for each in found]


def test_a_fact_is_found_from_another_language(memory: Driver) -> None:
    for language, texts in FACTS.items():
        fill(memory, texts, language, memory_type="semantic")
    memory.flush()
    for language, question, number in ACROSS:
        assert first(memory, question, language) == FACTS[language][number]


def test_a_memory_of_all_languages_answers_in_each(memory: Driver) -> None:
    fill(memory, [text for texts in FACTS.values() for text in texts], memory_type="semantic")
    memory.flush()
    assert first(memory, "Wo ist der Ersatzschlüssel?") == FACTS["german"][1]
    assert first(memory, "¿Dónde está la llave de repuesto?") == FACTS["spanish"][1]
    assert first(memory, "Где запасной ключ?") == FACTS["russian"][1]
    assert first(memory, "Where is the spare key?") == FACTS["english"][1]


def test_scripts_without_spaces_are_found_by_words(memory: Driver) -> None:
    texts = [
        "我的妹妹在乐团拉小提琴。",
        "备用钥匙在花盆下面。",
        "私の犬は雷が怖いです。",
        "ฉันชอบดื่มกาแฟ",
    ]
    fill(memory, texts)
    assert first(memory, "小提琴是谁拉的？") == texts[0]
    assert first(memory, "钥匙在哪里？") == texts[1]
    assert first(memory, "犬は何が怖い？") == texts[2]
    assert first(memory, "กาแฟ") == texts[3]


MEANT = {
    "Which acordion is mine?": "The red accordion is mine.",
    "kubernets cluster": "Our Kubernetes cluster runs in Oslo.",
    "Where does k8s run?": "Our Kubernetes cluster runs in Oslo.",
    "SvelteKit": "I write pages in Svelte.",
    "marmelade": "The marmalade is on the top shelf.",
}


@pytest.mark.parametrize("memory_type", ["episodic", "semantic"])
def test_misspelt_words_and_other_names_are_found(memory: Driver, memory_type: str) -> None:
    fill(memory, [*dict.fromkeys(MEANT.values()), *FACTS["english"]], memory_type=memory_type)
    for query, text in MEANT.items():
        assert first(memory, query) == text


@pytest.mark.parametrize("memory_type", ["episodic", "semantic"])
def test_a_word_that_is_held_outranks_one_spelt_alike(memory: Driver, memory_type: str) -> None:
    texts = ["The accordion is red.", "The acordion is red.", *FACTS["english"]]
    fill(memory, texts, memory_type=memory_type)
    assert first(memory, "accordion") == texts[0]
    assert first(memory, "acordion") == texts[1]


CHAT = (
    "Good morning! I slept badly because the neighbours had guests until two, and then the heating "
    "made its noise again, so I got up and read the paper by the window while it was snowing. The "
    "bus was full, the office was cold, and lunch was soup, which nobody liked, not even Peter. "
)


@pytest.mark.parametrize("memory_type", ["episodic", "semantic"])
def test_a_question_at_the_end_of_a_long_message_is_answered(
    memory: Driver, memory_type: str
) -> None:
    others = ["Our neighbours have two cats.", "Peter runs the office on Fridays.",
              "The bus stops at the mill.", "The heating was serviced in autumn."]  # fmt: skip
    fill(memory, [*FACTS["english"], *others], memory_type=memory_type)
    for times in (1, 4):
        for message in (
            f"{CHAT * times}Anyway, where is the spare key?",
            f"{CHAT * times}Anyway, where is the spare key? Thanks!",
        ):
            found = memory.recall(message, user_id="ana", top_k=3)
            assert FACTS["english"][1] in [each.content for each in found]


ANSWERABLE = [
    "Which instrument does my sister play?",
    "Where is the spare key?",
    "What is my dog afraid of?",
    "Which bicycle did we buy for the children?",
    "What did the doctor tell me about coffee?",
]
UNANSWERABLE = [
    "What is 2+2?",
    "Who wrote the report on tax law?",
    "Which vaccine did grandfather receive in hospital?",
    "How many passports were renewed?",
    "When does the insurance contract end?",
]


@pytest.mark.parametrize("memory_type", ["episodic", "semantic"])
def test_a_question_that_cannot_be_answered_is_less_probable(
    memory: Driver, memory_type: str
) -> None:
    fill(memory, FACTS["english"], memory_type=memory_type)
    memory.flush()

    def most(question: str) -> float:
        found = memory.recall(question, user_id="ana")
        return max(each.probability for each in found)

    least = min(map(most, ANSWERABLE))
    assert max(map(most, UNANSWERABLE)) < least


ODD = [
    "?",
    "a",
    "\u0301",
    "\u064b",
    "\u202e שלום \u202c עולם",
    "مرحبا بالعالم",
    "Привет world 你好 γεια नमस्ते வணக்கம் 🙂",
    "99999 weeks ago on 0000-00-00, February 30",
    "the last weeks of August",
    "yesterday " * 500,
    "when I ask about " * 300,
    "don't know " * 300,
    "ه" * 8000,
    "க" * 8000,
    "7" * 5000,
    "k8s",
]


def test_odd_texts_are_kept_and_asked_for(memory: Driver) -> None:
    for number, text in enumerate(ODD):
        memory.remember(text, user_id=f"ana {number}", memory_type="semantic")
        memory.save_exchange(text, text, user_id=f"ana {number}")
        fill(memory, FACTS["english"], f"ana {number}")
    memory.flush()
    for number, text in enumerate(ODD):
        found = memory.recall(text, user_id=f"ana {number}", top_k=20)
        assert len(found) == len(FACTS["english"]) + 2
        for each in found:
            assert 0 <= each.similarity <= 1
            assert 0 < each.probability < 1
        assert memory.inject_context(text, user_id=f"ana {number}").memories

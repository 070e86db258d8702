"""The page in Chromium: what it shows, what it changes, and what it does with hostile texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from playwright.sync_api import Locator, Page, expect

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory, MemoryDraft

from .conftest import OpenPage

Inspect = Callable[[KronvexMemory], str]
HOSTILE = [
    "<script>hacked=1</script>", "<img src=x onerror='hacked=1'>", "a/../b", "a/b", "..", ".",
    "__proto__", "constructor", "it's \"quoted\"", "two\nlines", "\u202egnp.exe", "👩‍👩‍👧 日本語",
    "?user_id=ana#%2e%2e", "javascript:hacked=1", " ", "{{7*7}}${7*7}",
]  # fmt: skip


def user(page: Page, name: str) -> Locator:
    return page.locator("#users button").filter(has=page.get_by_text(name, exact=True))


def card(page: Page, text: str) -> Locator:
    return page.get_by_role("article").filter(has_text=text)


def choose(page: Page, name: str) -> None:
    user(page, name).click()
    expect(page.locator("main h2")).to_have_text(name)


def act(page: Page, text: str, action: str, *, say: str | None = None, confirm: str = "") -> None:
    card(page, text).get_by_role("button", name=action).click()
    if say is not None:
        page.get_by_role("dialog").get_by_role("textbox").fill(say)
    if confirm:
        page.get_by_role("dialog").get_by_role("button", name=confirm, exact=True).click()


def test_a_memory_is_seen_and_corrected(
    store: str, open_memory: OpenMemory, inspecting: Inspect, open_page: OpenPage
) -> None:
    memory = open_memory(store)
    now = datetime.now(timezone.utc)
    lisbon = memory.remember(
        "Ana lives in Lisbon.", user_id="ana", memory_type="semantic",
        created_at=now - timedelta(days=9),
    )  # fmt: skip
    memory.remember("Ana lives in Porto.", user_id="ana", supersedes=lisbon.id)
    memory.remember("Ana eats nuts.", user_id="ana", ttl_days=3, metadata={"topic": "food"})
    said = [HumanMessage("I like tea."), AIMessage("Noted!")]
    memory.save_messages(said, "monday", user_id="ana")
    memory.save_messages([HumanMessage("Adeus!")], "friday", user_id="ana")
    kept = memory.remember("Bob plays the cello.", user_id="bob")
    memory.remember("Answer briefly.")
    page = open_page(inspecting(memory))

    assert "#" not in page.url  # the token does not stay in the address bar or the history
    facts = page.locator("dl.facts").first
    expect(facts).to_contain_text("Memories7")
    expect(facts).to_contain_text("Chat messages3")
    expect(page.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(": 7, at most 6 in one day")
    )
    expect(user(page, "ana")).to_contain_text("5")
    choose(page, "Without a user")
    expect(card(page, "Answer briefly.")).to_have_count(1)

    choose(page, "ana")
    expect(page.get_by_role("main")).to_contain_text("5 memories and 3 chat messages")
    expect(card(page, "nuts")).to_contain_text("expires")
    expect(card(page, "Lisbon")).to_contain_text("replaced")
    card(page, "Lisbon").get_by_role("button", name="Details").click()
    expect(card(page, "Lisbon").get_by_role("listitem")).to_have_count(2)
    page.get_by_label("Replaced ones").uncheck()
    expect(card(page, "Lisbon")).to_have_count(0)
    page.get_by_label("Replaced ones").check()
    page.get_by_label("Type").select_option("semantic")
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_label("Type").select_option("")

    act(page, "nuts", "Correct", say="Ana eats no nuts.", confirm="Correct")
    expect(card(page, "Ana eats no nuts.")).to_have_count(1)
    act(page, "no nuts", "Pin")
    expect(card(page, "no nuts")).to_contain_text("pinned")
    card(page, "no nuts").get_by_role("button", name="Details").click()
    expect(card(page, "no nuts")).to_contain_text('"topic": "food"')
    act(page, "Porto", "Replace", say="Ana lives in Braga.", confirm="Replace")
    expect(card(page, "Braga")).to_have_count(1)
    assert [each.content for each in memory.history(lisbon.id)] == [
        f"Ana lives in {place}." for place in ("Lisbon", "Porto", "Braga")
    ]
    act(page, "Lisbon", "Restore")
    expect(card(page, "Lisbon")).not_to_contain_text("replaced")
    act(page, "Lisbon", "Forget", confirm="Forget this memory")
    expect(card(page, "Lisbon")).to_have_count(0)
    assert memory.get(lisbon.id) is None

    page.get_by_role("button", name="Search").click()
    page.get_by_label("Question").fill("Where does she live?")
    page.keyboard.press("Enter")
    found = page.get_by_role("article")
    expect(found.first).to_contain_text("Braga")
    for label in ("Similarity", "Confidence", "Probability"):
        expect(found.first).to_contain_text(label)
    found.first.get_by_role("button", name="Why was it found?").click()
    expect(found.first).to_contain_text("put on the common scale")
    expect(found.first).to_contain_text("Rank 1;")
    memory.flush()
    assert {each.access_count for each in memory.memories(user_id="ana")} == {0}

    page.get_by_role("button", name="Sessions").click()
    page.locator(".session").filter(has_text="monday").get_by_role("button", name="Chat").click()
    expect(page.locator(".said p")).to_have_text(["I like tea.", "Noted!"])
    page.get_by_role("button", name="All sessions").click()
    monday = page.locator(".session").filter(has_text="monday")
    monday.get_by_role("button", name="Forget…").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 memory and 2 chat messages of ana")
    page.get_by_role("button", name="Forget this session").click()
    expect(monday).to_have_count(0)
    assert memory.load_messages("monday", user_id="ana") == []
    assert len(memory.load_messages("friday", user_id="ana")) == 1

    page.get_by_role("button", name="Forget this user…").click()
    expect(page.get_by_role("dialog")).to_contain_text("4 memories and 1 chat message")
    page.get_by_role("button", name="Forget this user", exact=True).click()
    expect(user(page, "ana")).to_have_count(0)
    assert [each.user_id for each in memory.users()] == ["bob"]
    assert memory.get(kept.id) is not None


def test_hostile_texts_stay_texts_and_hostile_ids_name_only_themselves(
    store_url: str, open_memory: OpenMemory, inspecting: Inspect, open_page: OpenPage
) -> None:
    memory = open_memory()
    names = [each for each in HOSTILE if each.strip()]
    memory.remember_many(
        MemoryDraft(f"{each} of {place}", user_id=each, session_id=each, metadata={each: each})
        for place, each in enumerate(names)
    )
    memory.remember_many([MemoryDraft(f"said: {each}", user_id="all") for each in HOSTILE])
    memory.remember("<b>long</b> " * 87_000, user_id="long")
    page = open_page(inspecting(memory))

    choose(page, "all")
    expect(page.get_by_role("article")).to_have_count(len(HOSTILE))
    texts = page.locator("article > p.text").all_inner_texts()
    assert {f"said: {each}".replace("\u202e", "⟨U+202E⟩") for each in HOSTILE} == set(texts)
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("main img, main script, main b").count() == 0

    for place, name in enumerate(names):  # the last one first: forgetting does not move the others
        shown = name.replace("\n", "⟨U+000A⟩").replace("\u202e", "⟨U+202E⟩")
        choose(page, shown)
        expect(page.get_by_role("article")).to_have_count(1)
        expect(card(page, f"of {place}")).to_have_count(1)
    for name in ("a/../b", "..", "__proto__"):
        choose(page, name)
        page.get_by_role("button", name="Forget this user…").click()
        page.get_by_role("button", name="Forget this user", exact=True).click()
        expect(page.locator("main h2")).to_have_text("Overview")
        names.remove(name)
        assert {each.user_id for each in memory.users()} == {*names, "all", "long"}

    choose(page, "long")
    expect(page.get_by_role("article")).to_contain_text("The first 1,000 of 1,044,000 characters")
    page.get_by_role("button", name="Details").click()
    page.get_by_label("Whole text").wait_for()
    assert len(page.get_by_label("Whole text").text_content() or "") == 1_044_000
    act(page, "long", "Correct", say="short", confirm="Correct")
    expect(card(page, "short")).to_have_count(1)


def test_many_users_and_memories_come_in_pages(
    open_memory: OpenMemory, inspecting: Inspect, open_page: OpenPage
) -> None:
    memory = open_memory(embeddings=False)
    now = datetime.now(timezone.utc)
    memory.remember_many(
        MemoryDraft(f"memory {day}", user_id="big", created_at=now - timedelta(days=day))
        for day in range(1_000)
    )
    memory.remember_many(MemoryDraft("hello", user_id=f"user {n:04}") for n in range(1_200))
    page = open_page(inspecting(memory))

    expect(page.locator("#users")).to_contain_text("user 1199")
    assert page.locator("#users button").count() == 51  # with the overview
    expect(page.locator("#users-pager")).to_contain_text("1–50 of 1,201")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#users-pager")).to_contain_text("51–100 of 1,201")
    page.get_by_label("Find a user").fill("BIG")
    choose(page, "big")
    expect(page.get_by_role("article")).to_have_count(50)
    expect(page.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("per week .* at most 7 in one week")
    )
    assert page.locator("rect").count() <= 104
    page.get_by_role("main").get_by_role("button", name="Next").click()
    expect(page.get_by_role("article").first).to_contain_text("memory 50")
    page.get_by_role("main").get_by_role("button", name="Previous").click()
    expect(page.get_by_role("article").first).to_contain_text("memory 0")


def test_a_read_only_page_offers_no_action(
    open_memory: OpenMemory, inspecting: Inspect, open_page: OpenPage
) -> None:
    writer = open_memory()
    old = writer.remember("Ana lives in Porto.", user_id="ana")
    record = writer.engine.find_memory(old.id)
    derived = replace(
        record, id="derived", key="derived", content="A Porto person.", sources=(old.id,)
    )
    writer.engine.add([derived], old.created_at)
    writer.remember("Ana lives in Braga.", user_id="ana", supersedes=old.id)
    page = open_page(inspecting(open_memory(read_only=True)))

    expect(page.get_by_text("Read-only")).to_be_visible()
    choose(page, "ana")
    expect(page.get_by_role("article")).to_have_count(3)
    expect(card(page, "A Porto person.")).to_contain_text("derived from 1")
    card(page, "A Porto person.").get_by_role("button", name="Details").click()
    expect(card(page, "A Porto person.").get_by_role("listitem")).to_contain_text("lives in Porto")
    names = {each.inner_text() for each in page.get_by_role("main").get_by_role("button").all()}
    assert names == {"Memories", "Search", "Sessions", "Details"}


def test_it_works_with_the_keyboard_in_a_narrow_window_and_in_the_dark(
    open_memory: OpenMemory, inspecting: Inspect, open_page: OpenPage
) -> None:
    memory = open_memory()
    memory.remember("Ana lives in Porto. " + "x" * 400, user_id="ana" * 60, pinned=True)
    page = open_page(
        inspecting(memory), viewport={"width": 360, "height": 740}, color_scheme="dark"
    )

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    def focused() -> str:
        return page.evaluate(
            "(document.activeElement.innerText || document.activeElement.id).trim()"
        )

    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if re.match(name, focused()):
                assert (
                    page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                )
                return
        pytest.fail(f"{name} is not reached with the tab key")

    expect(page.locator("#users button")).to_have_count(2)
    fits()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 26)"
    tab_to("Theme")
    page.keyboard.press("Enter")
    expect(page.locator("#theme")).to_have_text("Theme: light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(22, 23, 26)"
    tab_to("ana")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_have_count(1)
    expect(page.locator("#users")).not_to_be_visible()
    assert focused().startswith("‹ Users")  # the main part
    card(page, "Porto").get_by_role("button", name="Details").press("Enter")
    expect(card(page, "Porto")).to_contain_text("Valid from")
    fits()
    for view in ("Sessions", "Search", "Memories"):
        page.get_by_role("button", name=view).press("Enter")
        if view == "Search":
            page.keyboard.type("Where does she live?")
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Why was it found?").press("Enter")
            expect(page.get_by_role("article")).to_contain_text("Shares in the relevance")
        fits()
    tab_to("Forget$")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert focused() == "Cancel"
    fits()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert focused() == "Forget"
    page.keyboard.press("Enter")
    tab_to("Forget this memory")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text("Forgotten.")
    assert memory.users() == []

"""A stand-in for a language model that consolidates: a few rules about English sentences.

It is not a language model. Its results on a conversation show that the machinery works, and say
nothing of what a model would make of it.
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_kronvex.core.context_lines import approximate_tokens
from langchain_kronvex.recall.tokenizer import terms

EXCHANGE = re.compile(r'<exchange number="(\d+)".*?>\n(.*?)</exchange>', re.DOTALL)
KNOWN = re.compile(r"^\[(\d+)\] \S+(?:, from exchange \d+)*: (.+)$", re.MULTILINE)
SAID = re.compile(r"^user\| (?:(\w+) said: )?(.+)$", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

OWN = re.compile(r"\b(I|I'm|I've|my|we|we're|our|mum|they|the)\b", re.IGNORECASE)
STATES = re.compile(
    r"\b(live|lives|moved|work|started|quit|report|like|love|prefer|hate|allergic|vegetarian|vegan|"
    r"eat|own|have|got|adopted|named?|called|is|are|bank|support|follow|use|take|cycle|learning|"
    r"plan|saving|comes|married|switched|changed|renamed|raised|pushed|gave up|can only)\b|\bI'm\b",
    re.IGNORECASE,
)
PASSING = re.compile(r"\b(today|tonight|right now|this morning|yesterday)\b", re.IGNORECASE)
INSTRUCTION = re.compile(r"(please )?(always|never|from now on)\b", re.IGNORECASE)
CHANGE = re.compile(
    r"\b(now|moved|quit|since|switched|changed|renamed|raised|pushed|instead|replace|gave up|"
    r"closed|off|any more|no longer|third|can only)\b",
    re.IGNORECASE,
)
THIRD_PERSON = (
    (r"\bI'm\b|\bI am\b", "{0} is"), (r"\bI've\b|\bI have\b", "{0} has"), (r"\bI\b", "{0}"),
    (r"\b[Mm]y\b", "{0}'s"), (r"\b[Mm]e\b", "{0}"),
)  # fmt: skip
TOPICS = (
    "live moved", "work nurse job started", "manager report", "vegetarian vegan eat",
    "wedding married", "mother mum", "cycle tram bus train", "laptop macbook",
)  # fmt: skip
TOPIC_OF = {term: f"#{n}" for n, words in enumerate(TOPICS) for term in terms(words, "english")}


class ScriptedExtractor(BaseChatModel):
    """Writes down what users state of themselves; a change replaces what it shares words with."""

    model_name: str = "scripted"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        shown = "\n".join(str(message.text) for message in messages)
        answer = json.dumps(extracted(unescape(str(messages[-1].text))))
        read, written = approximate_tokens(shown), approximate_tokens(answer)
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        message = AIMessage(answer, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


def extracted(prompt: str) -> dict[str, list[dict[str, Any]]]:
    """Return what the rules make of a prompt, as an answer."""
    known = {int(number): about(text) for number, text in KNOWN.findall(prompt)}
    facts, procedures = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, lines in EXCHANGE.findall(prompt):
        for who, said in SAID.findall(lines):
            for sentence in SENTENCE_END.split(said):
                entry = {"text": third_person(sentence, who), "sources": [int(number)]}
                if INSTRUCTION.match(sentence):
                    procedures.append({**entry, "text": sentence})
                elif is_lasting(sentence):
                    if CHANGE.search(sentence):
                        replace_older(entry, facts, known)
                    facts.append(entry)
    return {"Fact": facts[-15:], "Procedure": procedures[-5:]}


def is_lasting(sentence: str) -> bool:
    """Return whether a sentence states what may stay true."""
    return bool(
        not sentence.endswith("?")
        and 2 <= len(sentence.split()) <= 30
        and OWN.search(sentence)
        and STATES.search(sentence)
        and not PASSING.search(sentence)
    )


def replace_older(
    entry: dict[str, Any], facts: list[dict[str, Any]], known: dict[int, set[str]]
) -> None:
    """Let an entry replace what shares most with it: an entry before it, or a known fact."""
    of_entry = about(entry["text"])
    for fact in facts:
        if is_same_matter(of_entry, about(fact["text"])):
            facts.remove(fact)
            entry |= {"replaces": fact.get("replaces")}
            return
    number = max(known, key=lambda each: len(of_entry & known[each]), default=None)
    if number is not None and is_same_matter(of_entry, known[number]):
        entry["replaces"] = number
        del known[number]  # once is enough


def is_same_matter(one: set[str], other: set[str]) -> bool:
    """Return whether two sentences share a topic, or two words."""
    shared = one & other
    return len(shared) > 1 or any(each.startswith("#") for each in shared)


def about(sentence: str) -> set[str]:
    """Return the words of a sentence, and its topics."""
    found = {*terms(sentence, "english")} - {"user"}
    return found | {TOPIC_OF[term] for term in found if term in TOPIC_OF}


def third_person(sentence: str, who: str) -> str:
    """Return a sentence about who said it; its grammar is crude."""
    for pattern, form in THIRD_PERSON:
        sentence = re.sub(pattern, form.format(who or "the user"), sentence)
    return sentence[:1].upper() + sentence[1:]

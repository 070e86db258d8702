"""What the demo prints: a line for each question, prompts, and how it went."""

import os
import textwrap
from dataclasses import dataclass

from langchain_core.prompt_values import PromptValue

from offline_chat_model import MEMORY_LINE, stems
from transcript import Question, one_line

NEXT_STEPS = """
Try next, in the checkout, with its .venv/bin/python:
  examples/demo.py --verbose                 every prompt and every reply
  examples/demo.py --transcript FILE.jsonl   your own conversation (its format: conversation.jsonl)
  OPENAI_API_KEY=...                         set it, and OpenAI's model answers the same questions
  examples/quickstart.py                     the package in twenty lines; then README.md
"""


@dataclass
class Answer:
    """A question, the prompt that was made for it, and the model's reply."""

    question: Question
    prompt: PromptValue
    reply: str

    def __post_init__(self) -> None:
        """Look for the fact in the prompt, and judge the reply."""
        fact, foreign = self.question.expects, self.question.foreign
        system_message = self.prompt.to_messages()[0].text
        self.recalled = [one_line(line) for _, line in MEMORY_LINE.findall(system_message)]
        places = [n for n, line in enumerate(self.recalled, 1) if fact and fact in line]
        self.place = places[0] if places else None
        self.shown = [text for text in foreign if text in one_line(system_message)]
        # A model may say a fact in another order: "March 14th".
        words, reply = stems(fact), one_line(self.reply)
        has_fact = fact in reply or (bool(words) and words <= stems(reply))
        self.is_right = has_fact and not any(text in reply for text in foreign)


def print_start(model_name: str) -> None:
    """Print who answers, and the head of the table."""
    print(f"Process 2 (pid {os.getpid()}) has only the store, and answers with")
    print(f"{model_name}.\n\n{row(' ', 'who', 'asks', 'the fact', 'its place in the prompt')}")


def print_answer(answer: Answer, verbose: bool) -> None:
    """Print a line for an answer, and more if that is wanted or the reply is wrong."""
    question = answer.question
    fact = question.expects or "(told by someone else)"
    place = f"{answer.place or 'none'} of {len(answer.recalled)}"
    mark = "✓" if answer.is_right else "✗"
    print(row(mark, question.user_id, question.question, fact, place), flush=True)
    if verbose:
        print_in_full(answer)
    elif not answer.is_right:
        print(f"  the reply is: {one_line(answer.reply)}")


def row(mark: str, who: str, asks: str, fact: str, place: str) -> str:
    """Return a line of the table, in which long texts are cut."""
    return f"{mark} {who:6.6} {one_line(asks):55.55} {one_line(fact):23.23} {place}"


def print_in_full(answer: Answer) -> None:
    """Print a prompt and the reply in full."""
    print(textwrap.indent(f"{answer.prompt.to_string()}\nReply: {answer.reply}\n", "  | "))


def verdict(answers: list[Answer]) -> int:
    """Print what to try next and how it went, and return the exit code."""
    facts, problems, foreign = 0, [], []
    for answer in answers:
        user_id, question = answer.question.user_id, answer.question
        if question.expects and not answer.place:
            problems.append(f"{user_id} lacks {question.expects[:80]!r}")
        elif question.expects and not question.says:
            facts += 1
        if not answer.is_right:
            problems.append(f"the reply to {user_id}'s {question.question[:80]!r} is wrong")
        foreign += [f"{user_id} was shown {text[:80]!r}" for text in answer.shown]
    counted = f"{facts} facts from process 1 reached the prompts of process 2"
    if problems or foreign:
        details = "; ".join(problems + foreign)
        print(f"FAILED: {counted}, {len(foreign)} of the other user: {details}")
        return 1
    print(f"{len(answers)} of {len(answers)} replies are right.")
    print(NEXT_STEPS)
    print(f"OK: {counted}, 0 of the other user")
    return 0

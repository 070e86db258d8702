"""Memory across processes: one process chats and ends, and a second one remembers, per user.

Process 1 replays a transcript, dated as it was: the user's messages go through a chain with memory,
and a scripted model gives the recorded replies. Process 2 shares only the store with process 1: it
never opens the transcript, starts in another folder, and asks every question in a new session.

    python examples/demo.py [--verbose] [--transcript FILE.jsonl] [--questions FILE.jsonl]
                            [--url sqlite:///...]

The exit code is 0 if every fact reached the prompts, no fact of another user did, and every reply
is right; 1 if not, and 2 for invalid input.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig

from langchain_kronvex import KronvexMemory, KronvexMemoryContext, with_memory
from offline_chat_model import MEMORY_LINE, OfflineChatModel, stems
from transcript import (
    BadInput,
    Message,
    Question,
    derive_questions,
    exchanges,
    one_line,
    read_questions,
    read_transcript,
    write_questions,
)

HERE = Path(__file__).resolve().parent
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant. Use what you remember:\n{memory_context}"),
        MessagesPlaceholder("chat_history", optional=True),
        ("human", "{input}"),
    ]
)
NEXT_STEPS = """
Try next, in the checkout, with its .venv/bin/python:
  examples/demo.py --verbose                 every prompt and every reply
  examples/demo.py --transcript FILE.jsonl   your own conversation (its format: conversation.jsonl)
  OPENAI_API_KEY=...                         set it, and OpenAI's model answers the same questions
  examples/quickstart.py                     the package in twenty lines; then README.md
"""


@dataclass
class Answer:
    """The prompt for a question, the model's reply, and what neither may show."""

    question: Question
    prompt: PromptValue
    reply: str
    foreign: list[str]

    def __post_init__(self) -> None:
        """Look for the fact in the prompt, and judge the reply."""
        fact, system_message = self.question.expects, self.prompt.to_messages()[0].text
        self.recalled = [one_line(line) for _, line in MEMORY_LINE.findall(system_message)]
        places = [n for n, line in enumerate(self.recalled, 1) if fact and fact in line]
        self.place = places[0] if places else None
        self.shown = [text for text in self.foreign if text in one_line(system_message)]
        # A model may say a fact in another order: "March 14th".
        words, reply = stems(fact), one_line(self.reply)
        has_fact = fact in reply or (bool(words) and words <= stems(reply))
        self.is_right = has_fact and not any(text in reply for text in self.foreign)


def hold_conversation(messages: list[Message]) -> int:
    """Process 1: replay the transcript through a chain with memory."""
    pairs = list(exchanges(messages))
    replies = iter([pair[1].content for pair in pairs if len(pair) == 2])
    now = messages[0].created_at
    with KronvexMemory(clock=lambda: now) as memory:  # at KRONVEX_URL
        chain = with_memory(PROMPT | GenericFakeChatModel(messages=replies), memory)
        for first, *answered in pairs:
            now = first.created_at
            if answered:
                chain.invoke({"input": first.content}, whose(first.user_id, first.session_id))
            else:  # a message without a question or an answer is only stored
                history = memory.chat_history(first.session_id, user_id=first.user_id)
                history.add_messages(convert_to_messages([(first.role, first.content)]))
    users = ", ".join(dict.fromkeys(message.user_id for message in messages))
    print(
        f"Process 1 (pid {os.getpid()}) replayed a transcript: {len(messages)} messages of {users}."
    )
    print("A scripted model gave the recorded replies. Process 1 has ended.\n", flush=True)
    return 0


def ask_questions(
    questions: list[Question], model: BaseChatModel, label: str, verbose: bool = False
) -> int:
    """Process 2: ask in new sessions, and show what was recalled and how it was answered."""
    print(f"Process 2 (pid {os.getpid()}) has only the store, and answers with")
    print(f"{label}.\n\n{row(' ', 'who', 'asks', 'the fact', 'its place in the prompt')}")
    answers = []
    with KronvexMemory() as memory:  # at KRONVEX_URL
        chain = with_memory(PROMPT | model, memory)
        # This one recalls but saves nothing, so that no question comes back as a memory.
        recall = KronvexMemoryContext(memory=memory) | PROMPT
        for question in questions:
            config = whose(question.user_id, f"later-{uuid4().hex[:6]}")
            if question.says:
                print(f"  {question.user_id} says: {question.says}")
                chain.invoke({"input": question.says}, config)
            prompt = recall.invoke({"input": question.question}, config)
            reply = model.invoke(prompt).text
            answers.append(Answer(question, prompt, reply, foreign_texts(question, questions)))
            report(answers[-1], verbose)
    if not verbose:
        print("\nThe last prompt in full, and the reply:")
        show(answers[-1])
    return verdict(answers)


def foreign_texts(question: Question, questions: list[Question]) -> list[str]:
    """Return what is foreign to any question of the user, unless this question says it itself."""
    texts = {text for q in questions if q.user_id == question.user_id for text in q.foreign}
    return sorted(text for text in texts if text not in question.question)


def whose(user_id: str, session_id: str) -> RunnableConfig:
    """Return the config that names the user and the session."""
    return {"configurable": {"user_id": user_id, "session_id": session_id}}


def chat_model() -> tuple[BaseChatModel, str]:
    """Return OpenAI's model if OPENAI_API_KEY is set, else the offline stand-in."""
    if not os.environ.get("OPENAI_API_KEY"):
        return OfflineChatModel(), "OfflineChatModel, an offline stand-in and not an AI model"
    from langchain_openai import ChatOpenAI

    name = os.environ.get("OPENAI_MODEL") or "gpt-5-mini"
    return ChatOpenAI(model=name, timeout=60), f"ChatOpenAI, model {name}"


def report(answer: Answer, verbose: bool) -> None:
    """Print a line for an answer, and more if that is wanted or the reply is wrong."""
    question = answer.question
    fact = question.expects or "(told by someone else)"
    place = f"{answer.place or 'none'} of {len(answer.recalled)}"
    mark = "✓" if answer.is_right else "✗"
    print(row(mark, question.user_id, question.question, fact, place), flush=True)
    if verbose:
        show(answer)
    elif not answer.is_right:
        print(f"  the reply is: {one_line(answer.reply)}")


def row(mark: str, who: str, asks: str, fact: str, place: str) -> str:
    """Return a line of the table, in which long texts are cut."""
    return f"{mark} {who:6.6} {one_line(asks):55.55} {one_line(fact):23.23} {place}"


def show(answer: Answer) -> None:
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


def main() -> int:
    """Run both processes, or run as one of them."""
    options = parse_options()
    try:
        if options.process == 1:
            return hold_conversation(read_transcript(options.transcript))
        if options.process == 2:
            return ask_questions(read_questions(options.questions), *chat_model(), options.verbose)
        return run_both(options)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 - report any error of a store or model
        traceback.print_exc()
        where = f"process {options.process}" if options.process else "the demo"
        print(f"FAILED: {where}: {type(error).__name__}: {error}")
        return 1


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verbose", action="store_true", help="show every prompt and every reply")
    parser.add_argument("--transcript", type=Path, help="JSON Lines, like conversation.jsonl")
    parser.add_argument("--questions", type=Path, help="JSON Lines, like questions.jsonl")
    parser.add_argument("--url", help="the store; default: a file in a temporary folder")
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_both(options: argparse.Namespace) -> int:
    """Run process 1, then process 2, and return the exit code."""
    transcript = options.transcript or HERE / "conversation.jsonl"
    questions = options.questions
    if not questions and not options.transcript:
        questions = HERE / "questions.jsonl"
    with tempfile.TemporaryDirectory(prefix="kronvex-demo-") as folder:
        url = shared_url(options.url or f"sqlite:///{Path(folder, 'memory.db')}")
        messages = read_transcript(transcript)
        asked = read_questions(questions) if questions else derive_questions(messages)
        if not asked:
            raise BadInput(f"{transcript}: no message of a user is long enough for a question")
        # Process 2 only gets the questions, so everything it knows comes from the store.
        questions = Path(folder, "questions.jsonl")
        write_questions(asked, questions)
        more = ["--verbose"] if options.verbose else []
        return run_process(1, url, "--transcript", transcript, cwd=Path.cwd()) or run_process(
            2, url, "--questions", questions, *more, cwd=Path(folder)
        )


def shared_url(url: str) -> str:
    """Return a SQLite URL that names the same file in every working directory."""
    scheme, _, path = url.partition(":///")
    if url in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise BadInput(f"--url {url} exists only in one process, so two cannot share it")
    if scheme != "sqlite":
        return url
    return f"sqlite:///{Path(path).expanduser().resolve()}"


def run_process(number: int, url: str, option: str, file: Path, *more: str, cwd: Path) -> int:
    """Run this file as process `number`, in `cwd`, and return its exit code."""
    search_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # The URL may contain a password, so it is not passed as an argument, which others can see.
    environment = os.environ | {
        "KRONVEX_URL": url,
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join(str(Path(part).resolve()) for part in search_path if part),
    }
    here = str(Path(__file__).resolve())
    command = [sys.executable, here, "--process", str(number), option, str(file.resolve()), *more]
    return subprocess.run(command, cwd=cwd, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

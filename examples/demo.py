"""Memory across processes: one process chats and ends, and a second one remembers, per user.

Process 1 replays a transcript: the user's messages go through a chain with memory, and a scripted
model answers with the recorded replies. The memories have the date of the replay. Process 2 shares
only the store with process 1: it never opens the transcript, starts in another folder, and asks
every question in a new session.

    python examples/demo.py [--transcript FILE.jsonl] [--questions FILE.jsonl] [--url sqlite:///...]

The exit code is 0 if every fact reached the prompts and no fact of another user did, 1 if not, and
2 for invalid input.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda

from langchain_kronvex import KronvexMemory, with_memory
from offline_chat_model import OfflineChatModel
from transcript import (
    BadInput,
    Message,
    Question,
    derive_questions,
    exchanges,
    read_questions,
    read_transcript,
    write_questions,
)

HERE = Path(__file__).resolve().parent
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant. Use what you remember:\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)
MEMORY_LINE = re.compile(r"^\[\w+, \d{4}-\d\d-\d\d\] ")


def main() -> int:
    """Run both processes, or run as one of them."""
    options = parse_options()
    try:
        if options.process == 1:
            return hold_conversation(read_transcript(options.transcript))
        if options.process == 2:
            return ask_questions(read_questions(options.questions))
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
        return run_process(1, url, "--transcript", transcript, cwd=Path.cwd()) or run_process(
            2, url, "--questions", questions, cwd=Path(folder)
        )


def shared_url(url: str) -> str:
    """Return a SQLite URL that names the same file in every working directory."""
    scheme, _, path = url.partition(":///")
    if url in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise BadInput(f"--url {url} exists only in one process, so two cannot share it")
    if scheme != "sqlite":
        return url
    return f"sqlite:///{Path(path).expanduser().resolve()}"


def run_process(number: int, url: str, option: str, file: Path, *, cwd: Path) -> int:
    """Run this file as process `number`, in `cwd`, and return its exit code."""
    search_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # The URL may contain a password, so it is not passed as an argument, which others can see.
    environment = os.environ | {
        "KRONVEX_URL": url,
        "PYTHONPATH": os.pathsep.join(str(Path(part).resolve()) for part in search_path if part),
    }
    here = str(Path(__file__).resolve())
    command = [sys.executable, here, "--process", str(number), option, str(file.resolve())]
    return subprocess.run(command, cwd=cwd, env=environment, check=False).returncode


def hold_conversation(messages: list[Message]) -> int:
    """Process 1: replay the transcript through a chain with memory."""
    pairs = list(exchanges(messages))
    replies = iter([pair[1].content for pair in pairs if len(pair) == 2])
    with KronvexMemory() as memory:  # at KRONVEX_URL
        chain = with_memory(PROMPT | GenericFakeChatModel(messages=replies), memory)
        for first, *answered in pairs:
            if answered:
                scope = {"user_id": first.user_id, "session_id": first.session_id}
                chain.invoke({"input": first.content}, config={"configurable": scope})
            else:  # a message without a question or an answer is only stored
                history = memory.chat_history(first.session_id, user_id=first.user_id)
                history.add_messages(convert_to_messages([(first.role, first.content)]))
    users = ", ".join(dict.fromkeys(message.user_id for message in messages))
    print(
        f"Process 1 (pid {os.getpid()}) replayed a transcript: {len(messages)} messages of {users}."
    )
    print("A scripted model gave the recorded replies. Process 1 has ended.", flush=True)
    return 0


def ask_questions(questions: list[Question]) -> int:
    """Process 2: ask in new sessions, show every prompt, and count the facts in them."""
    model, label = chat_model()
    prompts: list[PromptValue] = []

    def show(prompt: PromptValue) -> PromptValue:
        prompts.append(prompt)
        print(prompt.to_string())
        return prompt

    print(f"Process 2 (pid {os.getpid()}) starts in {Path.cwd()} and answers with {label}.")
    with KronvexMemory() as memory:  # at KRONVEX_URL
        chain = with_memory(PROMPT | RunnableLambda(show) | model, memory)
        for question in questions:
            session_id = f"{question.user_id[:200]}-later-{uuid4().hex[:6]}"
            print(f"\n--- {question.user_id} asks in session {session_id}; the prompt is:")
            scope = {"user_id": question.user_id, "session_id": session_id}
            reply = chain.invoke({"input": question.question}, config={"configurable": scope})
            print(f"--- the reply is:\n{reply.text}")
    print()
    return verdict(questions, prompts)


def chat_model() -> tuple[BaseChatModel, str]:
    """Return OpenAI's model if OPENAI_API_KEY is set, else the offline stand-in."""
    if not os.environ.get("OPENAI_API_KEY"):
        return OfflineChatModel(), "OfflineChatModel, an offline stand-in and not an AI model"
    from langchain_openai import ChatOpenAI

    name = os.environ.get("OPENAI_MODEL") or "gpt-5-mini"
    return ChatOpenAI(model=name, timeout=60), f"ChatOpenAI, model {name}"


def verdict(questions: list[Question], prompts: list[PromptValue]) -> int:
    """Print the last line, and return the exit code."""
    asked = {question.question for question in questions}
    missing, foreign = [], []
    for question, prompt in zip(questions, prompts, strict=True):
        user_id, shown = question.user_id, lines_shown(prompt, asked)
        if not any(question.expects in line for line in shown if MEMORY_LINE.match(line)):
            missing.append(f"{user_id} lacks {question.expects[:80]!r}")
        # A text that is foreign to one question of a user is foreign to all of them.
        others = {text for each in questions if each.user_id == user_id for text in each.foreign}
        found = sorted(text for text in others if any(text in line for line in shown))
        foreign += [f"{user_id} was shown {text[:80]!r}" for text in found]
    facts = len(questions) - len(missing)
    counted = f"{facts} facts from process 1 reached the prompts of process 2"
    if missing or foreign:
        details = "; ".join(missing + foreign)
        print(f"FAILED: {counted}, {len(foreign)} of the other user: {details}")
        return 1
    print(f"OK: {counted}, 0 of the other user")
    return 0


def lines_shown(prompt: PromptValue, asked: set[str]) -> list[str]:
    """Return the lines of a prompt without the question and memories of earlier questions."""
    made_by_asking = tuple(f"User: {one_line(question)}" for question in asked)
    text = "\n".join(message.text for message in prompt.to_messages()[:-1])
    lines = [one_line(line) for line in text.split("\n")]
    return [line for line in lines if not MEMORY_LINE.sub("", line).startswith(made_by_asking)]


def one_line(text: str) -> str:
    """Return a text in one line, so that texts can be compared regardless of white space."""
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())

"""Memory across processes: one process chats and ends, and a second one remembers, per user.

Process 1 replays a transcript, dated as it was: the user's messages go through a chain with memory,
and a scripted model gives the recorded replies. Process 2 shares only the store with process 1: it
never opens the transcript, and asks every question in a new session.

    python examples/demo.py [--verbose] [--transcript FILE.jsonl] [--questions FILE.jsonl]
                            [--url sqlite:///...]

The exit code is 0 if every fact reached the prompts, no fact of another user did, and every reply
is right; 1 if not, and 2 for invalid input.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import convert_to_messages
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig

from demo_report import Answer, print_answer, print_in_full, print_start, verdict
from langchain_kronvex import KronvexMemory, KronvexMemoryContext, with_memory
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
        MessagesPlaceholder("chat_history", optional=True),
        ("human", "{input}"),
    ]
)


def hold_conversation(messages: list[Message]) -> None:
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


def ask_questions(
    url: str, questions: list[Question], model: BaseChatModel, verbose: bool = False
) -> int:
    """Process 2: ask in new sessions, show what was recalled, and return the exit code."""
    answers = []
    with KronvexMemory(url) as memory:
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
            answers.append(Answer(question, prompt, reply))
            print_answer(answers[-1], verbose)
    if not verbose:
        print("\nThe last prompt in full, and the reply:")
        print_in_full(answers[-1])
    return verdict(answers)


def whose(user_id: str, session_id: str) -> RunnableConfig:
    """Return the config that names the user and the session."""
    return {"configurable": {"user_id": user_id, "session_id": session_id}}


def chat_model() -> tuple[BaseChatModel, str]:
    """Return OpenAI's model if OPENAI_API_KEY is set, else the offline stand-in; and its name."""
    if not os.environ.get("OPENAI_API_KEY"):
        return OfflineChatModel(), "OfflineChatModel, an offline stand-in and not an AI model"
    from langchain_openai import ChatOpenAI

    name = os.environ.get("OPENAI_MODEL") or "gpt-5-mini"
    return ChatOpenAI(model=name, timeout=60), f"ChatOpenAI, model {name}"


def main() -> int:
    """Run process 1, then be process 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    options = parse_options()
    try:
        if options.process == 1:
            messages = read_transcript(options.transcript)
            if options.questions:
                write_questions(derive_questions(messages), options.questions)
            hold_conversation(messages)
            return 0
        return run_both(options)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 - report any error of a store or model
        traceback.print_exc()
        print(f"FAILED: process {options.process}: {type(error).__name__}: {error}")
        return 1


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verbose", action="store_true", help="show every prompt and every reply")
    parser.add_argument("--transcript", type=Path, help="JSON Lines, like conversation.jsonl")
    parser.add_argument("--questions", type=Path, help="JSON Lines, like questions.jsonl")
    parser.add_argument("--url", help="the store; default: a file in a temporary folder")
    parser.add_argument("--process", type=int, default=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_both(options: argparse.Namespace) -> int:
    """Run process 1; when it has ended, ask the questions; return the exit code."""
    given = options.questions
    if not given and not options.transcript:
        given = HERE / "questions.jsonl"
    questions = read_questions(given) if given else []
    with tempfile.TemporaryDirectory(prefix="kronvex-demo-") as folder:
        url = shared_url(options.url or f"sqlite:///{Path(folder, 'memory.db')}")
        more = []
        if not given:  # process 1 writes them, because this process never opens the transcript
            given = Path(folder, "questions.jsonl")
            more = ["--questions", str(given)]
        exit_code = run_process_1(options.transcript or HERE / "conversation.jsonl", url, more)
        if exit_code:
            return exit_code
        model, name = chat_model()
        print_start(name)
        return ask_questions(url, questions or read_questions(given), model, options.verbose)


def shared_url(url: str) -> str:
    """Return a SQLite URL that names the same file in every working directory."""
    scheme, _, path = url.partition(":///")
    if url in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise BadInput(f"--url {url} exists only in one process, so two cannot share it")
    if scheme != "sqlite":
        return url
    return f"sqlite:///{Path(path).expanduser().resolve()}"


def run_process_1(transcript: Path, url: str, more: list[str]) -> int:
    """Run this file as process 1, in another folder, and return its exit code."""
    search_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # The URL may contain a password, so it is not passed as an argument, which others can see.
    environment = os.environ | {
        "KRONVEX_URL": url,
        "PYTHONPATH": os.pathsep.join(str(Path(part).resolve()) for part in search_path if part),
    }
    command = [
        sys.executable,
        str(HERE / "demo.py"),
        "--process",
        "1",
        "--transcript",
        str(transcript.resolve()),
    ]
    return subprocess.run([*command, *more], cwd=HERE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""`KronvexConsolidator`: derives what is known of users from what they said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from langchain_kronvex.consolidation.background import BackgroundConsolidation
from langchain_kronvex.consolidation.model_calls import ModelCaller, chat_model
from langchain_kronvex.consolidation.owner_run import OUT_OF_CALLS, OwnerRun, RunOptions
from langchain_kronvex.consolidation.prompt import PROMPT, check_prompt
from langchain_kronvex.consolidation.report import ConsolidationReport
from langchain_kronvex.consolidation.schemas import Fact, Preference, Procedure, check_schemas
from langchain_kronvex.consolidation.undoing import undo
from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.types import Again
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.scope_from_config import check_memory, scope_from
from langchain_kronvex.memory.waking import check_can_consolidate, is_user


class ConsolidationNode(Protocol):
    """A node of a graph that consolidates the user of the run."""

    def __call__(self, state: Any, config: RunnableConfig) -> None:
        """Consolidate; the state stays as it is."""


@checks.checked_calls
class KronvexConsolidator:
    """Derives facts, preferences and standing instructions from exchanges, with a language model.

    What was said stays as it is. What is derived from it are memories of their own, with `sources`,
    and with the reason and the name of the model in `metadata["consolidation"]`. They are found,
    listed and exported like others, and go when the last of their sources is forgotten. Only
    derived memories are ever superseded, and `undo` takes everything back.

    How far each user has been consolidated is stored together with the results. Any number of
    workers may consolidate the same store: one at a time works on a user.

    Examples:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> model = FakeListChatModel(responses=[
        ...     '{"Fact": [{"text": "Ana lives in Porto.", "sources": [1]}]}'
        ... ])
        >>> with KronvexMemory("sqlite://") as memory:
        ...     _ = memory.save_exchange("I live in Porto.", "How nice!", user_id="ana")
        ...     report = KronvexConsolidator(memory, model).run("ana")
        ...     [each.content for each in memory.memories(user_id="ana", memory_type="semantic")]
        ['Ana lives in Porto.']

    Args:
        memory: The memory; the caller closes it.
        model: Any chat model, preferably one with structured output; or its name, such as
            `openai:gpt-4o-mini`, for LangChain's `init_chat_model`.
        schemas: What may be derived: pydantic classes. `Fact`, `Preference` and `Procedure` by
            default. The class attribute `memory_type` is the type of the memories, `semantic` by
            default.
        prompt: Replaces the prompt: a text or `ChatPromptTemplate` with the variable `{exchanges}`,
            and `{known}` for the facts that are known already.
        batch_exchanges: How many exchanges the model is shown at once.
        max_batch_tokens: Show it fewer if they have about more tokens than this.
        max_operations: The most operations that one answer may contain.
        max_calls_per_hour: The most calls of the model within any hour, by this object. None for
            any number.
        attempts: How often a call is tried while the provider fails, with growing pauses.
        claim_seconds: After this time without a result, another worker may take a user over.
        on_report: Called with the report of each user, also of those that are consolidated in the
            background, and of what was stored before a run failed. Keep it if you may `undo` it.

    Raises:
        InvalidInput: a value does not fit.
        ConfigurationError: the model cannot be created from its name.
    """

    def __init__(
        self,
        memory: KronvexMemory,
        model: BaseChatModel | str,
        *,
        schemas: Sequence[type[BaseModel]] = (Fact, Preference, Procedure),
        prompt: str | ChatPromptTemplate = PROMPT,
        batch_exchanges: int = 20,
        max_batch_tokens: int = 6000,
        max_operations: int = 20,
        max_calls_per_hour: int | None = None,
        attempts: int = 4,
        claim_seconds: float = 300.0,
        on_report: Callable[[ConsolidationReport], None] | None = None,
    ) -> None:
        self.memory = check_memory(memory)
        calls = checks.check_optional_count(max_calls_per_hour, "max_calls_per_hour", least=1)
        attempts = checks.check_count(attempts, "attempts", least=1)
        self._options = RunOptions(
            caller=ModelCaller(chat_model(model), attempts, calls),
            schemas=check_schemas(schemas),
            prompt=check_prompt(prompt),
            batch_exchanges=checks.check_count(batch_exchanges, "batch_exchanges", least=1),
            max_batch_tokens=checks.check_count(max_batch_tokens, "max_batch_tokens", least=1),
            max_operations=checks.check_count(max_operations, "max_operations", least=1),
            claim_seconds=checks.check_seconds(claim_seconds, "claim_seconds"),
            on_report=on_report,
        )
        self._background = BackgroundConsolidation(memory.engine, self._options, self.waiting)

    # -- now -----------------------------------------------------------------------------------

    def run(
        self, user_id: str | None = None, *, dry_run: bool = False, again: Again | None = None
    ) -> ConsolidationReport:
        """Consolidate what one user, or every user, has said since the last time.

        Args:
            user_id: The user (of memories with only a `session_id`, that id). None for all users.
            dry_run: Ask the model, but store nothing; `operations` lists what would be done.
            again: Also look at exchanges that were `set_aside`, or at `all` exchanges once more.

        Returns:
            What was done. `stopped` says why it ended early.

        Raises:
            InvalidInput: a value does not fit.
            NotSupported: the memories are on a Kronvex server.
            Exception: the model's provider failed repeatedly. What was done before is stored, and
                the next run goes on from there.
        """
        checks.check_flag(dry_run, "dry_run")
        if again not in (None, "set_aside", "all"):
            raise InvalidInput('again must be "set_aside", "all" or None.')
        report = ConsolidationReport(dry_run=dry_run)
        owners = self.waiting() if user_id is None else [checks.check_id(user_id, "user_id")]
        if user_id is None and again is not None:
            owners = [user.user_id for user in self.memory.users()]
        for owner in filter(is_user, owners):
            run = OwnerRun(self.memory.engine, self._options, owner, dry_run=dry_run, again=again)
            report += run.complete()
            if report.stopped == OUT_OF_CALLS:
                break
        return report

    async def arun(
        self, user_id: str | None = None, *, dry_run: bool = False, again: Again | None = None
    ) -> ConsolidationReport:
        """Async version of `run`; when cancelled, the run goes on in its thread."""
        return await asyncio.to_thread(self.run, user_id, dry_run=dry_run, again=again)

    def waiting(self) -> list[str]:
        """Return the users with new exchanges that no worker has claimed."""
        engine = self.memory.engine
        owners = engine.backend.waiting(engine.clock())
        return sorted(filter(is_user, owners))

    def undo(self, report: ConsolidationReport) -> int:
        """Take back what a run did: erase what it added, and bring back what that superseded.

        What was added and has been superseded since is erased as well; its successor stays. The
        exchanges are not looked at again, unless you `run(again="all")`.

        Returns:
            How many operations were taken back. Those that were taken back before, or whose memory
            was forgotten, do not count.

        Raises:
            InvalidInput: it is not the report of a run that stored something.
            StoreBusy: another worker consolidates one of the users; try again later.
        """
        if not isinstance(report, ConsolidationReport) or report.dry_run:
            raise InvalidInput("undo needs the report of a run that was not a dry_run.")
        return undo(self.memory.engine, report, self._options.claim_seconds)

    async def aundo(self, report: ConsolidationReport) -> int:
        """Async version of `undo`."""
        return await asyncio.to_thread(self.undo, report)

    def as_node(self) -> ConsolidationNode:
        """Return a node for LangGraph: `graph.add_node("consolidate", consolidator.as_node())`.

        It consolidates the user of the run, whom the run's context or `config["configurable"]`
        names, and changes nothing in the state. It suits graphs that run in the background, sync or
        async: it waits for the model, whose tokens are not streamed. Like `run` it raises when the
        provider fails repeatedly, and `ScopeRequired` when the run names no user.
        """

        def consolidate(state: Any, config: RunnableConfig) -> None:
            self.run(scope_from(config).owner)

        return consolidate

    # -- in the background ---------------------------------------------------------------------

    def start(self, after_seconds: float = 30.0) -> None:
        """Consolidate in a thread from now on: each user, `after_seconds` after their last words.

        This includes what other workers left undone. Starting again only changes the delay.

        Raises:
            InvalidInput: the value does not fit.
            NotSupported: the memories are on a Kronvex server.
        """
        check_can_consolidate(self.memory)
        self._background.start(checks.check_seconds(after_seconds, "after_seconds"))

    async def astart(self, after_seconds: float = 30.0) -> None:
        """Async version of `start`."""
        self.start(after_seconds)

    def wake(self, user_id: str) -> None:
        """Note that a user has said something; start the thread if necessary.

        It returns at once and never fails. `with_memory` and the middleware call it.
        """
        if is_user(user_id):
            self._background.wake(user_id)

    def flush(self, timeout: float | None = None) -> bool:
        """Consolidate the waiting users now; return False after `timeout` seconds."""
        return self._background.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of `flush`."""
        return await asyncio.to_thread(self.flush, timeout)

    def stop(self, timeout: float | None = 10.0) -> None:
        """Stop the thread after the batch under way. A later run does the rest."""
        self._background.stop(timeout)

    async def astop(self, timeout: float | None = 10.0) -> None:
        """Async version of `stop`."""
        await asyncio.to_thread(self.stop, timeout)

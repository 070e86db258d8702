"""From the `model` argument to a chat model: an object, or a name for LangChain."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel

from langchain_kronvex.core.errors import ConfigurationError, InvalidInput, MissingExtra


def chat_model(model: BaseChatModel | str) -> BaseChatModel:
    """Return a chat model; names are resolved by LangChain's `init_chat_model`.

    Raises:
        InvalidInput: it is neither.
        ConfigurationError: the name is unknown, or its model cannot be created.
        MissingExtra: LangChain or the provider's package is not installed.
    """
    if isinstance(model, BaseChatModel):
        return model
    if not isinstance(model, str):
        raise InvalidInput(
            "model must be a LangChain chat model, or the name of one such as "
            f"'openai:gpt-4o-mini', not {type(model).__name__}."
        )
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise MissingExtra(
            f"model={model!r} needs LangChain: pip install langchain, or for OpenAI "
            'pip install "langchain-kronvex[openai]"'
        ) from error
    try:
        return init_chat_model(model)
    except ImportError as error:
        raise MissingExtra(f"model={model!r}: {error}") from error
    except Exception as error:
        raise ConfigurationError(
            f"model={model!r} cannot be used: {type(error).__name__}: {error}. Pass "
            "'provider:model', such as 'openai:gpt-4o-mini', or any LangChain chat model."
        ) from error

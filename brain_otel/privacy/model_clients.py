"""The clients of language models: their local variables and debug lines hold prompts and answers."""

from brain_otel.runtime.lazy_regex import expression

_PACKAGES = frozenset({"openai", "anthropic", "google.genai", "mistralai", "cohere", "groq", "litellm", "ollama"})

_LOGGERS = _PACKAGES | {"google_genai"}

_WORDS = expression(r"[. ]")


def is_model_client(module: str) -> bool:
    """Whether a module belongs to the client of a language model."""
    return not _PACKAGES.isdisjoint(_beginnings(module.split(".", 2)))


def logs_prompts(logger: str) -> bool:
    """Whether a logger is one of such a client, as ``anthropic._base_client`` and ``LiteLLM Router`` are.

    They log each request at DEBUG, with the prompt.
    """
    return not _LOGGERS.isdisjoint(_beginnings(_WORDS.split(logger.lower(), 2)))


def _beginnings(parts: list[str]) -> tuple[str, str]:
    return parts[0], ".".join(parts[:2])

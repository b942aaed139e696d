"""Which modules and loggers belong to the client of a language model."""

import pytest

from brain_otel.privacy.model_clients import is_model_client, logs_prompts


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("openai", True),
        ("anthropic.resources.messages", True),
        ("google.genai.models", True),
        ("google.cloud.storage", False),
        ("openai_wrapper", False),
        ("shop.openai", False),
        ("", False),
    ],
)
def test_a_module_of_a_client_is_known_by_its_package(name: str, is_one: bool) -> None:
    assert is_model_client(name) is is_one


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("openai._base_client", True),
        ("anthropic._base_client", True),
        ("groq._base_client", True),
        ("google_genai.models", True),
        ("LiteLLM", True),
        ("LiteLLM Router", True),
        ("ollama", True),
        ("shop.litellm", False),
        ("google.auth", False),
        ("root", False),
        ("", False),
    ],
)
def test_a_logger_of_a_client_is_known_by_its_name(name: str, is_one: bool) -> None:
    assert logs_prompts(name) is is_one

"""Checks a configuration file against OpenTelemetry's schema, and says in words what is wrong.

A file of the simple form matches the schema, so set-up imports this module only for other files.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.document import Document
from brain_otel.configuration.values import Key

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MAJOR, MINOR = 1, 1
"""The file format of the installed ``opentelemetry-configuration``; a test pins it."""

_FORMAT = 'the version in quotes, "1.0" or "1.1"'
_LIMITS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def validate(document: Document) -> None:
    """Reject a file that does not match the schema.

    Raises:
        ConfigurationError: the message names the deepest place that the schema tells.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = _schema()
    # The schema allows any key at the top level, where a misspelt block would silently have no effect.
    for name in document.data:
        if name not in schema["properties"] and not str(name).startswith("x-"):
            allowed = "the keys " + ", ".join(schema["properties"]) + ", and x-... for your own"
            raise document.error((str(name),), document.data[name], allowed)
    error = best_match(Draft202012Validator(schema).iter_errors(document.data))
    if error is not None:
        raise document.error(*_described(error))
    version = _version(document.get("file_format"))
    if version is None or version[0] != MAJOR:
        raise document.error(("file_format",), document.get("file_format"), _FORMAT)


def is_newer(document: Document) -> bool:
    """Whether the minor version of the file's format is newer than the installed schema's."""
    version = _version(document.get("file_format"))
    return version is not None and version[1] > MINOR


@cache
def _schema() -> dict[str, Any]:
    package = resources.files("opentelemetry.configuration")
    schema: dict[str, Any] = json.loads((package / "schema.json").read_text(encoding="utf-8"))
    return schema


def _version(text: object) -> tuple[int, int] | None:
    parts = str(text).partition("-")[0].split(".")
    if not 1 <= len(parts) <= 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0


def _described(error: ValidationError) -> tuple[Key, Any, str]:
    """The place of ``error``, the value there, and what the schema allows."""
    schema = error.schema if isinstance(error.schema, dict) else {}
    key = tuple(error.absolute_path)
    known = list(schema.get("properties", {}))
    instance: Any = error.instance
    value: Any = error.validator_value
    if key == ("file_format",):
        return key, instance, _FORMAT
    match error.validator:
        case "additionalProperties":
            unknown = next((name for name in instance if name not in known), None)
            keys = "the keys " + ", ".join(known) if known else "no keys"
            return (*key, str(unknown)), instance.get(unknown), keys
        case "minProperties" | "maxProperties":
            others = ", or a plugin's name" if schema.get("additionalProperties") else ""
            return key, instance, f"exactly one of {', '.join(known)}{others}"
        case "required":
            missing = ", ".join(name for name in value if name not in instance)
            return key, instance, f"a mapping with {', '.join(value)}; missing: {missing}"
        case _:
            return key, instance, _allowed(error, schema)


def _allowed(error: ValidationError, schema: dict[str, Any]) -> str:
    value: Any = error.validator_value
    match error.validator:
        case "type" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if _LIMITS & schema.keys():
            return _range(schema)
        case "type":
            return " or ".join(_TYPES[each] for each in (value if isinstance(value, list) else [value]))
        case "enum":
            return ", ".join("nothing" if each is None else str(each) for each in value)
        case "minItems":
            return f"a list of at least {value}"
        case "oneOf" | "anyOf":
            kinds = [_TYPES.get(str(each.get("type")), "what the schema allows") for each in value]
            return " or ".join(dict.fromkeys(kinds))
        case other:
            return f"what OpenTelemetry's schema allows ({other}: {str(value)[:100]})"


def _range(schema: dict[str, Any]) -> str:
    kind = "a whole number" if "integer" in schema.get("type", ()) else "a number"
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    bounds = [
        *([f"from {low} on"] if low is not None else []),
        *([f"above {above}"] if above is not None else []),
        *([f"up to {high}"] if high is not None else []),
        *([f"below {below}"] if below is not None else []),
    ]
    return f"{kind} {' and '.join(bounds)}"

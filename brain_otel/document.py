"""A configuration file with its variables filled in, that remembers which variable gave which value.

The file is in OpenTelemetry's `declarative format <https://opentelemetry.io/docs/specs/otel/configuration/>`_.
``${VAR}`` and ``${VAR:-default}`` are filled in as the specification's
`substitution rules <https://opentelemetry.io/docs/specs/otel/configuration/data-model/>`_ say, from a mapping
that the caller gives; upstream's loader reads ``os.environ`` and forgets where a value came from. One thing
differs on purpose: a variable that is set to the empty string counts as unset, as in every other place of
OpenTelemetry's specification.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from brain_otel.settings import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jsonschema.exceptions import ValidationError

Key = tuple[str | int, ...]

Variables = dict[int, tuple[str, ...]]
"""The variables that a scalar node has been filled in from, by the node's identity."""

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_STANDALONE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")
_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_SECRET = re.compile(r"dsn|secret|token|password|authorization|api[_-]?key|headers", re.IGNORECASE)
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 64
_MAX_VALUES = 100_000
_LIMITS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}


class Document:
    """The parsed content of one file: ``data``, and messages that name the place of a bad value."""

    def __init__(
        self, source: str, data: dict[str, Any], root: yaml.Node | None = None, variables: Variables | None = None
    ) -> None:
        self.source = source
        self.data = data
        self._root = root
        self._variables = variables or {}

    def get(self, *key: str | int) -> Any:
        """The value at ``key``, or None where any part of the way is missing."""
        value: Any = self.data
        for part in key:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def variable(self, key: Key) -> str | None:
        """The variable that gave the value at ``key``, or would have given it; the first where there are several.

        None where the file itself says the value.
        """
        names = self.variables(key)
        return names[0] if names else None

    def variables(self, key: Key) -> tuple[str, ...]:
        """The variables that are filled in at ``key``, in their order."""
        node = self._root
        for part in key:
            node = _child(node, part)
        return self._variables.get(id(node), ())

    def error(self, key: Key, value: object, allowed: str) -> ConfigurationError:
        """The error to raise for ``value`` at ``key``: the place, the value and what is allowed."""
        variable = self.variable(key)
        path = ".".join(str(part) for part in key) or "the top level"
        place = f"{variable} ({self.source}: {path})" if variable else f"{self.source}: {path}"
        secret = _SECRET.search(path) or (variable and _SECRET.search(variable))
        shown = "(masked)" if secret else _shortened(value)
        return ConfigurationError(f"{place} is {shown}; allowed: {allowed}")


def read_document(path: Path, environ: Mapping[str, str]) -> Document:
    """Read and fill in the file at ``path``.

    Raises:
        ConfigurationError: it cannot be read, is no YAML or JSON mapping, or is not what OpenTelemetry's
            schema allows.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{source} cannot be read ({error.strerror}); allowed: a readable YAML or JSON file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{source} is not UTF-8 text; allowed: a YAML or JSON file") from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(f"{source} is larger than {_MAX_BYTES} bytes; allowed: a configuration file")
    document = _parse(source, text, environ)
    _validate(document)
    return document


def _parse(source: str, text: str, environ: Mapping[str, str]) -> Document:
    try:
        loader = yaml.SafeLoader(text)
        filler = _Filler(loader, environ)
        try:
            root = loader.get_single_node()
            if root is None:
                raise ConfigurationError(f"{source} is empty; allowed: a mapping with file_format")
            filler.fill_in(root)
            data = loader.construct_document(root)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{source} cannot be parsed: {reason}; allowed: YAML or JSON") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{source} holds a {type(data).__name__}; allowed: a mapping")
    return Document(source, data, root, filler.variables)


class _Filler:
    """Fills in every value of a node tree once and notes where each came from."""

    def __init__(self, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self.variables: Variables = {}
        self._loader = loader
        self._environ = environ
        self._filled: dict[int, tuple[yaml.Node, int]] = {}
        self._above: list[yaml.Node] = []

    def fill_in(self, node: yaml.Node, key: Key = ()) -> int:
        """Walk ``node`` and count its values; an alias shares its anchor's node, and is walked once."""
        if any(node is above for above in self._above):
            raise ValueError(f"the alias at {'.'.join(map(str, key))} contains itself")
        if len(key) > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        if id(node) in self._filled:
            return self._filled[id(node)][1]
        values = 1
        self._above.append(node)
        if isinstance(node, yaml.SequenceNode):
            values += sum(self.fill_in(item, (*key, index)) for index, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if isinstance(name, yaml.ScalarNode) and name.tag != _MERGE:
                    name.tag = _STRING  # `on` or `1` is text as a key
                values += self.fill_in(value, (*key, str(name.value)))
        elif isinstance(node, yaml.ScalarNode) and node.tag == _STRING:
            self._fill_in_scalar(node)
        self._above.pop()
        if values > _MAX_VALUES:
            raise ValueError(f"its aliases unfold to more than {_MAX_VALUES} values")
        self._filled[id(node)] = (node, values)
        return values

    def _fill_in_scalar(self, node: yaml.ScalarNode) -> None:
        template = node.value
        node.value = _VARIABLE.sub(lambda match: _value_of(match, self._environ), template)
        if names := [match[1] for match in _VARIABLE.finditer(template) if match[1]]:
            self.variables[id(node)] = tuple(names)
        if node.style is None and _STANDALONE.fullmatch(template):
            node.tag = self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    """The node at ``part`` of ``node``; the later of two that a merge has put side by side."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    if isinstance(node, yaml.MappingNode):
        for name, value in reversed(node.value):
            if isinstance(name, yaml.ScalarNode) and name.value == part:
                found: yaml.Node = value
                return found
    return None


def _value_of(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[1] is None:
        return "$"
    return environ.get(match[1]) or match[2] or ""


def _validate(document: Document) -> None:
    package = resources.files("opentelemetry.configuration")
    schema = json.loads((package / "schema.json").read_text(encoding="utf-8"))
    # The schema leaves the top level open; a misspelt block would be without effect and nobody would know.
    for key in document.data:
        if key not in schema["properties"] and not str(key).startswith("x-"):
            allowed = "the keys " + ", ".join(schema["properties"]) + ", and x-... for your own"
            raise document.error((str(key),), document.data[key], allowed)
    error = best_match(Draft202012Validator(schema).iter_errors(document.data))
    if error is not None:
        raise document.error(tuple(error.absolute_path), error.instance, _allowed(error))


def _allowed(error: ValidationError) -> str:
    """What the schema allows where ``error`` happened, in words."""
    schema = error.schema if isinstance(error.schema, dict) else {}
    value: Any = error.validator_value
    match error.validator:
        case "type" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if _LIMITS & schema.keys():
            low = schema.get("minimum", schema.get("exclusiveMinimum", "any"))
            high = schema.get("maximum", schema.get("exclusiveMaximum", "any"))
            return f"a number from {low} to {high}"
        case "type":
            return " or ".join(value) if isinstance(value, list) else str(value)
        case "enum":
            return ", ".join(str(each) for each in value)
        case "additionalProperties":
            return "the keys " + ", ".join(schema.get("properties", {}))
        case "required":
            return "a mapping with " + ", ".join(value)
        case _:
            return f"what OpenTelemetry's schema says ({error.message[:200]})"


def _shortened(value: object) -> str:
    """``value`` for a message; of a block only its keys, for there may be a secret anywhere in it."""
    if isinstance(value, dict):
        text = "a mapping with " + ", ".join(map(str, value)) if value else "an empty mapping"
    elif isinstance(value, list):
        text = f"a list of {len(value)}"
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

"""A configuration file with its variables filled in, that remembers which variable gave which value.

The file is in OpenTelemetry's `declarative format <https://opentelemetry.io/docs/specs/otel/configuration/>`_.
``${VAR}`` and ``${VAR:-default}`` are filled in as the specification's
`substitution rules <https://opentelemetry.io/docs/specs/otel/configuration/data-model/>`_ say, from a mapping
that the caller gives; upstream's loader reads ``os.environ`` and forgets where a value came from. One thing
differs on purpose: a variable that is set to the empty string counts as unset, as in every other place of
OpenTelemetry's specification.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

from brain_otel.configuration.error import (
    MASK,
    ConfigurationError,
    configuration_error,
    is_secret_name,
    masked,
    reason,
)
from brain_otel.configuration.values import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Key = tuple[str | int, ...]

Variables = dict[int, tuple[str, ...]]
"""The variables that a scalar node has been filled in from, by the node's identity."""

_LOADERS: tuple[Any, ...] = (*filter(None, [getattr(yaml, "CSafeLoader", None)]), yaml.SafeLoader)
"""PyYAML over libyaml, in a tenth of the time, where it was built with that; and PyYAML's own.

The latter has the last word: it takes what libyaml refuses, such as ``[tracecontext:]``.
"""

_REFERENCE = r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}"
_VARIABLE = re.compile(rf"\$\$|{_REFERENCE}")
_STANDALONE = re.compile(_REFERENCE)
_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 64
_MAX_VALUES = 100_000


class Document:
    """The parsed content of one file: ``data``, and messages that name the place of a bad value."""

    def __init__(
        self, source: str, data: dict[str, Any], root: yaml.Node | None = None, variables: Variables | None = None
    ) -> None:
        self.source = source
        self.data = data
        self._root = root
        self._variables = variables or {}
        self._given: dict[Key, tuple[str, Key | None]] = {}

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

    def read(self, key: Key, reader: Callable[[Any], Any], default: Any = None) -> Any:
        """What ``reader`` makes of the value at ``key``; ``default`` where there is none.

        Raises:
            ConfigurationError: the reader rejects the value.
        """
        value = self.get(*key)
        try:
            return default if value is None else reader(value)
        except BadValueError as error:
            raise self.error((*key, *error.path), error.value, error.allowed) from None

    def record_origin(self, key: Key, variable: str, *, moved_from: Key | None = None) -> None:
        """Remember that ``variable`` gave what is at ``key``, or that it has moved there from another place."""
        self._given[key] = (variable, moved_from)

    def set_by(self, key: Key) -> str:
        """The variable that has put what is at ``key`` there; empty if the file has."""
        return self._given.get(key, ("", None))[0]

    def variable(self, key: Key) -> str | None:
        """The variable that gave the value at ``key``, or would have given it; the first where there are several.

        None where the file itself says the value.
        """
        names = self.variables(key)
        return names[0] if names else None

    def variables(self, key: Key) -> tuple[str, ...]:
        """The variables that are filled in at ``key``, in their order."""
        variable, in_file = self._origin(key)
        if in_file is None:
            return (variable,)
        node = self._root
        for part in in_file:
            node = _child(node, part)
        return self._variables.get(id(node), ())

    def error(self, key: Key, value: object, allowed: str) -> ConfigurationError:
        """The error to raise for ``value`` at ``key``: the place, the value and what is allowed."""
        variables = self.variables(key)
        place = self.place(key)
        hidden = is_secret_name(".".join(map(str, key))) or any(map(is_secret_name, variables))
        if hidden and value not in (None, ""):
            return ConfigurationError(f"{place} is {MASK}; allowed: {allowed}")
        return configuration_error(place, value, allowed)

    def place(self, key: Key) -> str:
        """Where ``key`` is, in words: the file and the path, and the variable that gave it."""
        variable = self.variable(key)
        path = ".".join(str(part) for part in self._origin(key)[1] or key) or "the top level"
        return f"{variable} ({self.source}: {path})" if variable else f"{self.source}: {path}"

    def _origin(self, key: Key) -> tuple[str, Key | None]:
        """Where the file has what is at ``key``; None, and the variable, where it has not."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._given:
                variable, moved_from = self._given[key[:length]]
                return variable, None if moved_from is None else (*moved_from, *key[length:])
        return "", key


def read_document(path: Path, environ: Mapping[str, str], *, path_from: str = "") -> Document:
    """Read and fill in the file at ``path``, which the variable or argument ``path_from`` named.

    Raises:
        ConfigurationError: it cannot be read, or is no YAML or JSON mapping.
    """
    source = str(path)
    content = _read(path, path_from or "The configuration file")
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(f"{source} is larger than {_MAX_BYTES} bytes; allowed: a configuration file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source} is not UTF-8 text; allowed: a YAML or JSON file") from None
    return _parse(source, text, environ)


def _read(path: Path, path_from: str) -> bytes:
    try:
        if not path.exists() or path.is_file() or path.is_dir():
            with path.open("rb") as file:
                return file.read(_MAX_BYTES + 1)
        why = "Not a file"  # a pipe might keep the application waiting for ever
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    raise ConfigurationError(
        f"{path_from} is {masked(str(path))!r}, which cannot be read ({why}); allowed: a readable YAML or JSON file"
    )


def _parse(source: str, text: str, environ: Mapping[str, str]) -> Document:
    try:
        loader, root = _composed(text)
        if root is None:
            raise ConfigurationError(f"{source} is empty; allowed: a mapping with file_format")
        filler = _Filler(source, loader, environ)
        filler.fill_in(root)
        data = loader.construct_document(root)
    except ConfigurationError:
        raise
    except Exception as error:  # PyYAML lets a KeyError and an AttributeError out too
        # Not `from error`: its text quotes the file.
        raise ConfigurationError(f"{source} cannot be parsed: {_fault(error)}; allowed: YAML or JSON") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{source} holds a {type(data).__name__}; allowed: a mapping")
    return Document(source, data, root, filler.variables)


def _composed(text: str) -> tuple[Any, yaml.Node | None]:
    """A loader, and the tree of ``text`` that it has made."""
    *quick, own = _LOADERS
    for kind in quick:
        with suppress(yaml.YAMLError):
            return _tree(kind(text))
    return _tree(own(text))


def _tree(loader: Any) -> tuple[Any, yaml.Node | None]:
    try:
        return loader, loader.get_single_node()
    finally:
        loader.dispose()


def _fault(error: Exception) -> str:
    """What is wrong and on which line, without what stands there."""
    if isinstance(error, RecursionError):
        return f"nested deeper than {_MAX_DEPTH} levels"
    if not isinstance(error, yaml.MarkedYAMLError):
        return reason(error)
    what = reason(Exception(", ".join(filter(None, (error.context, error.problem)))))
    mark = error.problem_mark or error.context_mark
    return f"{what} (line {mark.line + 1}, column {mark.column + 1})" if mark else what


class _Filler:
    """Fills in every value of a node tree once and notes where each came from."""

    def __init__(self, source: str, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self.variables: Variables = {}
        self._source = source
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
            self._name_keys(node, key)
            values += sum(self.fill_in(value, (*key, str(name.value))) for name, value in node.value)
        elif isinstance(node, yaml.ScalarNode) and node.tag == _STRING:
            self._fill_in_scalar(node, key)
        self._above.pop()
        if values > _MAX_VALUES:
            raise ValueError(f"its aliases unfold to more than {_MAX_VALUES} values")
        self._filled[id(node)] = (node, values)
        return values

    def _name_keys(self, node: yaml.MappingNode, key: Key) -> None:
        seen = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag == _MERGE:
                continue
            name.tag = _STRING  # `on` or `1` is text as a key
            if name.value in seen:
                place = f"{self._source}: {'.'.join(map(str, (*key, name.value)))}"
                line = name.start_mark.line + 1
                raise ConfigurationError(f"{place} is given twice (again on line {line}); allowed: each key once")
            seen.add(name.value)

    def _fill_in_scalar(self, node: yaml.ScalarNode, key: Key) -> None:
        template = node.value
        if "${" in _VARIABLE.sub("", template):
            path = ".".join(map(str, key))
            value = MASK if is_secret_name(path) else masked(template)
            raise ConfigurationError(
                f"{self._source}: {path} is {value!r}; allowed: ${{NAME}} or ${{NAME:-default}}, $$ for a dollar sign"
            )
        node.value = _VARIABLE.sub(lambda match: _value_of(match, self._environ), template)
        if names := [match[1] for match in _VARIABLE.finditer(template) if match[1]]:
            self.variables[id(node)] = tuple(names)
        if not node.style and _STANDALONE.fullmatch(template):
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

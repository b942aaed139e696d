"""Parses a configuration file, and remembers which variable gave which value.

The file is in OpenTelemetry's `declarative format <https://opentelemetry.io/docs/specs/otel/configuration/>`_.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from brain_otel.configuration.error import (
    ConfigurationError,
    configuration_error,
    is_secret_name,
    masked,
    reason,
)
from brain_otel.configuration.substitution import MAX_DEPTH, Key, Substitution, Variables
from brain_otel.configuration.values import BadValueError

_LOADERS: tuple[Any, ...] = (*filter(None, [getattr(yaml, "CSafeLoader", None)]), yaml.SafeLoader)
"""PyYAML's loader over libyaml if PyYAML was built with it, and its pure Python loader.

The first takes a tenth of the time. The second reads files that libyaml rejects, such as ``[tracecontext:]``.
"""

_MAX_BYTES = 1_000_000


class Document:
    """The parsed content of one file, and errors that name the place of a bad value."""

    def __init__(
        self, source: str, data: dict[str, Any], root: yaml.Node | None = None, variables: Variables | None = None
    ) -> None:
        self.source = source
        self.data = data
        self._root = root
        self._variables = variables or {}
        self._given: dict[Key, tuple[str, Key | None]] = {}

    def get(self, *key: str | int) -> Any:
        """The value at ``key``; None if any part of the path is missing."""
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
        """The value at ``key`` as ``reader`` reads it; ``default`` if there is none.

        Raises:
            ConfigurationError: the reader rejects the value.
        """
        value = self.get(*key)
        try:
            return default if value is None else reader(value)
        except BadValueError as error:
            raise self.error((*key, *error.path), error.value, error.allowed) from None

    def record_origin(self, key: Key, variable: str, *, moved_from: Key | None = None) -> None:
        """Remember that ``variable`` put the value at ``key`` there, maybe from another place of the file."""
        self._given[key] = (variable, moved_from)

    def set_by(self, key: Key) -> str:
        """The variable that put the value at ``key`` there; empty if the file did."""
        return self._given.get(key, ("", None))[0]

    def variable(self, key: Key) -> str | None:
        """The first variable in the value at ``key``, set or not; None if the file gives the value itself."""
        names = self.variables(key)
        return names[0] if names else None

    def variables(self, key: Key) -> tuple[str, ...]:
        """The variables in the value at ``key``, in order."""
        variable, in_file = self._origin(key)
        if in_file is None:
            return (variable,)
        node = self._root
        for part in in_file:
            node = _child(node, part)
        return self._variables.get(id(node), ())

    def error(self, key: Key, value: object, allowed: str) -> ConfigurationError:
        """The error to raise for ``value`` at ``key``: the place, the value and what is allowed."""
        secret = any(map(is_secret_name, (".".join(map(str, key)), *self.variables(key))))
        return configuration_error(self.place(key), value, allowed, secret=secret)

    def place(self, key: Key) -> str:
        """The place of ``key`` for messages: the variable that gave the value, the file and the path."""
        variable = self.variable(key)
        path = ".".join(str(part) for part in self._origin(key)[1] or key) or "the top level"
        return f"{variable} ({self.source}: {path})" if variable else f"{self.source}: {path}"

    def _origin(self, key: Key) -> tuple[str, Key | None]:
        """The variable that put the value at ``key`` there, and where the file has it; None if it has not."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._given:
                variable, moved_from = self._given[key[:length]]
                return variable, None if moved_from is None else (*moved_from, *key[length:])
        return "", key


def leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Each scalar, empty mapping and empty list in ``value``, which is at ``key``, in order."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*key, name))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*key, index))
    else:
        yield key, value


def read_document(path: Path, environ: Mapping[str, str], *, path_from: str = "") -> Document:
    """Read the file at ``path``, which the variable or argument ``path_from`` named, and fill its variables in.

    Raises:
        ConfigurationError: the file cannot be read, or is no YAML or JSON mapping.
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
        why = "Not a file"  # reading a pipe could block forever
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
        substitution = Substitution(source, loader, environ)
        substitution.fill_in(root)
        data = loader.construct_document(root)
    except ConfigurationError:
        raise
    except Exception as error:  # PyYAML also raises KeyError and AttributeError
        # Not `from error`, whose text quotes the file.
        raise ConfigurationError(f"{source} cannot be parsed: {_fault(error)}; allowed: YAML or JSON") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{source} holds a {type(data).__name__}; allowed: a mapping")
    return Document(source, data, root, substitution.variables)


def _composed(text: str) -> tuple[Any, yaml.Node | None]:
    """A loader, and the node tree that it makes of ``text``."""
    *fast, pure = _LOADERS
    for kind in fast:
        with suppress(yaml.YAMLError):
            return _tree(kind(text))
    return _tree(pure(text))


def _tree(loader: Any) -> tuple[Any, yaml.Node | None]:
    try:
        return loader, loader.get_single_node()
    finally:
        loader.dispose()


def _fault(error: Exception) -> str:
    """Describe the fault and its line, without the text of the line."""
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    if not isinstance(error, yaml.MarkedYAMLError):
        return reason(error)
    what = reason(Exception(", ".join(filter(None, (error.context, error.problem)))))
    mark = error.problem_mark or error.context_mark
    return f"{what} (line {mark.line + 1}, column {mark.column + 1})" if mark else what


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    """The node at ``part`` of ``node``. A merge puts two nodes of one key side by side: the later one counts."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    if isinstance(node, yaml.MappingNode):
        for name, value in reversed(node.value):
            if isinstance(name, yaml.ScalarNode) and name.value == part:
                found: yaml.Node = value
                return found
    return None

"""Parses a configuration file, and remembers which variable gave which value.

The file is in OpenTelemetry's `declarative format <https://opentelemetry.io/docs/specs/otel/configuration/>`_.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from brain_otel.configuration import known_files
from brain_otel.configuration.error import ConfigurationError, configuration_error, is_secret_name, masked
from brain_otel.configuration.values import BadValueError, Key, Variables

_MAX_BYTES = 1_000_000


class Document:
    """The parsed content of one file, and errors that name the place of a bad value."""

    def __init__(self, source: str, data: dict[str, Any], variables: Variables = lambda _: ()) -> None:
        self.source = source
        self.data = data
        self._variables = variables
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
        return (variable,) if in_file is None else self._variables(in_file)

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


def reject_endless(document: Document) -> None:
    """Reject NaN and infinity, which pass the schema's limits."""
    for key, value in leaves(document.data):
        if isinstance(value, float) and not math.isfinite(value):
            raise document.error(key, value, "a finite number")


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
    known = known_files.read(content, environ)
    if known is not None:
        return Document(source, *known)
    from brain_otel.configuration.yaml_nodes import parse  # its import takes as long as the rest of the settings

    return Document(source, *parse(source, text, environ))


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

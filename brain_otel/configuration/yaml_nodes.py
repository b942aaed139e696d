"""Parses a configuration file with PyYAML, and fills the variables of its nodes in."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from brain_otel.configuration.error import ConfigurationError, reason
from brain_otel.configuration.substitution import check_template, filled_in, is_reference, parts
from brain_otel.configuration.values import Key, Variables

_LOADERS: tuple[Any, ...] = (*filter(None, [getattr(yaml, "CSafeLoader", None)]), yaml.SafeLoader)
"""PyYAML's loader over libyaml if PyYAML was built with it, and its pure Python loader.

The first takes a tenth of the time. The second reads files that libyaml rejects, such as ``[tracecontext:]``.
"""

MAX_DEPTH = 64
"""Levels of nested values in a file."""

_MAX_VALUES = 100_000
_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


def parse(source: str, text: str, environ: Mapping[str, str]) -> tuple[dict[str, Any], Variables]:
    """The content of the file ``source``, and which variables it has where.

    Raises:
        ConfigurationError: it is no YAML or JSON mapping.
    """
    try:
        loader, root = _composed(text)
        if root is None:
            raise ConfigurationError(f"{source} is empty; allowed: a mapping with file_format")
        substitution = _Substitution(source, loader, environ)
        substitution.fill_in(root)
        data = loader.construct_document(root)
    except ConfigurationError:
        raise
    except Exception as error:  # PyYAML also raises KeyError and AttributeError
        # Not `from error`, whose text quotes the file.
        raise ConfigurationError(f"{source} cannot be parsed: {_fault(error)}; allowed: YAML or JSON") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{source} holds a {type(data).__name__}; allowed: a mapping")
    return data, lambda key: substitution.variables.get(id(_node_at(root, key)), ())


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


def _node_at(root: yaml.Node, key: Key) -> yaml.Node | None:
    node: yaml.Node | None = root
    for part in key:
        node = _child(node, part)
    return node


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


class _Substitution:
    """Fills the variables of a node tree in, each node once, and notes which variables a node has."""

    def __init__(self, source: str, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self.variables: dict[int, tuple[str, ...]] = {}
        """Identity of a scalar node -> the variables in it."""
        self._source = source
        self._loader = loader
        self._environ = environ
        self._filled: dict[int, tuple[yaml.Node, int]] = {}
        self._above: list[yaml.Node] = []

    def fill_in(self, node: yaml.Node, key: Key = ()) -> int:
        """Fill ``node`` in and count its values. An alias shares its anchor's node, which is filled in once."""
        if any(node is above for above in self._above):
            raise ValueError(f"the alias at {'.'.join(map(str, key))} contains itself")
        if len(key) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
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
            name.tag = _STRING  # the keys `on` and `1` are text too
            if name.value in seen:
                place = f"{self._source}: {'.'.join(map(str, (*key, name.value)))}"
                line = name.start_mark.line + 1
                raise ConfigurationError(f"{place} is given twice (again on line {line}); allowed: each key once")
            seen.add(name.value)

    def _fill_in_scalar(self, node: yaml.ScalarNode, key: Key) -> None:
        template = node.value
        check_template(self._source, template, key)
        node.value, names = filled_in(parts(template), self._environ)
        if names:
            self.variables[id(node)] = names
        if not node.style and is_reference(template):
            node.tag = self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]

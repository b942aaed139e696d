"""Replaces ``${VAR}`` and ``${VAR:-default}`` in a configuration file by the variables' values.

The rules are the specification's
`substitution rules <https://opentelemetry.io/docs/specs/otel/configuration/data-model/>`_, with one difference: a
variable that is set to the empty string counts as unset, as everywhere else in the specification. Upstream's loader
reads ``os.environ`` and forgets where a value came from; this one takes the variables as a mapping.
"""

import re
from collections.abc import Mapping

import yaml

from brain_otel.configuration.error import MASK, ConfigurationError, is_secret_name, masked

Key = tuple[str | int, ...]

Variables = dict[int, tuple[str, ...]]
"""Identity of a scalar node -> the variables in it."""

MAX_DEPTH = 64
"""Levels of nested values in a file."""

_MAX_VALUES = 100_000
_REFERENCE = r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}"
_VARIABLE = re.compile(rf"\$\$|{_REFERENCE}")
_STANDALONE = re.compile(_REFERENCE)
_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class Substitution:
    """Fills the variables of a node tree in, each node once, and notes which variables a node has."""

    def __init__(self, source: str, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self.variables: Variables = {}
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
        if "${" in _VARIABLE.sub("", template):
            path = ".".join(map(str, key))
            value = MASK if is_secret_name(path) else masked(template)
            raise ConfigurationError(
                f"{self._source}: {path} is {value!r}; allowed: ${{NAME}} or ${{NAME:-default}}, $$ for a dollar sign"
            )
        node.value = _VARIABLE.sub(
            lambda found: (self._environ.get(found[1]) or found[2] or "") if found[1] else "$", template
        )
        if names := [match[1] for match in _VARIABLE.finditer(template) if match[1]]:
            self.variables[id(node)] = tuple(names)
        if not node.style and _STANDALONE.fullmatch(template):
            node.tag = self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]

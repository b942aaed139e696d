"""Replaces ``${VAR}`` and ``${VAR:-default}`` in the texts of a configuration file by the variables' values.

The rules are the specification's
`substitution rules <https://opentelemetry.io/docs/specs/otel/configuration/data-model/>`_, with one difference: a
variable that is set to the empty string counts as unset, as everywhere else in the specification. Upstream's loader
reads ``os.environ`` and forgets where a value came from; this package takes the variables as a mapping.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from brain_otel.configuration.error import MASK, ConfigurationError, is_secret_name, masked
from brain_otel.configuration.values import Key
from brain_otel.runtime.lazy_regex import expression

_REFERENCE = r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*+)(?::-([^}]*+))?\}"
_VARIABLE = expression(rf"\$\$|{_REFERENCE}")


def parts(template: str) -> list[Any]:
    """The parts of ``template``: texts, and the name and default of each variable."""
    found: list[Any] = []
    end = 0
    for match in _VARIABLE.finditer(template):
        found += [template[end : match.start()], [match[1], match[2] or ""] if match[1] else "$"]
        end = match.end()
    return [each for each in (*found, template[end:]) if each]


def filled_in(parts: Sequence[Any], environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the text of ``parts`` with its variables filled in, and their names; ``environ`` has no empty values."""
    text = "".join(each if isinstance(each, str) else environ.get(each[0], each[1]) for each in parts)
    return text, tuple(each[0] for each in parts if not isinstance(each, str))


def is_reference(template: str) -> bool:
    """Whether ``template`` is one variable and nothing else: then its value has the type that it looks like."""
    found = _VARIABLE.fullmatch(template)
    return found is not None and found[1] is not None


def check_template(source: str, template: str, key: Key) -> None:
    """Reject a text in which ``${`` begins no valid reference.

    Raises:
        ConfigurationError: the file ``source`` has it at ``key``.
    """
    if "${" in _VARIABLE.sub("", template):
        path = ".".join(map(str, key))
        value = MASK if is_secret_name(path) else masked(template)
        raise ConfigurationError(
            f"{source}: {path} is {value!r}; allowed: ${{NAME}} or ${{NAME:-default}}, $$ for a dollar sign"
        )

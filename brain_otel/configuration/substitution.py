"""Replaces ``${VAR}`` and ``${VAR:-default}`` in a configuration file by the variables' values.

The rules are the specification's
`substitution rules <https://opentelemetry.io/docs/specs/otel/configuration/data-model/>`_, with one difference: a
variable that is set to the empty string counts as unset, as everywhere else in the specification. Upstream's loader
reads ``os.environ`` and forgets where a value came from; this one takes the variables as a mapping.
"""

import re
from collections.abc import Callable, Mapping

from brain_otel.configuration.error import MASK, ConfigurationError, is_secret_name, masked

Key = tuple[str | int, ...]

Variables = Callable[[Key], tuple[str, ...]]
"""Returns the variables in the value at a place of the file."""

_REFERENCE = r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}"
_VARIABLE = re.compile(rf"\$\$|{_REFERENCE}")


def filled_in(template: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """``template`` with the values of its variables, and their names."""
    text = _VARIABLE.sub(lambda found: (environ.get(found[1]) or found[2] or "") if found[1] else "$", template)
    return text, tuple(match[1] for match in _VARIABLE.finditer(template) if match[1])


def is_reference(template: str) -> bool:
    """Whether ``template`` is one variable and nothing else: then its value has the type that it looks like."""
    found = _VARIABLE.fullmatch(template)
    return found is not None and found[1] is not None


def check_template(source: str, template: str, key: Key) -> None:
    """Reject a reference that is none.

    Raises:
        ConfigurationError: the file ``source`` has it at ``key``.
    """
    if "${" in _VARIABLE.sub("", template):
        path = ".".join(map(str, key))
        value = MASK if is_secret_name(path) else masked(template)
        raise ConfigurationError(
            f"{source}: {path} is {value!r}; allowed: ${{NAME}} or ${{NAME:-default}}, $$ for a dollar sign"
        )

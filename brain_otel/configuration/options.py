"""A destination in the file, with its options: read one by one, refused with the place and the value.

A destination asks for each option by name and type and ends with :meth:`Options.reject_others`, so that a misspelt
one is an error and not without effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from brain_otel.configuration.error import MASK, ConfigurationError, configuration_error, is_secret_name, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Signal = Literal["traces", "logs", "metrics"]
    Choice = TypeVar("Choice", bound=str)
    Refuse = Callable[[tuple[str, ...], object, str], ConfigurationError]

BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
"""The words for a boolean, as variables give them."""


class Options:
    """A destination's name, its options and their place in the file.

    Args:
        values: What the file gives; a value that is None or empty text counts as not given.
        name: The destination's.
        place: Where in the file, for messages.
        index: The how-manyth it is of its signal in the file.
        chosen_by: The variable that named it, such as ``OTEL_TRACES_EXPORTER``; empty if the file did.
        signal: For which of OpenTelemetry's signals the destination is asked.
        refuse: Makes the error for a key path below the options, a value and what is allowed.
    """

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        name: str = "destination",
        place: str = "options",
        signal: Signal = "traces",
        index: int = 0,
        chosen_by: str = "",
        refuse: Refuse | None = None,
    ) -> None:
        self.values = dict(values or {})
        self.name = name
        self.place = place
        self.signal = signal
        self.index = index
        self.chosen_by = chosen_by
        self._refuse = refuse or self._refused
        self._asked: list[str] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.name, self.place, self.signal, self.index))

    def __repr__(self) -> str:
        return f"Options(name={self.name!r}, signal={self.signal!r}, place={self.place!r})"

    def has(self, name: str) -> bool:
        """Whether the file names this option, be it with an empty value."""
        return name in self.values

    def raw(self, name: str) -> Any:
        """The value as it is, None where there is none."""
        self._asked.append(name)
        value = self.values.get(name)
        return None if value == "" else value

    def text(self, name: str, default: str = "") -> str:
        """Text."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, (dict, list)):
            raise self.error(name, "text")
        return str(value)

    def choice(self, name: str, allowed: Sequence[Choice], default: Choice) -> Choice:
        """One of a few words."""
        value = self.raw(name)
        if value is None:
            return default
        for word in allowed:
            if value == word:
                return word
        raise self.error(name, ", ".join(allowed))

    def boolean(self, name: str, default: bool) -> bool:
        """A boolean, or one of the words for it."""
        value = self.raw(name)
        if value is None:
            return default
        word = str(value).strip().lower()
        if word not in BOOLEANS:
            raise self.error(name, ", ".join(BOOLEANS))
        return BOOLEANS[word]

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        value = self.raw(name)
        if value is None:
            return default
        number = _number(value)
        if number is None or not low <= number <= high:
            raise self.error(name, f"a number from {_plain(low)} to {_plain(high)}")
        return number

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.raw(name)
        if value is None:
            return default
        number = _number(value)
        if number is None or number != int(number) or not low <= number <= high:
            raise self.error(name, f"a whole number from {low} to {high}")
        return int(number)

    def error(self, name: str, allowed: str) -> ConfigurationError:
        """The error to raise for the value of ``name``."""
        return self._refuse((name,), self.values.get(name), allowed)

    def failure(self, error: Exception, allowed: str) -> ConfigurationError:
        """The error to raise where the destination cannot be made of its options."""
        return ConfigurationError(f"{self.place} cannot be made ({reason(error)}); allowed: {allowed}")

    def reject_others(self) -> None:
        """Refuse what was not asked for.

        Raises:
            ConfigurationError: there is an unknown key.
        """
        for name, value in self.values.items():
            if name not in self._asked:
                allowed = "the keys " + ", ".join(dict.fromkeys(self._asked)) if self._asked else "no keys"
                raise self._refuse((str(name),), value, allowed)

    def _identity(self) -> tuple[object, ...]:
        return self.name, self.place, self.signal, self.index, self.values

    def _refused(self, key: tuple[str, ...], value: object, allowed: str) -> ConfigurationError:
        hidden = any(map(is_secret_name, key)) and value not in (None, "")
        place = ".".join((self.place, *key))
        return (
            ConfigurationError(f"{place} is {MASK}; allowed: {allowed}")
            if hidden
            else configuration_error(place, value, allowed)
        )


def _number(value: object) -> float | None:
    """``value`` as a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) != float("inf") and number == number else None


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)

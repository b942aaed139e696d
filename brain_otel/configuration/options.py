"""A destination in the file, with its options: read one by one, refused with the place and the value.

A destination asks for each option by name and type and ends with :meth:`Options.reject_others`, so that a misspelt
one is an error and not without effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from brain_otel.configuration import values as readers
from brain_otel.configuration.error import MASK, ConfigurationError, configuration_error, is_secret_name, reason
from brain_otel.configuration.values import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from brain_otel.configuration.values import Reader

    Signal = Literal["traces", "logs", "metrics"]
    Choice = TypeVar("Choice", bound=str)
    Refuse = Callable[[tuple[str, ...], object, str], ConfigurationError]


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
        value = self._read(name, default, lambda value: value)
        if isinstance(value, (dict, list)):
            raise self.error(name, "text")
        return str(value)

    def choice(self, name: str, allowed: Sequence[Choice], default: Choice) -> Choice:
        """One of a few words."""
        word: Choice = self._read(name, default, readers.choice(allowed))
        return word

    def boolean(self, name: str, default: bool) -> bool:
        """A boolean, or one of the words for it."""
        return bool(self._read(name, default, readers.boolean))

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        return float(self._read(name, default, readers.number(low, high)))

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        return int(self._read(name, default, readers.number(low, high, whole=True)))

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

    def _read(self, name: str, default: Any, reader: Reader) -> Any:
        value = self.raw(name)
        try:
            return default if value is None else reader(value)
        except BadValueError as error:
            raise self._refuse((name,), value, error.allowed) from None

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

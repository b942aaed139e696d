"""The options of one destination in the file.

A destination reads each option by name and type, then calls :meth:`Options.reject_others`, so that a misspelt option
is an error.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from brain_otel.configuration import values as readers
from brain_otel.configuration.error import ConfigurationError, configuration_error, is_secret_name, reason
from brain_otel.configuration.values import BadValueError, Reader

Signal = Literal["traces", "logs", "metrics"]
Choice = TypeVar("Choice", bound=str)
MakeError = Callable[[tuple[str, ...], object, str], ConfigurationError]


class Options:
    """A destination's name, its options and their place in the file.

    Args:
        values: The options in the file; None and empty text count as not given.
        name: The destination's name.
        place: Where the destination is in the file, for messages.
        signal: The signal that the destination is to take.
        index: Zero-based position among this signal's components.
        chosen_by: The variable that named the destination, such as ``OTEL_TRACES_EXPORTER``; empty if the file did.
        make_error: Makes the error for a key path below the options, a value and what is allowed.
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
        make_error: MakeError | None = None,
    ) -> None:
        self.values = dict(values or {})
        self.name = name
        self.place = place
        self.signal = signal
        self.index = index
        self.chosen_by = chosen_by
        self._make_error = make_error or self._error_below_place
        self._known: list[str] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.name, self.place, self.signal, self.index))

    def __repr__(self) -> str:
        return f"Options(name={self.name!r}, signal={self.signal!r}, place={self.place!r})"

    def has(self, name: str) -> bool:
        """Whether the file has this option, even without a value."""
        return name in self.values

    def raw(self, name: str) -> Any:
        """The option as the file has it; None if it is not given."""
        self._known.append(name)
        value = self.values.get(name)
        return None if value == "" else value

    def text(self, name: str, default: str = "") -> str:
        """Text, or a number or boolean as text."""
        value = self.raw(name)
        if isinstance(value, (dict, list)):
            raise self.error(name, "text")
        return default if value is None else str(value)

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
        return self._make_error((name,), self.values.get(name), allowed)

    def failure(self, error: Exception, allowed: str) -> ConfigurationError:
        """The error to raise if the destination cannot be created with its options."""
        return ConfigurationError(f"{self.place} cannot be created ({reason(error)}); allowed: {allowed}")

    def reject_others(self) -> None:
        """Reject options that the destination has not read.

        Raises:
            ConfigurationError: there is one.
        """
        for name, value in self.values.items():
            if name not in self._known:
                allowed = "the keys " + ", ".join(dict.fromkeys(self._known)) if self._known else "no keys"
                raise self._make_error((str(name),), value, allowed)

    def _read(self, name: str, default: Any, reader: Reader) -> Any:
        value = self.raw(name)
        try:
            return default if value is None else reader(value)
        except BadValueError as error:
            raise self.error(name, error.allowed) from None

    def _identity(self) -> tuple[object, ...]:
        return self.name, self.place, self.signal, self.index, self.values

    def _error_below_place(self, key: tuple[str, ...], value: object, allowed: str) -> ConfigurationError:
        return configuration_error(".".join((self.place, *key)), value, allowed, secret=any(map(is_secret_name, key)))

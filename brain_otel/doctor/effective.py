"""The effective configuration: every value of the file, what it is in the end, and what gave it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.destination_registry import load_module
from brain_otel.configuration.destinations import PROCESSORS, READERS
from brain_otel.configuration.error import MASK, ConfigurationError
from brain_otel.configuration.loading import read_all
from brain_otel.doctor.masking import Mask, masked_text, masked_value

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from brain_otel.configuration.document import Document, Key
    from brain_otel.configuration.file_choice import Choice
    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One value of the file."""

    key: Key
    value: str
    """As it may be shown."""
    masked: bool
    origin: str
    """The variables that gave it, ``default in file (VAR)``, ``not set (VAR)`` or ``file``."""
    variables: tuple[str, ...]
    """Those the file reads it from, set or not."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A destination and where it sends."""

    options: Options
    address: str
    """In words, ``off:`` and the reason, or why it cannot be told."""
    refused: str = ""
    """The error in its options."""

    @property
    def is_off(self) -> bool:
        """Whether nothing is sent there."""
        return self.address.startswith("off:")


@dataclass(frozen=True, kw_only=True)
class Effective:
    """What a ``setup()`` in this environment would work with."""

    choice: Choice
    environment_from: str
    """The option, variable or default that gave the environment."""
    path_from: str
    """The option, variable or place that gave the file."""
    settings: Settings
    leaves: tuple[Leaf, ...]
    targets: tuple[Target, ...]
    mask: Mask


def read_effective(
    environ: Mapping[str, str],
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> Effective:
    """Read it as ``setup()`` would.

    Raises:
        ConfigurationError: something is wrong with it.
    """
    choice, document, settings = read_all(environ, environment=environment, config_file=config_file)
    variables = {name: value for name, value in environ.items() if value}
    data = _with_options(document.data, settings.destinations)
    mask = Mask(variables, data)
    return Effective(
        choice=choice,
        environment_from="--environment" if environment else choice.environment_from,
        path_from="--config-file" if config_file else choice.path_from,
        settings=settings,
        leaves=tuple(_leaf(document, variables, *each) for each in _walk(data, ())),
        targets=tuple(_target(each, settings, mask) for each in settings.destinations),
        mask=mask,
    )


def _origin(document: Document, key: Key, value: Any, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """What gave ``value`` in words, and the variables it may come from."""
    names = tuple(dict.fromkeys(document.variables(key)))
    given = [name for name in names if name in environ]
    if given:
        return ", ".join(given), names
    if not names:
        return "file", ()
    return (
        f"not set ({', '.join(names)})" if value in (None, "") else f"default in file ({', '.join(names)})"
    ), names


def _with_options(data: Any, destinations: Sequence[Options]) -> Any:
    """The file's content with what the options of each destination are in the end."""
    data = copy.deepcopy(data)
    for options in destinations:
        place = _place(options)
        parent = data
        for part in place[:-1]:
            parent = parent[part]
        if options.values:
            parent[place[-1]] = dict(options.values)
    return data


def _place(options: Options) -> Key:
    if options.signal == "metrics":
        return (*READERS, options.index, "periodic", "exporter", options.name)
    return (*PROCESSORS[options.signal], options.index, options.name)


def _walk(value: Any, key: Key, sibling: Any = None) -> Iterator[tuple[Key, Any, Any]]:
    """Every leaf in order, with the ``name`` that stands beside it."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _walk(item, (*key, name), value.get("name") if name == "value" else None)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _walk(item, (*key, index))
    else:
        yield key, value, sibling


def _leaf(document: Document, environ: Mapping[str, str], key: Key, value: Any, sibling: Any) -> Leaf:
    origin, variables = _origin(document, key, value, environ)
    shown = masked_value(key, value, variables, sibling)
    return Leaf(key=key, value=shown, masked=shown == MASK, origin=origin, variables=variables)


def _target(options: Options, settings: Settings, mask: Mask) -> Target:
    try:
        describe = getattr(load_module(options), "describe", None)
        address = mask(str(describe(options, settings))) if describe is not None else "no address"
    except ConfigurationError as error:
        return Target(options=options, address="refused", refused=mask(str(error)))
    except Exception as error:  # of a module of another package
        return Target(options=options, address=f"unknown ({type(error).__name__}: {masked_text(str(error))})")
    return Target(options=options, address=address)

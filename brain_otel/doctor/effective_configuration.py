"""The effective configuration: every value of the file with the variable or default that gave it."""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brain_otel.configuration.destination_registry import load_module
from brain_otel.configuration.destinations import PROCESSORS, READERS
from brain_otel.configuration.document import Document, leaves
from brain_otel.configuration.error import MASK, ConfigurationError
from brain_otel.configuration.file_choice import Choice
from brain_otel.configuration.identity import (
    FALLBACK_RELEASE,
    Known,
    find_release,
    find_service,
    find_version,
    is_default,
    origin_of,
)
from brain_otel.configuration.loading import read_all
from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.configuration.values import Key
from brain_otel.doctor.masking import Mask, masked_text, masked_value

FAST_PATHS_NOTICE = "The fast paths are off (fast_paths: false): each request costs more CPU time"

RELEASE_NOTICE = (
    f"No release is known: Sentry shows the default {FALLBACK_RELEASE} for each, and OTLP has no service.version"
)
SERVICE_NOTICE = "No service name is known: at every destination the service is an unknown_service"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One value of the file."""

    key: Key
    value: str
    """The value as printed: masked if it is secret."""
    masked: bool
    origin: str
    """The variables that gave it, ``default in file (VAR)``, ``not set (VAR)`` or ``file``."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A destination and its address."""

    options: Options
    address: str
    """Where it sends, in words; or ``off:`` and the reason; or why the address is unknown."""
    error: str = ""
    """The error in its options."""

    @property
    def is_off(self) -> bool:
        """Whether it sends nothing."""
        return self.address.startswith("off:")


@dataclass(frozen=True, kw_only=True)
class EffectiveConfiguration:
    """What ``setup()`` would use in this environment and directory."""

    choice: Choice
    environment_from: str
    """The option, variable or default that gave the environment."""
    path_from: str
    """The option, variable or place that gave the file."""
    settings: Settings
    leaves: tuple[Leaf, ...]
    targets: tuple[Target, ...]
    mask: Mask
    service: Known
    version: Known | None
    """The resource's ``service.version``; None: it has none."""
    release: Known
    """What Sentry shows as the release."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know: log lines of ``setup()``, then what else is odd."""
        others = {
            FAST_PATHS_NOTICE: not self.settings.fast_paths,
            RELEASE_NOTICE: is_default(self.release),
            SERVICE_NOTICE: self.service.value.startswith("unknown_service"),
        }
        return (*self.settings.notices, *(notice for notice, holds in others.items() if holds))


def read_effective_configuration(
    environ: Mapping[str, str], *, environment: str | None = None, config_file: str | os.PathLike[str] | None = None
) -> EffectiveConfiguration:
    """Read the configuration as ``setup()`` would.

    Raises:
        ConfigurationError: a variable or the file is wrong.
    """
    choice, document, settings = read_all(environ, environment=environment, config_file=config_file)
    variables = {name: value for name, value in environ.items() if value}
    data = _with_options(document.data, settings.destinations)
    mask = Mask(variables, data)
    version = find_version(settings.identity)
    return EffectiveConfiguration(
        choice=choice,
        environment_from="--environment" if environment else choice.environment_from,
        path_from="--config-file" if config_file else choice.path_from,
        settings=settings,
        leaves=tuple(_leaf(document, variables, *each) for each in leaves(data)),
        targets=tuple(_target(each, settings, mask) for each in settings.destinations),
        mask=mask,
        service=_masked(find_service(settings.identity), mask),
        version=_masked(version, mask) if version is not None else None,
        release=_masked(find_release(settings.identity), mask),
    )


def _masked(known: Known, mask: Mask) -> Known:
    return known._replace(value=mask(known.value))


def _with_options(data: Any, destinations: Sequence[Options]) -> Any:
    """A copy of the file's content with the effective options of each destination."""
    data = copy.deepcopy(data)
    for options in destinations:
        provider, components = READERS if options.signal == "metrics" else PROCESSORS[options.signal]
        component = data[provider][components][options.index]
        if options.values:
            parent = component["periodic"]["exporter"] if options.signal == "metrics" else component
            parent[options.name] = dict(options.values)
    return data


def _leaf(document: Document, environ: Mapping[str, str], key: Key, value: Any) -> Leaf:
    variables = tuple(dict.fromkeys(document.variables(key)))
    attribute = document.get(*key[:-1], "name") if key[-1] == "value" else None
    shown = masked_value(key, value, variables, attribute)
    return Leaf(key=key, value=shown, masked=shown == MASK, origin=origin_of(variables, value, environ))


def _target(options: Options, settings: Settings, mask: Mask) -> Target:
    try:
        describe = getattr(load_module(options), "describe", None)
        address = mask(str(describe(options, settings))) if describe is not None else "no address"
    except ConfigurationError as error:
        return Target(options=options, address="error", error=mask(str(error)))
    except Exception as error:  # another package's module may raise anything
        return Target(options=options, address=f"unknown ({type(error).__name__}: {masked_text(str(error))})")
    return Target(options=options, address=address)

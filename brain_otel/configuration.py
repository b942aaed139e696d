"""Reads the environment and the configuration file; the only module that does. Makes :class:`Settings`."""

from __future__ import annotations

import copy
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from brain_otel.document import Document, read_document
from brain_otel.settings import (
    ConfigurationError,
    DestinationSettings,
    InstrumentationSettings,
    Secret,
    SentrySettings,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_DESTINATIONS = ("console", "memory", "sentry")
"""The names under ``tracer_provider.processors`` that are ours and not OpenTelemetry's."""

DEFAULT_ENVIRONMENT = "development"
FALLBACK_ENVIRONMENT = "production"
"""Whose file an environment without a file of its own uses: the careful one."""

_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_OURS = ("distribution", "brain_otel")
_TRACES_RATE = ("tracer_provider", "sampler", "parent_based", "root", "trace_id_ratio_based", "ratio")


def read_settings(
    environ: Mapping[str, str] | None = None,
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Read what ``setup()`` needs from ``environ`` (default: the process's) and a file.

    Args:
        environ: The variables to read; one that is set to the empty string counts as unset.
        environment: The environment's name, else ``SENTRY_ENVIRONMENT``, ``ENVIRONMENT``, ``development``.
        config_file: The file, else ``OTEL_CONFIG_FILE``, else ``<environment>.yaml`` in
            ``BRAIN_OTEL_CONFIG_DIR``, else the packaged one.

    Raises:
        ConfigurationError: something is wrong; the message names the place, the value and what is allowed.
    """
    variables = {key: value for key, value in (os.environ if environ is None else environ).items() if value}
    name = environment or variables.get("SENTRY_ENVIRONMENT") or variables.get("ENVIRONMENT") or DEFAULT_ENVIRONMENT
    path, notices = find_file(name, variables, config_file)
    document = read_document(path, variables)
    return _settings(name, document, notices)


def find_file(
    environment: str, environ: Mapping[str, str], config_file: str | os.PathLike[str] | None = None
) -> tuple[Path, tuple[str, ...]]:
    """The file for ``environment``, and what to tell the user about the choice."""
    if Path(environment).name != environment or environment.startswith("."):
        raise ConfigurationError(f"SENTRY_ENVIRONMENT is {environment!r}; allowed: a plain name such as staging")
    if explicit := config_file or environ.get("OTEL_CONFIG_FILE"):
        return Path(explicit), ()
    folders = [Path(folder) for folder in [environ.get("BRAIN_OTEL_CONFIG_DIR")] if folder]
    folders.append(packaged_files())
    for folder in folders:
        if (folder / f"{environment}.yaml").is_file():
            return folder / f"{environment}.yaml", ()
    for folder in folders:
        fallback = folder / f"{FALLBACK_ENVIRONMENT}.yaml"
        if fallback.is_file():
            return fallback, (f"There is no file for the environment {environment!r}; using {fallback}",)
    raise ConfigurationError(f"{folders[-1]} holds no {FALLBACK_ENVIRONMENT}.yaml; allowed: an intact package")


def packaged_files() -> Path:
    """The folder of the environment files that come with the package.

    The wheel carries them in ``brain_otel/environments``. In a checkout they are in ``config/`` beside it,
    which is told from an application's own folder of that name by the project file next to it.
    """
    package = Path(__file__).parent
    packaged = package / "environments"
    if not packaged.is_dir() and (package.parent / "pyproject.toml").is_file():
        return package.parent / "config"
    return packaged


def _settings(environment: str, document: Document, notices: tuple[str, ...]) -> Settings:
    ours = document.get(*_OURS) or {}
    _refuse_unknown(document, _OURS, ours, ("sentry", "instrumentation"))
    destinations = _destinations(document)
    sentry = _sentry(environment, document)
    if not any(destination.name == "sentry" for destination in destinations):
        sentry = None
    if sentry is None:
        destinations = tuple(each for each in destinations if each.name != "sentry")
    return Settings(
        environment=environment,
        source=document.source,
        document=_upstream_part(document, environment, with_sentry=sentry is not None),
        destinations=destinations,
        sentry=sentry,
        instrumentation=_instrumentation(document),
        disabled=bool(document.get("disabled")),
        notices=notices,
    )


def _destinations(document: Document) -> tuple[DestinationSettings, ...]:
    found = []
    for index, processor in enumerate(document.get("tracer_provider", "processors") or ()):
        (name, options), *_ = processor.items()
        if name in OWN_DESTINATIONS:
            found.append(DestinationSettings(name=name, options=options or {}))
        elif name not in ("batch", "simple"):
            allowed = ", ".join((*OWN_DESTINATIONS, "batch", "simple"))
            raise document.error(("tracer_provider", "processors", index), name, allowed)
    return tuple(found)


def _sentry(environment: str, document: Document) -> SentrySettings | None:
    place = (*_OURS, "sentry")
    known = ("dsn", "release", "profiles_sample_rate", "send_default_pii", "debug")
    _refuse_unknown(document, place, document.get(*place) or {}, known)
    # All of it is read before the DSN is looked at: a bad value shows on a machine without one too.
    rates = _rate(document, _TRACES_RATE), _rate(document, (*place, "profiles_sample_rate"))
    send_default_pii = _boolean(document, (*place, "send_default_pii"), SentrySettings)
    debug = _boolean(document, (*place, "debug"), SentrySettings)
    dsn = document.get(*place, "dsn")
    if not dsn:
        return None
    if not is_dsn(str(dsn)):
        raise document.error((*place, "dsn"), dsn, "a DSN such as https://<key>@<host>/<project>")
    release = document.get(*place, "release")
    return SentrySettings(
        dsn=Secret(str(dsn)),
        environment=environment,
        release=str(release) if release else None,
        service_version=_resource_attribute(document, "service.version"),
        traces_sample_rate=rates[0],
        profiles_sample_rate=rates[1],
        send_default_pii=send_default_pii,
        debug=debug,
    )


def is_dsn(value: str) -> bool:
    """Whether ``value`` has the form of a `Sentry DSN <https://docs.sentry.io/concepts/key-terms/dsn-explainer/>`_."""
    try:
        parts = urlsplit(value)
        project = parts.path.rsplit("/", 1)[-1]
        return bool(
            parts.scheme in ("http", "https") and parts.username and parts.hostname and project.isdigit()
        ) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _instrumentation(document: Document) -> InstrumentationSettings:
    place = (*_OURS, "instrumentation")
    given = document.get(*place) or {}
    known = tuple(each.name for each in fields(InstrumentationSettings))
    _refuse_unknown(document, place, given, known)
    values: dict[str, Any] = {}
    for name in given:
        if name == "fastapi":
            choice = "off" if given[name] is False else given[name]
            if choice not in ("contrib", "native", "off"):
                raise document.error((*place, name), given[name], "contrib, native, off")
            values[name] = choice
        else:
            values[name] = _boolean(document, (*place, name), InstrumentationSettings)
    return InstrumentationSettings(**values)


def _upstream_part(document: Document, environment: str, *, with_sentry: bool) -> dict[str, Any]:
    """What ``configure_sdk`` is to see: without our block, our destinations and empty attributes."""
    data = copy.deepcopy(document.data)
    data.pop("distribution", None)
    provider = data.get("tracer_provider") or {}
    provider["processors"] = [
        each for each in provider.get("processors") or () if next(iter(each)) not in OWN_DESTINATIONS
    ]
    data["tracer_provider"] = provider
    resource = data.get("resource") or {}
    attributes = [each for each in resource.get("attributes") or () if each.get("value") not in (None, "")]
    if not any(each["name"] == "deployment.environment.name" for each in attributes):
        attributes.append({"name": "deployment.environment.name", "value": environment})
    data["resource"] = {**resource, "attributes": attributes}
    propagator = data.get("propagator") or {}
    if propagator.get("composite"):
        propagator["composite"] = _ordered(propagator["composite"], with_sentry=with_sentry)
    return data


def _ordered(composite: list[dict[str, Any]], *, with_sentry: bool) -> list[dict[str, Any]]:
    """The propagators with Sentry's last: it completes what the others read and wrote."""
    sentry = [each for each in composite if "sentry" in each]
    others = [each for each in composite if "sentry" not in each]
    return others + (sentry if with_sentry else [])


def _resource_attribute(document: Document, name: str) -> str | None:
    found = None
    for pair in str(document.get("resource", "attributes_list") or "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == name and value.strip():
            found = value.strip()
    for attribute in document.get("resource", "attributes") or ():
        if attribute.get("name") == name and attribute.get("value"):
            found = str(attribute["value"])
    return found


def _refuse_unknown(document: Document, place: tuple[str, ...], given: Any, known: tuple[str, ...]) -> None:
    if not isinstance(given, dict):
        raise document.error(place, given, "a mapping with " + ", ".join(known))
    for key in given:
        if key not in known:
            raise document.error((*place, str(key)), given[key], "the keys " + ", ".join(known))


def _rate(document: Document, place: tuple[str, ...]) -> float:
    value = document.get(*place)
    if value is None:
        name = "traces_sample_rate" if place == _TRACES_RATE else place[-1]
        return float(_default(SentrySettings, name, None))
    try:
        rate = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise document.error(place, value, "a number from 0 to 1")
    return rate


def _boolean(document: Document, place: tuple[str, ...], settings: type) -> bool:
    value = document.get(*place)
    if value is None:
        return bool(_default(settings, place[-1], None))
    word = str(value).strip().lower()
    if word not in _BOOLEANS:
        raise document.error(place, value, ", ".join(_BOOLEANS))
    return _BOOLEANS[word]


def _default(settings: type, name: str, value: Any) -> Any:
    """``value``, or where it is None the default that ``settings`` has for ``name``."""
    if value is not None:
        return value
    return next(each.default for each in fields(settings) if each.name == name)

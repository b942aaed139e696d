"""Reads the environment and the configuration file; the only module that does. Makes :class:`Settings`."""

from __future__ import annotations

import copy
import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from brain_otel.document import Document, read_document
from brain_otel.file_destinations import METRIC_EXPORTER, read_destinations, replace_destinations
from brain_otel.options import BOOLEANS
from brain_otel.refusal import holds_credentials, refusal
from brain_otel.schema import MAJOR, MINOR, is_newer, refuse_endless
from brain_otel.settings import (
    ConfigurationError,
    InstrumentationSettings,
    Secret,
    SentrySettings,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.options import Options

DEFAULT_ENVIRONMENT = "development"
FALLBACK_ENVIRONMENT = "production"
"""Whose file an environment without a file of its own uses: the careful one."""

DEFAULT_SPOTLIGHT = "http://localhost:8969/stream"
"""Where Spotlight listens, as sentry-sdk has it."""

_ENVIRONMENT = re.compile(r"(?!\.)[^\s/\\]{1,64}")
"""What Sentry takes for an environment, and a file's name can be made of."""

_OURS = ("distribution", "brain_otel")
_TRACES_RATE = ("tracer_provider", "sampler", "parent_based", "root", "trace_id_ratio_based", "ratio")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which file is read for which environment, and why."""

    environment: str
    environment_from: str
    """The variable or argument that gave the environment."""
    path: Path
    path_from: str
    """The variable or argument that gave the file."""
    packaged: bool
    """Whether the file is one of this package's, whose destinations ``OTEL_*_EXPORTER`` may replace."""
    notices: tuple[str, ...] = ()


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
    return read_all(environ, environment=environment, config_file=config_file)[2]


def read_all(
    environ: Mapping[str, str] | None = None,
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> tuple[Choice, Document, Settings]:
    """As :func:`read_settings`, and how it came about: which file was chosen, and what stands in it.

    Raises:
        ConfigurationError: something is wrong.
    """
    variables = {key: value for key, value in (os.environ if environ is None else environ).items() if value}
    choice = choose_file(variables, environment=environment, config_file=config_file)
    document = read_document(choice.path, variables, path_from=choice.path_from)
    notices = [*choice.notices, *replace_destinations(document, variables, packaged=choice.packaged)]
    if is_newer(document):
        notices.append(f"{document.source}: file_format is newer than {MAJOR}.{MINOR}; some of it may be ignored")
    destinations = read_destinations(document, variables)
    settings = _settings(choice.environment, document, destinations, tuple(notices))
    if _lacks_dsn(document, destinations, variables):
        place = ".".join((*_OURS, "sentry", "dsn"))
        notice = f"SENTRY_DSN is ignored: {document.source} does not read it (as {place}: ${{SENTRY_DSN}})"
        settings = replace(settings, notices=(*settings.notices, notice))
    if "disabled" not in document.data and variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        settings = replace(settings, disabled=True)  # OpenTelemetry's SDK obeys it whatever the file says
    return choice, document, settings


def choose_file(
    environ: Mapping[str, str],
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> Choice:
    """The environment and its file.

    Raises:
        ConfigurationError: the environment is no plain name.
    """
    name, origin = environment or "", "setup(environment=...)"
    for variable in ("SENTRY_ENVIRONMENT", "ENVIRONMENT"):
        if not name and environ.get(variable):
            name, origin = environ[variable], variable
    if not name:
        name, origin = DEFAULT_ENVIRONMENT, "the default"
    if not _ENVIRONMENT.fullmatch(name) or not name.isprintable() or name == "None":
        raise refusal(origin, name, "a plain name such as staging: up to 64 characters, no spaces, no slashes")
    if config_file or environ.get("OTEL_CONFIG_FILE"):
        return Choice(
            environment=name,
            environment_from=origin,
            path=Path(config_file or environ["OTEL_CONFIG_FILE"]),
            path_from="setup(config_file=...)" if config_file else "OTEL_CONFIG_FILE",
            packaged=False,
        )
    path, path_from, notices = _file_of(name, environ)
    return Choice(
        environment=name,
        environment_from=origin,
        path=path,
        path_from=path_from,
        packaged=path.parent == packaged_files(),
        notices=notices,
    )


def _file_of(environment: str, environ: Mapping[str, str]) -> tuple[Path, str, tuple[str, ...]]:
    folders = [(packaged_files(), "this package")]
    if own := environ.get("BRAIN_OTEL_CONFIG_DIR"):
        if not os.path.isdir(own) or not os.access(own, os.R_OK | os.X_OK):  # noqa: PTH112 - it never raises
            raise refusal("BRAIN_OTEL_CONFIG_DIR", own, "a folder that can be read")
        folders.insert(0, (Path(own), "BRAIN_OTEL_CONFIG_DIR"))
    for folder, origin in folders:
        if (folder / f"{environment}.yaml").is_file():
            return folder / f"{environment}.yaml", origin, ()
    for folder, origin in folders:
        fallback = folder / f"{FALLBACK_ENVIRONMENT}.yaml"
        if fallback.is_file():
            notice = f"There is no file for the environment {environment!r}; using {fallback}"
            return fallback, origin, (notice,)
    raise ConfigurationError(f"{folders[-1][0]} holds no {FALLBACK_ENVIRONMENT}.yaml; allowed: an intact package")


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


def _settings(
    environment: str, document: Document, destinations: tuple[Options, ...], notices: tuple[str, ...]
) -> Settings:
    ours = document.get(*_OURS) or {}
    _refuse_unknown(document, _OURS, ours, ("sentry", "instrumentation"))
    _refuse_unpaired(document)
    sentry = _sentry(environment, document)
    refuse_endless(document)
    if not any(destination.name in ("sentry", "sentry_otlp") for destination in destinations):
        sentry = None
    return Settings(
        environment=environment,
        source=document.source,
        document=_upstream_part(document, environment, destinations, with_sentry=sentry is not None),
        destinations=destinations,
        sentry=sentry,
        instrumentation=_instrumentation(document),
        disabled=bool(document.get("disabled")),
        send_default_pii=_boolean(document, (*_OURS, "sentry", "send_default_pii"), SentrySettings),
        notices=notices,
    )


def _lacks_dsn(document: Document, destinations: tuple[Options, ...], environ: Mapping[str, str]) -> bool:
    """Whether a file of the user's own has a destination that needs the DSN and does not read the one that is set."""
    named = "dsn" in (document.get(*_OURS, "sentry") or {})
    wanted = any(each.name in ("sentry", "sentry_otlp") for each in destinations)
    return wanted and not named and "SENTRY_DSN" in environ


def _sentry(environment: str, document: Document) -> SentrySettings | None:
    place = (*_OURS, "sentry")
    known = ("dsn", "release", "profiles_sample_rate", "send_default_pii", "debug", "spotlight")
    _refuse_unknown(document, place, document.get(*place) or {}, known)
    # All of it is read before the DSN is looked at: a bad value shows on a machine without one too.
    rates = _rate(document, _TRACES_RATE), _rate(document, (*place, "profiles_sample_rate"))
    send_default_pii = _boolean(document, (*place, "send_default_pii"), SentrySettings)
    debug = _boolean(document, (*place, "debug"), SentrySettings)
    spotlight = _spotlight(document, (*place, "spotlight"))
    dsn = document.get(*place, "dsn")
    if dsn and not is_dsn(str(dsn)):
        raise document.error((*place, "dsn"), dsn, "a DSN such as https://<key>@<host>/<project>")
    release = document.get(*place, "release")
    if isinstance(release, (dict, list)) or holds_credentials(str(release)):
        raise document.error((*place, "release"), release, "a release's name such as shop@1.2.3")
    if not dsn and spotlight is None:
        return None
    return SentrySettings(
        dsn=Secret(str(dsn)) if dsn else None,
        environment=environment,
        release=str(release) if release else None,
        service_version=_resource_attribute(document, "service.version"),
        traces_sample_rate=rates[0],
        profiles_sample_rate=rates[1],
        send_default_pii=send_default_pii,
        debug=debug,
        spotlight=spotlight,
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


def _spotlight(document: Document, place: tuple[str, ...]) -> str | None:
    """The address of Spotlight, from an address or a boolean word."""
    value = document.get(*place)
    word = str(value if value is not None else "").strip()
    if word.lower() in BOOLEANS or not word:
        return DEFAULT_SPOTLIGHT if BOOLEANS.get(word.lower()) else None
    if isinstance(value, str) and urlsplit(word).scheme in ("http", "https") and urlsplit(word).hostname:
        return word
    raise document.error(place, value, f"an address such as {DEFAULT_SPOTLIGHT}, {', '.join(BOOLEANS)}")


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


def _upstream_part(
    document: Document, environment: str, destinations: tuple[Options, ...], *, with_sentry: bool
) -> dict[str, Any]:
    """What ``configure_sdk`` is to see: without our block, the destinations and empty attributes."""
    data = copy.deepcopy(document.data)
    data.pop("distribution", None)
    data["tracer_provider"] = {**(data.get("tracer_provider") or {}), "processors": []}
    if data.get("logger_provider") is not None:
        data["logger_provider"]["processors"] = []
    readers = (data.get("meter_provider") or {}).get("readers") or []
    for options in (each for each in destinations if each.signal == "metrics"):
        readers[options.index]["periodic"]["exporter"] = {METRIC_EXPORTER: {"destination": options.index}}
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


def _refuse_unpaired(document: Document) -> None:
    """OpenTelemetry would print what is no pair of ``attributes_list`` in the log, and go on."""
    place = ("resource", "attributes_list")
    pairs = str(document.get(*place) or "")
    if not all("=" in pair for pair in pairs.split(",") if pair.strip()):
        raise document.error(place, pairs, "pairs as in service.version=1.2.3,team=shop")


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
        return float(_default(SentrySettings, name))
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
        return bool(_default(settings, place[-1]))
    word = str(value).strip().lower()
    if word not in BOOLEANS:
        raise document.error(place, value, ", ".join(BOOLEANS))
    return BOOLEANS[word]


def _default(settings: type, name: str) -> Any:
    """The default that ``settings`` has for ``name``."""
    return next(each.default for each in fields(settings) if each.name == name)

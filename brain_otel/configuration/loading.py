"""Reads the environment and the configuration file; the only module that does. Makes :class:`Settings`."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.destinations import METRIC_EXPORTER, read_destinations, replace_destinations
from brain_otel.configuration.document import Document, read_document
from brain_otel.configuration.file_choice import Choice, choose_file
from brain_otel.configuration.schema import MAJOR, MINOR, is_newer, reject_endless, validate
from brain_otel.configuration.sections.delivery import read_delivery
from brain_otel.configuration.sections.errors import read_errors
from brain_otel.configuration.sections.instrumentation import read_instrumentation
from brain_otel.configuration.sections.privacy import read_privacy
from brain_otel.configuration.sections.sampling import read_sampling, sentry_rate
from brain_otel.configuration.sections.sentry import read_sentry
from brain_otel.configuration.settings import SentrySettings, Settings
from brain_otel.configuration.simple_form import is_simple_form
from brain_otel.configuration.values import OURS, read_boolean, reject_unknown, resource_attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.configuration.options import Options


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
    validate(document)
    notices = [*choice.notices, *replace_destinations(document, variables, packaged=choice.packaged)]
    if is_newer(document):
        notices.append(f"{document.source}: file_format is newer than {MAJOR}.{MINOR}; some of it may be ignored")
    destinations = read_destinations(document, variables)
    settings = _settings(choice.environment, document, destinations, tuple(notices))
    if _lacks_dsn(document, destinations, variables):
        place = ".".join((*OURS, "sentry", "dsn"))
        notice = f"SENTRY_DSN is ignored: {document.source} does not read it (as {place}: ${{SENTRY_DSN}})"
        settings = settings._replace(notices=(*settings.notices, notice))
    if "disabled" not in document.data and variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        settings = settings._replace(disabled=True)  # OpenTelemetry's SDK obeys it whatever the file says
    return choice, document, settings


def _settings(
    environment: str, document: Document, destinations: tuple[Options, ...], notices: tuple[str, ...]
) -> Settings:
    ours = document.get(*OURS) or {}
    blocks = ("sentry", "instrumentation", "errors", "privacy", "sampling", "delivery")
    reject_unknown(document, OURS, ours, (*blocks, "fast_paths"))
    _reject_unpaired(document)
    sentry = read_sentry(environment, document)
    reject_endless(document)
    sampling = read_sampling(document, destinations)
    if not any(destination.name in ("sentry", "sentry_otlp") for destination in destinations):
        sentry = None
    if sentry is not None:
        sentry = sentry._replace(traces_sample_rate=sentry_rate(sampling, sentry.traces_sample_rate))
    return Settings(
        environment=environment,
        source=document.source,
        document=_upstream_part(document, environment, destinations, with_sentry=sentry is not None),
        simple_form=is_simple_form(document.data),
        destinations=destinations,
        sentry=sentry,
        instrumentation=read_instrumentation(document),
        errors=read_errors(document),
        sampling=sampling,
        delivery=read_delivery(document),
        disabled=bool(document.get("disabled")),
        privacy=read_privacy(document),
        fast_paths=read_boolean(document, (*OURS, "fast_paths"), Settings._field_defaults),
        send_default_pii=read_boolean(
            document, (*OURS, "sentry", "send_default_pii"), SentrySettings._field_defaults
        ),
        notices=notices,
    )


def _lacks_dsn(document: Document, destinations: tuple[Options, ...], environ: Mapping[str, str]) -> bool:
    """Whether a file of the user's own has a destination that needs the DSN and does not read the one that is set."""
    named = "dsn" in (document.get(*OURS, "sentry") or {})
    wanted = any(each.name in ("sentry", "sentry_otlp") for each in destinations)
    return wanted and not named and "SENTRY_DSN" in environ


def _upstream_part(
    document: Document, environment: str, destinations: tuple[Options, ...], *, with_sentry: bool
) -> dict[str, Any]:
    """What ``configure_sdk`` is to see: without our block and ``x-`` ones, the destinations and empty attributes."""
    given = document.data.items()
    data = copy.deepcopy({name: value for name, value in given if not str(name).startswith("x-")})
    data.pop("distribution", None)
    data["tracer_provider"] = {**(data.get("tracer_provider") or {}), "processors": []}
    if data.get("logger_provider") is not None:
        data["logger_provider"]["processors"] = []
    readers = (data.get("meter_provider") or {}).get("readers") or []
    for options in (each for each in destinations if each.signal == "metrics"):
        readers[options.index]["periodic"]["exporter"] = {METRIC_EXPORTER: {"destination": options.index}}
    resource = data.get("resource") or {}
    attributes = [each for each in resource.get("attributes") or () if each.get("value") not in (None, "")]
    if resource_attribute(document, "deployment.environment.name") is None:
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


def _reject_unpaired(document: Document) -> None:
    """OpenTelemetry would print what is no pair of ``attributes_list`` in the log, and go on."""
    place = ("resource", "attributes_list")
    pairs = str(document.get(*place) or "")
    if not all("=" in pair for pair in pairs.split(",") if pair.strip()):
        raise document.error(place, pairs, "pairs as in service.version=1.2.3,team=shop")

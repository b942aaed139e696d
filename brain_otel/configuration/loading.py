"""Makes :class:`Settings` from the environment and a configuration file; the only module that reads them."""

import copy
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from brain_otel.configuration.destinations import read_destinations, replace_destinations
from brain_otel.configuration.document import Document, read_document, reject_endless
from brain_otel.configuration.file_choice import Choice, choose_file
from brain_otel.configuration.identity import Identity, Known, origin_of, read_identity, resource_attribute
from brain_otel.configuration.instrumentors import disabled_instrumentors, doubled_conventions
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.configuration.sections.propagation import PropagationSettings
from brain_otel.configuration.sections.sampling import SamplingSettings, check_destinations, head_rate, sentry_rate
from brain_otel.configuration.sections.sentry import SentrySettings
from brain_otel.configuration.settings import Settings
from brain_otel.configuration.simple_form import is_simple_form
from brain_otel.configuration.values import read_fields
from brain_otel.privacy.settings import PrivacySettings

OURS = ("distribution", "brain_otel")
"""The place of our block in the file."""

_FOR_SENTRY = ("sentry", "sentry_otlp")


def read_settings(
    environ: Mapping[str, str] | None = None,
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Read the settings for ``setup()``.

    Args:
        environ: The variables, by default the process's; one that is set to the empty string counts as unset.
        environment: The environment's name, else ``SENTRY_ENVIRONMENT``, ``ENVIRONMENT``, ``development``.
        config_file: The file, else ``OTEL_CONFIG_FILE``, else ``<environment>.yaml`` in
            ``BRAIN_OTEL_CONFIG_DIR``, else the packaged one.

    Raises:
        ConfigurationError: a value is wrong; the message names the place, the value and what is allowed.
    """
    return read_all(environ, environment=environment, config_file=config_file)[2]


def read_all(
    environ: Mapping[str, str] | None = None,
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> tuple[Choice, Document, Settings]:
    """Read the settings as :func:`read_settings` does; also return the chosen file and its content."""
    variables = {key: value for key, value in (os.environ if environ is None else environ).items() if value}
    choice = choose_file(variables, environment=environment, config_file=config_file)
    document = read_document(choice.path, variables, path_from=choice.path_from)
    newer = [] if is_simple_form(document.data) else _validate(document)
    notices = [*choice.notices, *replace_destinations(document, variables, packaged=choice.packaged), *newer]
    destinations = read_destinations(document, variables)
    settings = _settings(choice.environment, document, destinations, tuple(notices), variables)
    needs_dsn = any(each.name in _FOR_SENTRY for each in destinations)
    if needs_dsn and "SENTRY_DSN" in variables and "dsn" not in (document.get(*OURS, "sentry") or {}):
        place = ".".join((*OURS, "sentry", "dsn"))
        notice = f"SENTRY_DSN is ignored: {document.source} does not read it (as {place}: ${{SENTRY_DSN}})"
        settings = settings._replace(notices=(*settings.notices, notice))
    if "disabled" not in document.data and variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        settings = settings._replace(disabled=True)  # OpenTelemetry's SDK obeys the variable with any file
    return choice, document, settings


def _validate(document: Document) -> list[str]:
    """Check a file that has not the simple form against OpenTelemetry's schema; returns what to tell the user."""
    from brain_otel.configuration.schema import MAJOR, MINOR, is_newer, validate

    validate(document)
    text = f"{document.source}: file_format is newer than {MAJOR}.{MINOR}; parts of it may be ignored"
    return [text] if is_newer(document) else []


def _settings(
    environment: str,
    document: Document,
    destinations: tuple[Options, ...],
    notices: tuple[str, ...],
    variables: Mapping[str, str],
) -> Settings:
    _reject_unpaired(document)
    block = document.read(OURS, partial(read_fields, Settings), {})
    head = head_rate(document)
    reject_endless(document)
    sampling: SamplingSettings = block.get("sampling", SamplingSettings())
    document.read((*OURS, "sampling"), lambda _: check_destinations(sampling, destinations, head))
    trusted = block.get("propagation", PropagationSettings()).header_names
    if trusted:  # their values are secrets, in whatever is sent of a request
        privacy: PrivacySettings = block.get("privacy", PrivacySettings())
        block["privacy"] = privacy._replace(sensitive_names=(*privacy.sensitive_names, *trusted))
    instrumentation: InstrumentationSettings = block.pop("instrumentation", InstrumentationSettings())
    given: SentrySettings | None = block.pop("sentry", None)
    identity = _identity(document, variables, given, destinations)
    sentry = None
    if given and (given.dsn or given.spotlight) and any(each.name in _FOR_SENTRY for each in destinations):
        rate = sentry_rate(sampling, head)
        sentry = given._replace(environment=environment, identity=identity, traces_sample_rate=rate)
    return Settings(
        environment=environment,
        source=document.source,
        document=_upstream_part(document, environment, with_sentry=sentry is not None),
        identity=identity,
        simple_form=is_simple_form(document.data),
        destinations=destinations,
        sentry=sentry,
        disabled=bool(document.get("disabled")),
        instrumentation=instrumentation._replace(
            disabled=disabled_instrumentors(variables), doubled=doubled_conventions(variables)
        ),
        send_default_pii=given is not None and given.send_default_pii,
        notices=notices,
        **block,
    )


def _identity(
    document: Document, variables: Mapping[str, str], given: SentrySettings | None, destinations: tuple[Options, ...]
) -> Identity:
    """The service and its release; an option of the destination ``sentry`` is what sentry-sdk obeys."""
    place = (*OURS, "sentry", "release")
    release = given.release if given is not None else None
    known = Known(release, origin_of(document.variables(place), release, variables)) if release else None
    options = [each for each in destinations if each.name == "sentry" and each.values.get("release")]
    option = Known(str(options[0].values["release"]), options[0].place) if options else None
    return read_identity(document, variables, known, option)


def _upstream_part(document: Document, environment: str, *, with_sentry: bool) -> dict[str, Any]:
    """OpenTelemetry's own part of the file, without processors and empty attributes."""
    given = document.data.items()
    data = copy.deepcopy({name: value for name, value in given if not str(name).startswith("x-")})
    data.pop("distribution", None)
    data["tracer_provider"] = {**(data.get("tracer_provider") or {}), "processors": []}
    if data.get("logger_provider") is not None:
        data["logger_provider"]["processors"] = []
    resource = data.get("resource") or {}
    attributes = [each for each in resource.get("attributes") or () if each.get("value") not in (None, "")]
    if resource_attribute(document, {}, "deployment.environment.name") is None:
        attributes.append({"name": "deployment.environment.name", "value": environment})
    data["resource"] = {**resource, "attributes": attributes}
    propagator = data.get("propagator") or {}
    if propagator.get("composite"):
        wanted = [each for each in propagator["composite"] if with_sentry or "sentry" not in each]
        # Sentry's is the last, since it completes what the others read and write.
        propagator["composite"] = sorted(wanted, key=lambda each: "sentry" in each)
    return data


def _reject_unpaired(document: Document) -> None:
    """Reject text in ``attributes_list`` that is no pair: OpenTelemetry would log it, even a secret, and go on."""
    place = ("resource", "attributes_list")
    pairs = str(document.get(*place) or "")
    if not all("=" in pair for pair in pairs.split(",") if pair.strip()):
        raise document.error(place, pairs, "pairs as in service.version=1.2.3,team=shop")

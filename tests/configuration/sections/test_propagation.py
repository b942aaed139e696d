"""Tests of the block `propagation`."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.sections.propagation import PropagationSettings, Target, TrustedHeader
from brain_otel.configuration.sections.sentry import Secret
from brain_otel.configuration.settings import Settings

PLACE = "distribution.brain_otel.propagation"
FILE = """
file_format: "1.1"
tracer_provider: {{processors: [console: ]}}
distribution:
  brain_otel:
    privacy: {{sensitive_names: [plan]}}
    propagation: {propagation}
"""
SECRET = "only-ours-know"


def read(folder: Path, propagation: str, **environ: str) -> Settings:
    path = folder / "given.yaml"
    path.write_text(FILE.format(propagation=propagation))
    return read_settings(environ, config_file=path)


def test_callers_are_networks_and_headers(tmp_path: Path) -> None:
    """Of both families; one address is a network, too. The value of a header is a secret."""
    found = read(
        tmp_path,
        '{trust_incoming: [10.0.0.0/8, "fd00::/8", "::1", {header: {name: X-Internal, value: "${TOKEN}"}}]}',
        TOKEN=SECRET,
    )
    networks = tuple(ip_network(each) for each in ("10.0.0.0/8", "fd00::/8", "::1"))
    header = TrustedHeader(name="x-internal", value=Secret(SECRET))
    assert found.propagation.trust_incoming == (*networks, header)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("word", "callers"), [("all", None), ("none", ()), ("10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")), ("", None)]
)
def test_a_variable_gives_callers_and_targets(tmp_path: Path, word: str, callers: tuple[str, ...] | None) -> None:
    """A word, or a list with commas. Unset, it is the default."""
    found = read(tmp_path, "{trust_incoming: '${TRUST}'}", TRUST=word).propagation
    assert found.trust_incoming == (None if callers is None else tuple(ip_network(each) for each in callers))
    targets = read(tmp_path, "{targets: '${TARGETS}'}", TARGETS="api.internal,https://*.example").propagation.targets
    assert targets == (Target("*", "api.internal", "*"), Target("https", "*.example", "443"))


@pytest.mark.parametrize("block", ["", "{}", "{trust_incoming: , targets: }", "{trust_incoming: all, targets: all}"])
def test_an_empty_block_restricts_nothing(tmp_path: Path, block: str) -> None:
    """So nothing is installed for it."""
    assert read(tmp_path, block).propagation == PropagationSettings()


def test_the_name_of_a_trusted_header_is_sensitive(tmp_path: Path) -> None:
    """Its value is masked among the headers of an error's request."""
    found = read(tmp_path, "{trust_incoming: [{header: {name: X-Internal, value: abc}}]}")
    assert found.privacy.sensitive_names == ("plan", "x-internal")


@pytest.mark.parametrize(
    ("block", "place", "value", "allowed"),
    [
        ("{trust_incoming: some}", "trust_incoming.0", "'some'", "a network such as 10.0.0.0/8"),
        ("{trust_incoming: 7}", "trust_incoming", "7", "all, none, networks"),
        ("{trust_incoming: [10.0.0.1/8]}", "trust_incoming.0", "'10.0.0.1/8'", "a network"),
        ("{trust_incoming: [7]}", "trust_incoming.0", "7", "a network"),
        ("{trust_incoming: {header: {name: a, value: b}}}", "trust_incoming", "a mapping with header", "all, none"),
        (
            f"{{trust_incoming: [{{x-internal: {SECRET}}}]}}",
            "trust_incoming.0",
            "a mapping with x-internal",
            "name, value",
        ),
        ("{trust_incoming: [{header: {name: x}}]}", "trust_incoming.0.header.value", "empty", "text"),
        (
            f"{{trust_incoming: [{{header: {SECRET}}}]}}",
            "trust_incoming.0.header",
            "(masked)",
            "name, value",
        ),
        (
            f"{{trust_incoming: [{{header: {{name: a b, value: {SECRET}}}}}]}}",
            "trust_incoming.0.header.name",
            "'a b'",
            "a header's name",
        ),
        (
            f'{{trust_incoming: [{{header: {{name: a, value: "{SECRET} "}}}}]}}',
            "trust_incoming.0.header.value",
            "(masked)",
            "printable ASCII",
        ),
        ("{trust_incoming: [{header: {name: a, value: 7}}]}", "trust_incoming.0.header.value", "(masked)", "text"),
        ("{targets: [https://api.example/v2]}", "targets.0", "'https://api.example/v2'", "[scheme://]host[:port]"),
        ("{targets: ['a b']}", "targets.0", "'a b'", "host"),
        ("{targets: {a: b}}", "targets", "a mapping with a", "a list of hosts"),
        ("{trust: all}", "trust", "'all'", "the keys trust_incoming, targets"),
    ],
)
def test_an_error_names_the_place_the_value_and_what_is_allowed(
    tmp_path: Path, block: str, place: str, value: str, allowed: str
) -> None:
    """And never shows the value of a header."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, block)
    text = str(caught.value)
    assert f"{PLACE}.{place} is {value}; allowed: " in text
    assert allowed in text
    assert SECRET not in text

"""Tests of secrets in command lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.commands import create_command_mask, masked_arguments

POLICY = Policy()
mask_commands = create_command_mask(POLICY.is_sensitive)
WITH_SECRET = (
    ["curl", "-u", "anna:{}", "https://shop.test/"],
    ["/usr/bin/curl", "-sSuanna:{}"],
    ["curl", "--user", "anna:{}"],
    ["mysql", "-uapp", "-p{}", "shop"],
    ["mysqldump", "-p{}"],
    ["redis-cli", "-a", "{}", "ping"],
    ["sshpass", "-p{}", "ssh", "app@host"],
    ["docker", "login", "-u", "app", "-p", "{}"],
    ["ldapsearch", "-x", "-w", "{}"],
    ["smbclient", "-U", "anna%{}"],
    ["tool", "--token", "{}"],
)
HARMLESS = (
    "ssh -p 2222 app@host uptime",
    "docker run -u 1000:1000 -p 8080:80 nginx:1.27",
    "pytest -p no:cacheprovider -k token",
    "mkdir -p /srv/app/uploads",
    "mysql -p shop",
    "curl -s https://shop.test/ -o out",
    "the curl - and the docker -- were late",
    "redis-cli ping",
)


@given(st.sampled_from(WITH_SECRET), st.from_regex(r"zq[a-z0-9]{3,12}", fullmatch=True), st.text(max_size=20))
def test_no_secret_in_an_option_stays(command: list[str], secret: str, before: str) -> None:
    """As a list, as its text, and as one line."""
    arguments = [each.format(secret) for each in command]
    assert secret not in str(list(masked_arguments(arguments, POLICY.is_sensitive)))
    assert secret not in str(POLICY.value({"process.command_args": tuple(arguments)}))
    assert secret not in POLICY.text(f"{before}\n{' '.join(arguments)}")
    assert secret not in POLICY.text(f"Command '{' '.join(arguments)}' failed")


@pytest.mark.parametrize("command", HARMLESS)
def test_other_options_stay(command: str) -> None:
    assert mask_commands(command) == command
    assert list(masked_arguments(command.split(" "), POLICY.is_sensitive)) == command.split(" ")


def test_a_command_ends_where_the_line_or_pipe_does() -> None:
    assert mask_commands("redis-cli ping | grep -a x\ngrep -a y") == "redis-cli ping | grep -a x\ngrep -a y"
    assert mask_commands("redis-cli -a x | grep -a y") == f"redis-cli -a {FILTERED} | grep -a y"


def test_values_that_are_no_texts_stay() -> None:
    assert list(masked_arguments([1, None, {"a": 1}], POLICY.is_sensitive)) == [1, None, {"a": 1}]
    assert list(masked_arguments(["mysql", 3, "-px"], POLICY.is_sensitive)) == ["mysql", 3, f"-p{FILTERED}"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("docker login -u crane -p hunter2 r.shop.test", "docker login -u crane -p [Filtered] r.shop.test"),
        ("podman login --username helm -p hunter2", "podman login --username helm -p [Filtered]"),
        ("sudo -u mysql mysqldump -phunter2 shop", "sudo -u mysql mysqldump -p[Filtered] shop"),
        ("oc login -u ida -p hunter2 https://h", "oc login -u ida -p [Filtered] https://h"),
        ("docker run -u crane -p 8080:80 nginx",) * 2,
    ],
)
def test_a_user_may_have_the_name_of_a_program(line: str, shown: str) -> None:
    assert Policy().text(line) == shown

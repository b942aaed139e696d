"""The file with rules and receivers: what is wrong in it is named, and secrets are not shown."""

from pathlib import Path

import pytest

from brain_otel.configuration.error import ConfigurationError
from brain_otel.viewer.alerts.rules import KINDS, RECEIVERS, read_alerts
from tests.doctor.command import run_command

HIDDEN = "T00SECRET"
SLACK = f"receivers: {{chat: {{slack: {{url: 'https://hooks.test/{HIDDEN}'}}}}}}\n"
RULE = "rules: {new: {new_error: , to: [chat]}}\n"

WRONG = [
    ("{}", "receivers is empty; allowed: a mapping with receivers, rules"),
    (f"receivers: {{}}\n{RULE}", "receivers is empty; allowed: 1 to 20 receivers"),
    (f"{SLACK}rules: {{}}", "rules is empty; allowed: 1 to 100 rules"),
    (f"{SLACK}{RULE}evry: 3", "evry is 3; allowed: the keys receivers, rules, every, link"),
    (f"{SLACK}{RULE}every: 0", "every is 0; allowed: a number of seconds from 1 to 3600"),
    (f"{SLACK}rules: {{new: {{new_error: , to: [chta]}}}}", "rules.new.to.0 is 'chta'; allowed: chat"),
    (f"{SLACK}rules: {{new: {{new_error: , to: []}}}}", "rules.new.to is a list of 0; allowed: a list of at least"),
    (
        f"{SLACK}rules: {{new: {{new_eror: , to: [chat]}}}}",
        "rules.new is a mapping with new_eror; allowed: a mapping",
    ),
    (f"{SLACK}rules: {{new: {{to: [chat]}}}}", "rules.new is an empty mapping; allowed: a mapping with exactly one"),
    (
        f"{SLACK}rules: {{e: {{error_rate: {{above: 5}}, to: [chat]}}}}",
        "rules.e.error_rate.above is 5; allowed: a num",
    ),
    (f"{SLACK}rules: {{e: {{error_rate: {{}}, to: [chat]}}}}", "rules.e.error_rate.above is empty; allowed: a value"),
    (
        f"{SLACK}rules: {{f: {{feedback: {{route: /a}}, to: [chat]}}}}",
        "feedback.route is '/a'; allowed: the keys quiet",
    ),
    (
        f"receivers: {{chat: {{slack: 'https://{HIDDEN}/'}}}}\n{RULE}",
        "receivers.chat.slack is (masked); allowed: a ma",
    ),
    (f"receivers: {{chat: {{slack: {{url: 'htp://{HIDDEN}'}}}}}}\n{RULE}", "slack.url is (masked); allowed: an addr"),
    (
        f"receivers: {{chat: {{slack: {{url: '${{NO}}'}}}}}}\n{RULE}",
        "NO (alerts.yaml: receivers.chat.slack.url) is em",
    ),
    (
        f"receivers: {{chat: {{webhook: {{url: 'https://a.test', secret: {HIDDEN}}}}}}}\n{RULE}",
        "webhook.secret is (masked); allowed: 24 to 64 random bytes in base64",
    ),
    (
        f"receivers: {{chat: {{pagerduty: {{routing_key: {HIDDEN}}}}}}}\n{RULE}",
        "pagerduty.routing_key is (masked); allowed: the 32 characters of a routing key",
    ),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_what_is_wrong_is_named(content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its place, its value unless it is secret, and what is allowed."""
    monkeypatch.chdir(tmp_path)
    Path("alerts.yaml").write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        read_alerts(Path("alerts.yaml"), {})
    assert message in str(refused.value)
    assert HIDDEN not in str(refused.value)


def test_the_example_has_every_kind_of_rule_and_receiver(tmp_path: Path) -> None:
    """It needs the variables that it names; the command prints it."""
    variables = {
        "ALERTS_WEBHOOK_URL": "https://ops.test/hook",
        "ALERTS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "ALERTS_SLACK_URL": "https://hooks.test/services/a/b/c",
        "ALERTS_PAGERDUTY_KEY": "0" * 32,
    }
    path = tmp_path / "alerts.yaml"
    path.write_text(run_command("alerts", "example").out)
    settings = read_alerts(path, variables)
    assert {each.kind for each in settings.rules} == set(KINDS)
    assert {type(each) for each in settings.receivers.values()} == set(RECEIVERS.values())

"""Foreign hosts and origins are refused on pages; SDKs may send from anywhere."""

import pytest

from tests.support.viewer import RunningViewer


@pytest.mark.parametrize("path", ["/issues", "/issues.json", "/live", "/static/view.js", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "[::1"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    ],
)
def test_a_foreign_host_or_origin_is_rejected(viewer: RunningViewer, path: str, headers: dict[str, str]) -> None:
    answer = viewer.get(path, headers=headers)
    assert answer.status_code == 403
    assert "allowed:" in answer.text


def test_a_foreign_page_changes_no_issue(viewer: RunningViewer) -> None:
    headers = {"origin": "http://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert viewer.post("/issues/1/resolve", headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_machines_own_names_are_served(viewer: RunningViewer, host: str) -> None:
    """With the headers that keep scripts out."""
    own = f"{host}:{viewer.port}"
    answer = viewer.get("/issues", headers={"host": own, "origin": f"http://{own}"})
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in answer.text
    assert answer.text.count("<script") == 1
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/api/1/envelope/", "/api/7/envelope/?sentry_key=k", "/stream", "/v1/traces"])
def test_sdks_send_from_anywhere(viewer: RunningViewer, path: str) -> None:
    """Also from pages of other origins, as Sentry's browser SDK does."""
    foreign = {"origin": "http://shop.example", "host": "host.docker.internal:8969"}
    asked = {**foreign, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    preflight = viewer.server.request("OPTIONS", path, headers=asked)
    assert preflight.status_code == 204
    kind = {"content-type": "application/json"} if path.startswith("/v1") else {"content-type": "text/plain"}
    answer = viewer.post(path, content=b"{}\n", headers={**foreign, **kind})
    assert answer.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == answer.headers["access-control-allow-origin"] == "*"

"""``brain-otel demo --view``: the demo's data in the viewer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from tests.support.process import PROGRAMS, Server, free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_is_seen_in_the_viewer(tmp_path: Path) -> None:
    """It prints the address, and leaves nothing behind when it ends."""
    port = free_port()
    command = [str(PROGRAMS / "brain-otel"), "demo", "--view", "--port", str(port)]
    with Server(command, port, env={"TMPDIR": str(tmp_path)}) as server:
        until(lambda: "in a browser: http://" in server.output, what="the address")
        found = re.search(r"in a browser: (http://\S+)", server.output)
        assert found is not None

        def ask(screen: str) -> dict[str, list[dict[str, object]]]:
            found_data: dict[str, list[dict[str, object]]] = httpx.get(
                f"{found[1]}/{screen}.json", trust_env=False
            ).json()
            return found_data

        until(lambda: len(ask("issues")["issues"]) == 3, what="the issues")
        titles = {str(each["title"]).split(":")[0] for each in ask("issues")["issues"]}
        assert titles == {"ZeroDivisionError", "HTTPStatusError", "Mission processed without a review"}
        assert {each["route"] for each in ask("performance")["routes"]} >= {
            "GET /missions/{mission_id}",
            "process_mission",
        }
        assert [each["most"] for each in ask("performance")["repeated"]] == [6]
        server.terminate(20)
    assert list(tmp_path.iterdir()) == []

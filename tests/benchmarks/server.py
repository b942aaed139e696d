"""Serves one variant with uvicorn: ``python -m tests.benchmarks.server VARIANT PORT``."""

import gc
import json
import sys
import time
from typing import Any

import uvicorn

from tests.benchmarks.worker import start

LONG = 0.005
"""Seconds of a collection that a request notices."""


class Collections:
    """An ASGI app around another that tells at ``/collections`` what was collected since it was last asked."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._began = 0.0
        self._reset()
        gc.callbacks.append(self._count)

    def _reset(self) -> None:
        self._counts = [0, 0, 0]
        self._long, self._longest = 0, 0.0

    def _count(self, phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
            return
        seconds = time.perf_counter() - self._began
        self._counts[about["generation"]] += 1
        self._long += about["generation"] == 2 and seconds > LONG
        self._longest = max(self._longest, seconds)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") != "/collections":
            await self._app(scope, receive, send)
            return
        young, middle, full = self._counts
        told = {"young": young, "middle": middle, "full": full, "long": self._long, "longest": self._longest}
        self._reset()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


if __name__ == "__main__":
    app = Collections(start(sys.argv[1])[0])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)

"""Serves one variant with uvicorn: ``python -m tests.benchmarks.server VARIANT PORT``."""

import sys

import uvicorn

from tests.benchmarks.worker import start

if __name__ == "__main__":
    uvicorn.run(start(sys.argv[1])[0], host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)

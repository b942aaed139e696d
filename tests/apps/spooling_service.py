"""A service with a spool or a queue in memory: one route succeeds, one reports an error."""

from fastapi import FastAPI

import brain_otel
from tests.apps import spooling

spooling.start()
app = FastAPI()


@app.get("/work/{number}")
async def work(number: int) -> dict[str, int]:
    with brain_otel.start_span(op="task", description="half of it"):
        return {"number": number}


@app.get("/fail/{number}")
async def fail(number: int) -> None:
    """Fail with an exception that nobody handles."""
    raise ValueError(number)


@app.get("/tell/{number}")
async def tell(number: int) -> dict[str, int]:
    """Report an error and answer the request."""
    try:
        raise ValueError(number)
    except ValueError as error:
        brain_otel.capture_exception(error)
    return {"number": number}

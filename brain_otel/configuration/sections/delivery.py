"""The file's block about delivery, ``distribution.brain_otel.delivery``: what stands in it, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.settings import MIN_BYTES, DeliverySettings, SpoolSettings
from brain_otel.configuration.values import OURS, reject_unknown

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document, Key

PLACE = (*OURS, "delivery")
SHIPPERS = ("thread", "process", "external")


def read_delivery(document: Document) -> DeliverySettings:
    """How what is to be sent is kept until it is.

    Raises:
        ConfigurationError: a value is wrong.
    """
    given = document.get(*PLACE)
    if given is None:
        return DeliverySettings()
    reject_unknown(document, PLACE, given, DeliverySettings._fields)
    shipper = given.get("shipper") or DeliverySettings().shipper
    if shipper not in SHIPPERS:
        raise document.error((*PLACE, "shipper"), shipper, ", ".join(SHIPPERS))
    return DeliverySettings(spool=_spool(document), shipper=shipper)


def _spool(document: Document) -> SpoolSettings | None:
    place = (*PLACE, "spool")
    given = document.get(*place)
    if given is None:
        return None
    reject_unknown(document, place, given, SpoolSettings._fields)
    values: dict[str, Any] = {}
    if given.get("max_bytes") is not None:
        values["max_bytes"] = int(_number(document, (*place, "max_bytes"), MIN_BYTES, 2**50, "bytes"))
    if given.get("max_age") is not None:
        values["max_age"] = _number(document, (*place, "max_age"), 60, 30 * 24 * 3600, "seconds")
    directory = given.get("directory")
    if directory in (None, ""):
        return None
    if not isinstance(directory, str) or not Path(directory).is_absolute() or "\0" in directory:
        raise document.error((*place, "directory"), directory, "an absolute path")
    if Path(directory).exists() and not Path(directory).is_dir():
        raise document.error((*place, "directory"), directory, "the path of a directory, which need not exist")
    return SpoolSettings(directory=Path(directory), **values)


def _number(document: Document, place: Key, low: float, high: float, unit: str) -> float:
    value = document.get(*place)
    try:
        number = math.nan if isinstance(value, (bool, list, dict)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise document.error(place, value, f"a number of {unit} from {low} to {high}")
    return number

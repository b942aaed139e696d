"""Makes a delivery as the settings say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from brain_otel.delivery.directory import Bounds
from brain_otel.delivery.shipping import shipping_of
from brain_otel.delivery.spool import Spool

if TYPE_CHECKING:
    from brain_otel.delivery.shipping import Shipping
    from brain_otel.delivery.target import Target
    from brain_otel.delivery_settings import DeliverySettings

logger = logging.getLogger(__name__)


def open_spool(settings: DeliverySettings, target: Target) -> tuple[Spool, Shipping] | None:
    """The spool for ``target`` and who sends what is in it; None without a directory."""
    if settings.spool is None:
        return None
    bounds = Bounds(settings.spool.max_bytes, settings.spool.max_age)
    spool = Spool(settings.spool.directory, target, bounds)
    try:
        spool.prepare()
    except OSError as error:
        logger.error("The spool %s cannot be made (%s)", settings.spool.directory, error.strerror or error)
    shipping = shipping_of(settings.spool.directory, settings.shipper)
    shipping.begin()
    return spool, shipping

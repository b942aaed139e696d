"""How what was observed gets from the request's path to where it goes."""


class DeliveryError(Exception):
    """Something that was sent did not arrive; the message says why."""

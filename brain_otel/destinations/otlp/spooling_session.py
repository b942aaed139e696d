"""An HTTP session that writes what OpenTelemetry's OTLP exporters post to the spool on disk."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from brain_otel.configuration.options import Signal
from brain_otel.configuration.sections.delivery import DeliverySettings
from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.shipper_process import acquire_supervisor, open_spool, release_supervisor
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from brain_otel.destinations.otlp.session import Session
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.limited_log import OutageLog

logger = logging.getLogger(__name__)


class SpoolingSession(Session):
    """Answers 200 once a request is on disk, and sends a request that cannot be written there over the network.

    The exporter must not compress; the shipper does.
    """

    is_spooling = True

    def __init__(
        self, own_headers: Mapping[str, str] | None, settings: DeliverySettings, signal: Signal, *, compress: bool
    ) -> None:
        super().__init__(own_headers)
        if settings.spool is None:
            raise ValueError("there is no directory for the spool")
        self._settings = settings
        self._directory = settings.spool.directory
        self._category = f"otlp_{signal}"
        self._compress = compress
        self._reset()
        reset_in_child(self)
        self._spool: Spool | None = None
        self._target_id = ""
        self._disk_log = OutageLog(
            logger,
            self._directory,
            failed=f"The spool %s cannot be written to (%s); {signal} are sent without it",
            recovered=f"The spool %s can be written to again, also for {signal}",
            repeated=f"The spool %s could not be written to %d more times within a minute, for {signal}",
            level=logging.ERROR,
        )
        self._is_closed = False
        self._supervisor = acquire_supervisor(self._directory, settings.shipper)
        self._supervisor.wake("")  # the last run may have left something in the spool

    def _reset(self) -> None:
        """Renew the lock in a forked child; a thread of the parent may have held it."""
        self._opening = threading.Lock()

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Write the body of ``request`` to disk."""
        try:
            spool = self._open(request, kwargs)
            if len(request.body) > spool.largest:
                return super().send(request, **kwargs)
            spool.append(Record(self._category, request.body))
        except OSError as error:
            self._disk_log.failed(error.strerror or error)
            return super().send(request, **kwargs)
        self._disk_log.works()
        self._supervisor.wake(self._target_id)
        response = requests.Response()
        response.status_code = 200
        response.url, response.request = request.url, request
        response.raw = BytesIO()
        return response

    def wait(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until this process has sent its spool; another process may send it."""
        if self._spool is not None and self._supervisor.mode == "thread":
            self._supervisor.wait(self._spool.folder, timeout)

    def pause(self, left: Counter[str], timeout: float) -> None:  # noqa: ARG002 - nothing is in memory
        """Have no request from the spool in flight, since the process may end."""
        self._supervisor.pause(timeout)

    def end(self) -> None:
        """Start no more requests from the spool, since the process ends."""
        self._supervisor.stop()

    def close(self) -> None:
        """Tell the shipper that this session writes no more."""
        if not self._is_closed:
            self._is_closed = True
            if self._spool is not None:
                self._spool.close()
            release_supervisor(self._directory, self._settings.shipper)
        super().close()

    def _open(self, request: Any, options: Mapping[str, Any]) -> Spool:
        """The spool. Its target follows from the first request, which has what the exporter read from variables."""
        if self._spool is None:
            with self._opening:
                target = self._target(request, options)
                opened = open_spool(self._settings, target)
                if opened is not None and self._spool is None:
                    self._target_id = target.id
                    self._spool = opened[0]
                    # `open_spool` has acquired the supervisor too.
                    release_supervisor(self._directory, self._settings.shipper)
        if self._spool is None:
            raise OSError("there is no spool")
        return self._spool

    def _target(self, request: Any, options: Mapping[str, Any]) -> Target:
        timeout = options.get("timeout")
        cert = self.cert if isinstance(self.cert, tuple) else (self.cert, None)
        return Target(
            kind="otlp",
            url=request.url,
            headers={"User-Agent": str(request.headers.get("User-Agent", "brain_otel")), **self._own_headers},
            proxy=select_proxy(request.url, get_environ_proxies(request.url)),
            ca_certs=os.path.abspath(self.verify) if isinstance(self.verify, str) else DEFAULT_CA_BUNDLE_PATH,  # noqa: PTH100
            cert_file=cert[0],
            key_file=cert[1],
            timeout=timeout if isinstance(timeout, (int, float)) else 10.0,
            compress=self._compress,
        )

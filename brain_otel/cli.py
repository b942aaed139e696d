"""The command ``brain-otel``. Without typer, importing this module ends the process with a line that says so."""

import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

from brain_otel.runtime.output import OutputError, checked_output


def _fail(message: str) -> NoReturn:
    with suppress(OSError):  # the exit code tells it too
        sys.stderr.write(f"{message}\n")
    raise SystemExit(1)


@contextmanager
def _extra(extra: str, command: str = "") -> Iterator[None]:
    """End the command with one line that says what to install, if an import within fails."""
    try:
        yield
    except ImportError as error:
        name = f"brain-otel {command}".strip()
        _fail(f'{name} needs the package {error.name!r}: pip install "brain-otel[{extra}]"')


with _extra("cli"):
    import typer

_ENVIRONMENT = "The environment. By default SENTRY_ENVIRONMENT, else ENVIRONMENT, else development."
_CONFIG_FILE = "The configuration file. By default OTEL_CONFIG_FILE, else the file of the environment."
_DIRECTORY = typer.Argument(metavar="DIRECTORY", help="The spool's directory.", file_okay=False)

app = typer.Typer(
    help="OpenTelemetry and Sentry for FastAPI services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


alerts_app = typer.Typer(help="Alerts of brain-otel view.", no_args_is_help=True)
app.add_typer(alerts_app, name="alerts")


def main() -> None:
    """Run the command. If its output cannot be written, it ends with one line that says so."""
    try:
        with checked_output():
            app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OutputError as error:
        _fail(str(error))


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"brain-otel {importlib.metadata.version('brain-otel')}\n")
        raise SystemExit(0)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del version


@app.command()
def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Keep the services running until Ctrl-C.")] = False,
    port: Annotated[
        int | None,
        typer.Option(help="The port of the demo's main service. By default a free one.", min=1, max=65535),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Columns of the output. By default the terminal's.", min=72, max=500)
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Also draw the output in this file.", dir_okay=False)] = None,
    view: Annotated[
        bool, typer.Option("--view", help="Also show everything in a browser, and keep running.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser; only with --view.")] = False,
) -> None:
    """Run two services, send them requests and show the traces. You need no server and no account."""
    from brain_otel.configuration.error import ConfigurationError

    with _extra("demo", "demo"):
        from brain_otel.demo.run import run
        from brain_otel.demo.servers import ServiceError
    if view:
        with _extra("view", "demo --view"):
            importlib.import_module("brain_otel.viewer.server")
            from brain_otel.demo.viewer_process import running_viewer
    try:
        if view:
            with running_viewer(os.environ, open_browser=open_browser) as url:
                run(serve=True, port=port, width=width, svg=svg, viewer=url)
        else:
            run(serve=serve, port=port, width=width, svg=svg)
    except (ConfigurationError, ServiceError) as error:
        _fail(str(error))


@app.command()
def view(
    port: Annotated[int, typer.Option(help="The port; 0: a free one.", min=0, max=65535)] = 8969,
    file: Annotated[
        Path | None,
        typer.Option(help="Where data are kept. By default view.db in the user's data directory.", dir_okay=False),
    ] = None,
    max_size: Annotated[int, typer.Option(help="MiB of the file; the oldest goes first.", min=8, max=1 << 20)] = 1024,
    apdex: Annotated[int, typer.Option(help="Milliseconds that satisfy a user.", min=1, max=3_600_000)] = 500,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
    alerts: Annotated[Path | None, typer.Option(help="The file with the rules of alerts.", dir_okay=False)] = None,
) -> None:
    """Receive what Sentry's and OpenTelemetry's SDKs send, and show it in a browser on this machine."""
    with _extra("view", "view"):
        from brain_otel.configuration.error import ConfigurationError
        from brain_otel.viewer.alerts.rules import read_alerts
        from brain_otel.viewer.app import ViewSettings
        from brain_otel.viewer.server import PortError, default_file, run
        from brain_otel.viewer.store.schema import StoreError
    try:
        settings = ViewSettings(
            path=file or default_file(os.environ),
            max_bytes=max_size << 20,
            apdex=apdex * 1_000,
            alerts=read_alerts(alerts, os.environ) if alerts else None,
        )
        run(settings, port=port, open_browser=open_browser)
    except (ConfigurationError, PortError, StoreError) as error:
        _fail(str(error))


@alerts_app.command("example")
def alerts_example() -> None:
    """Print a file with one rule and one receiver of each kind, to start from."""
    sys.stdout.write((Path(__file__).parent / "viewer" / "alerts" / "example.yaml").read_text())


@alerts_app.command("test")
def alerts_test(
    rule: Annotated[str, typer.Argument(help="The rule's name in the file.")],
    alerts: Annotated[Path, typer.Option(help="The file with the rules of alerts.", dir_okay=False)],
) -> None:
    """Send a marked test message to the receivers of a rule. The exit code is 1 if one does not take it."""
    with _extra("view", "alerts test"):
        from brain_otel.configuration.error import ConfigurationError
        from brain_otel.viewer.alerts.rules import read_alerts
        from brain_otel.viewer.alerts.watch import send_test
    try:
        settings = read_alerts(alerts, os.environ)
    except ConfigurationError as error:
        _fail(str(error))
    found = [each for each in settings.rules if each.name == rule]
    if not found:
        _fail(f"RULE is {rule!r}; allowed: {', '.join(each.name for each in settings.rules)}")
    outcomes = send_test(settings, found[0], "http://127.0.0.1:8969")
    for name, outcome in outcomes.items():
        sys.stdout.write(f"{name}: {'delivered' if outcome.result == 'sent' else f'failed ({outcome.reason})'}\n")
    raise SystemExit(0 if all(each.result == "sent" for each in outcomes.values()) else 1)


@app.command()
def config(
    environment: Annotated[str | None, typer.Option(help=_ENVIRONMENT)] = None,
    config_file: Annotated[Path | None, typer.Option(help=_CONFIG_FILE)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show each value of the configuration, the variable or file that gave it, and the destinations."""
    from brain_otel.configuration.error import ConfigurationError

    with _extra("cli", "config"):
        from brain_otel.doctor import screen
        from brain_otel.doctor.effective_configuration import read_effective_configuration
        from brain_otel.doctor.masking import Mask
    try:
        effective = read_effective_configuration(os.environ, environment=environment, config_file=config_file)
    except ConfigurationError as error:
        message = Mask(os.environ)(str(error))
        if not as_json:
            _fail(message)
        screen.print_json({"error": message})
        raise SystemExit(1) from None
    if as_json:
        screen.print_json(screen.effective_data(effective))
    else:
        screen.print_effective(effective)


@app.command()
def doctor(
    application: Annotated[
        str, typer.Argument(metavar="[APP]", help="Also check this application, given as module:attribute.")
    ] = "",
    environment: Annotated[str | None, typer.Option(help=_ENVIRONMENT)] = None,
    config_file: Annotated[Path | None, typer.Option(help=_CONFIG_FILE)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for each destination.", min=0.1, max=600)] = 5.0,
    import_timeout: Annotated[
        float, typer.Option(help="Seconds for the import of the application.", min=0.1, max=600)
    ] = 30.0,
    offline: Annotated[bool, typer.Option("--offline", help="Send nothing to the destinations.")] = False,
) -> None:
    """Check the set-up, and send a test item to each destination. The exit code is 1 if there is a fault."""
    with _extra("cli", "doctor"):
        from brain_otel.doctor import screen
        from brain_otel.doctor.diagnosis import Request, diagnose
        from brain_otel.doctor.finding import has_fault

    request = Request(
        app=application,
        environment=environment,
        config_file=config_file,
        timeout=timeout,
        import_timeout=import_timeout,
        offline=offline,
    )
    logging.getLogger().addHandler(logging.NullHandler())  # the findings say what exporters log of a failure
    diagnosis = diagnose(request, os.environ)
    has_faults = has_fault(diagnosis.findings)
    if as_json:
        screen.print_json(screen.diagnosis_data(diagnosis, healthy=not has_faults))
    else:
        screen.print_diagnosis(diagnosis)
    raise SystemExit(1 if has_faults else 0)


@app.command()
def mask(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="By default, and for -, the standard input.", dir_okay=False),
    ] = None,
    environment: Annotated[str | None, typer.Option(help=_ENVIRONMENT)] = None,
    config_file: Annotated[Path | None, typer.Option(help=_CONFIG_FILE)] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Count by rule instead.")] = False,
) -> None:
    """Print what of a text, an envelope or OTLP JSON would leave the process, and which rules masked the rest."""
    from brain_otel.configuration.error import ConfigurationError
    from brain_otel.configuration.loading import read_settings
    from brain_otel.doctor.preview import Preview
    from brain_otel.doctor.preview_input import InputError

    try:
        settings = read_settings(os.environ, environment=environment, config_file=config_file)
        with sys.stdin.buffer if file in (None, Path("-")) else file.open("rb") as source:
            shown = Preview(source, settings)
            for line in shown:
                if not stats:
                    sys.stdout.write(f"{line}\n")
    except (ConfigurationError, InputError, OSError) as error:
        _fail(str(error))
    if shown.is_cut_off:
        sys.stderr.write("the compressed input is cut off: what is missing is not shown\n")
    sys.stdout.flush()
    for rule, places in shown.places.items():
        if stats:
            sys.stdout.write(f"{rule} {places.count}\n")
        else:
            sys.stderr.write(f"{rule}: {places}\n")


@app.command()
def ship(path: Annotated[Path, _DIRECTORY]) -> None:
    """Send what applications spool in a directory, until SIGTERM or Ctrl-C."""
    from brain_otel.delivery.spool.commands import ship as run

    try:
        run(path)
    except OSError as error:
        _fail(f"{path}: {error.strerror or error}; allowed: a directory that this user may write to")


@app.command()
def spool(
    path: Annotated[Path, _DIRECTORY],
    drain: Annotated[bool, typer.Option("--drain", help="Send everything now.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for --drain.", min=0.1, max=86_400)] = 60.0,
) -> None:
    """Show what waits in a spool. The exit code is 1 if --drain could not send everything."""
    with _extra("cli", "spool"):
        from brain_otel.delivery.spool.commands import show
    try:
        raise SystemExit(show(path, drain_for=timeout if drain else None, as_json=as_json))
    except OSError as error:
        _fail(f"{path}: {error.strerror or error}; allowed: the directory of a spool")

"""The command ``brain-otel``."""

import importlib.metadata
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

if TYPE_CHECKING:
    import typer

    from brain_otel.doctor.checks import Request

_EXTRA = 'pip install "brain-otel[cli]"'
_EXTRA_OF_DEMO = 'pip install "brain-otel[demo]"'
_ENVIRONMENT = "The environment; as the variables say if not given."
_CONFIG_FILE = "The configuration file; as the variables say if not given."


def main() -> None:
    """Run the command; without the packages it needs, say how to install them."""
    try:
        app = create_app()
    except ImportError as error:
        _fail(f"brain-otel needs the package {error.name!r}: {_EXTRA}")
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def create_app() -> "typer.Typer":
    """The command line; typer is imported here, since it is an extra."""
    import typer

    app = typer.Typer(
        help="OpenTelemetry and Sentry for FastAPI services.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def brain_otel(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
        ] = False,
    ) -> None:
        del version

    @app.command()
    def demo(
        serve: Annotated[bool, typer.Option("--serve", help="Leave the service up until Ctrl-C.")] = False,
        port: Annotated[
            int | None, typer.Option(help="The service's port; a free one if not given.", min=1, max=65535)
        ] = None,
        width: Annotated[
            int | None, typer.Option(help="Columns; the terminal's if not given.", min=72, max=500)
        ] = None,
        svg: Annotated[Path | None, typer.Option(help="A file to draw the output in.", dir_okay=False)] = None,
    ) -> None:
        """Run two services, send them requests and show the traces: no server, no account needed."""
        _run_demo(serve=serve, port=port, width=width, svg=svg)

    _add_config(app)
    _add_doctor(app)
    _add_spool(app)
    return app


def _add_config(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def config(
        environment: Annotated[str | None, typer.Option(help=_ENVIRONMENT)] = None,
        config_file: Annotated[Path | None, typer.Option(help=_CONFIG_FILE)] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Show the effective configuration: each value, which variable or file gave it, and the destinations."""
        _run_config(environment, config_file, as_json=as_json)


def _add_doctor(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def doctor(
        application: Annotated[
            str, typer.Argument(metavar="[APP]", help="The application to look at too, module:attribute.")
        ] = "",
        environment: Annotated[str | None, typer.Option(help=_ENVIRONMENT)] = None,
        config_file: Annotated[Path | None, typer.Option(help=_CONFIG_FILE)] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        timeout: Annotated[float, typer.Option(help="Seconds for each destination.", min=0.1, max=600)] = 5.0,
        import_timeout: Annotated[
            float, typer.Option(help="Seconds for the application's import.", min=0.1, max=600)
        ] = 30.0,
        offline: Annotated[bool, typer.Option("--offline", help="Send nothing to the destinations.")] = False,
    ) -> None:
        """Check the set-up, with a test event or span to each destination; exit code 1 if there is a fault."""
        try:
            from brain_otel.doctor import screen  # noqa: F401 - before the checks take their time
            from brain_otel.doctor.checks import Request
        except ImportError as error:
            _fail(f"brain-otel doctor needs the package {error.name!r}: {_EXTRA}")
        request = Request(
            app=application,
            environment=environment,
            config_file=config_file,
            timeout=timeout,
            import_timeout=import_timeout,
            offline=offline,
        )
        raise SystemExit(_run_doctor(request, as_json=as_json))


def _add_spool(app: "typer.Typer") -> None:
    import typer

    directory = typer.Argument(metavar="DIRECTORY", help="The spool's directory.", file_okay=False)

    @app.command()
    def ship(path: Annotated[Path, directory]) -> None:
        """Send what applications spool in a directory, until SIGTERM or Ctrl-C."""
        from brain_otel.delivery.spool.commands import ship as run

        try:
            run(path)
        except OSError as error:
            _fail(f"{path}: {error.strerror or error}; allowed: a directory of your own")

    @app.command()
    def spool(
        path: Annotated[Path, directory],
        drain: Annotated[bool, typer.Option("--drain", help="Send it now.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        timeout: Annotated[float, typer.Option(help="Seconds for --drain.", min=0.1, max=86_400)] = 60.0,
    ) -> None:
        """Show what waits in a spool's directory; exit code 1 if --drain had to leave something."""
        try:
            from brain_otel.delivery.spool.commands import show
        except ImportError as error:
            _fail(f"brain-otel spool needs the package {error.name!r}: {_EXTRA}")
        try:
            raise SystemExit(show(path, drain_for=timeout if drain else None, as_json=as_json))
        except OSError as error:
            _fail(f"{path}: {error.strerror or error}; allowed: the directory of a spool")


def _run_config(environment: str | None, config_file: Path | None, *, as_json: bool) -> None:
    from brain_otel.configuration.error import ConfigurationError

    try:
        from brain_otel.doctor import screen
        from brain_otel.doctor.effective import read_effective
        from brain_otel.doctor.masking import Mask
    except ImportError as error:
        _fail(f"brain-otel config needs the package {error.name!r}: {_EXTRA}")
    try:
        effective = read_effective(os.environ, environment=environment, config_file=config_file)
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


def _run_doctor(request: "Request", *, as_json: bool) -> int:
    from brain_otel.doctor import screen
    from brain_otel.doctor.checks import diagnose
    from brain_otel.doctor.findings import has_fault

    logging.getLogger().addHandler(logging.NullHandler())  # what exporters say of a failure is in the findings
    diagnosis = diagnose(request, os.environ)
    faulty = has_fault(diagnosis.findings)
    if as_json:
        screen.print_json(screen.diagnosis_data(diagnosis, healthy=not faulty))
    else:
        screen.print_diagnosis(diagnosis)
    return 1 if faulty else 0


def _run_demo(*, serve: bool, port: int | None, width: int | None, svg: Path | None) -> None:
    from brain_otel.configuration.error import ConfigurationError

    try:
        from brain_otel.demo.run import run
        from brain_otel.demo.servers import ServiceError
    except ImportError as error:
        _fail(f"brain-otel demo needs the package {error.name!r}: {_EXTRA_OF_DEMO}")
    try:
        run(serve=serve, port=port, width=width, svg=svg)
    except (ConfigurationError, ServiceError) as error:
        _fail(str(error))


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"brain-otel {importlib.metadata.version('brain-otel')}\n")
        raise SystemExit(0)


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise SystemExit(1)

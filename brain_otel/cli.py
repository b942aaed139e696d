"""The command ``brain-otel``."""

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

if TYPE_CHECKING:
    import typer

_EXTRAS = 'pip install "brain-otel[cli,demo]"'


def main() -> None:
    """Run the command; without the packages it needs, say how to install them."""
    try:
        app = create_app()
    except ImportError as error:
        _fail(f"brain-otel needs the package {error.name!r}: {_EXTRAS}")
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

    return app


def _run_demo(*, serve: bool, port: int | None, width: int | None, svg: Path | None) -> None:
    from brain_otel.settings import ConfigurationError

    try:
        from brain_otel.demo.run import run
        from brain_otel.demo.servers import ServiceError
    except ImportError as error:
        _fail(f"brain-otel demo needs the package {error.name!r}: {_EXTRAS}")
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

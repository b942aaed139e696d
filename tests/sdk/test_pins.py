"""Pins of the private names that setting up OpenTelemetry's SDK depends on."""

from pathlib import Path

import pytest
import yaml
from opentelemetry.configuration._exceptions import ConfigurationError
from opentelemetry.configuration._propagator import create_propagator
from opentelemetry.configuration.file._loader import _dict_to_model, load_config_file

CONFIGURATION = """
file_format: "1.1"
disabled: false
resource: {attributes: [{name: service.name, value: shop}]}
propagator: {composite: [{tracecontext: }, {baggage: }]}
tracer_provider:
  processors: [{batch: {exporter: {otlp_http: {endpoint: "http://127.0.0.1:1"}}}}]
  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.5}}}}
"""


def test_dict_to_model_is_what_the_public_loader_does(tmp_path: Path) -> None:
    """`_dict_to_model` builds the same model from a parsed file as `load_config_file` does from the file."""
    path = tmp_path / "given.yaml"
    path.write_text(CONFIGURATION)
    assert _dict_to_model(yaml.safe_load(CONFIGURATION)) == load_config_file(str(path))


def test_an_unknown_propagator_is_rejected() -> None:
    """`create_propagator` takes the block of a model and raises, without setting anything."""
    model = _dict_to_model({"file_format": "1.1", "propagator": {"composite": [{"unknown": None}]}})
    with pytest.raises(ConfigurationError):
        create_propagator(model.propagator)

"""Writes ``brain_otel/configuration/known_files.json``: ``python -m tests.configuration.known_files``."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from brain_otel.configuration import known_files
from brain_otel.configuration.file_choice import PACKAGED, packaged_files
from brain_otel.configuration.substitution import is_reference, parts

FILE = Path(known_files.__file__).with_suffix(".json")


class _Loader(yaml.SafeLoader):
    """Marks the texts that have variables."""

    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)
        if "$" not in text:
            return text
        return {known_files.TYPED if not node.style and is_reference(text) else known_files.TEXT: parts(text)}


def known() -> str:
    """What the file has to hold."""
    trees = {}
    for name in PACKAGED:
        content = (packaged_files() / f"{name}.yaml").read_bytes()
        trees[sha256(content).hexdigest()] = yaml.load(content, _Loader)
    return json.dumps(trees, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    FILE.write_text(known())

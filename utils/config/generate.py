"""Write what is generated from the schema of the config: python -m utils.config.generate

`configs/schema.json` and those of the preset groups, and `docs/reference/config.md`. Tests fail if they are stale.
"""

import json
from pathlib import Path
from typing import Any

from utils.config.defaults import CONFIGS, PROJECT
from utils.config.json_schema import build_schemas
from utils.config.reference import build_reference


def generated_files() -> dict[Path, str]:
    """The text of each generated file by path."""
    schemas = {CONFIGS / name: json_text(schema) + "\n" for name, schema in build_schemas().items()}
    return {**schemas, PROJECT / "docs/reference/config.md": build_reference()}


def json_text(schema: dict[str, Any], indent: str = "") -> str:
    """JSON with one line per key of the config."""
    if "properties" not in schema:
        return json.dumps(schema)
    deeper = f"{indent}  "
    entries = [f'{deeper}"{name}": {json.dumps(value)}' for name, value in schema.items() if name != "properties"]
    inner = [f'{deeper}  "{name}": {json_text(value, deeper + "  ")}' for name, value in schema["properties"].items()]
    entries.append(f'{deeper}"properties": {{\n' + ",\n".join(inner) + f"\n{deeper}}}")
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


if __name__ == "__main__":
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(PROJECT))

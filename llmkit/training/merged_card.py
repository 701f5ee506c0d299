"""Card of a merged model, with the facts in the adapter's own card.

Public: `merged_card`, `public_name`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmkit.runtime.spec import ModelSpec

# Facts of an adapter's card that hold for the merged model too.
_KEPT = ("license", "language", "datasets", "pipeline_tag")


def merged_card(name: str, base: str, spec: ModelSpec, adapter: Path | None) -> str:
    """Return the README.md of a merged model, with the scores in the adapter's card.

    Args:
        name: name of the model.
        base: name or folder of the base model.
        spec: the request: names the adapter.
        adapter: folder of the adapter.
    """
    import yaml

    own = _header(adapter)
    shown, adapter_name = public_name(base), public_name(spec.adapter or spec.name)
    header: dict[str, Any] = {
        "library_name": "transformers",
        "base_model": shown,
        "base_model_relation": "merge",
        **{key: own[key] for key in _KEPT if key in own},
    }
    index = own.get("model-index")
    if isinstance(index, list) and len(index) == 1 and isinstance(index[0], dict):
        header["model-index"] = [{**index[0], "name": name}]
    scores = "\nThe scores are those of the adapter on its base.\n" if "model-index" in header else ""
    top = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"""---
{top}---

# {name}

{shown} with the LoRA adapter {adapter_name} merged into its weights by `llmkit merge`.
{scores}
Fill in before you share it: the adapter's training data and its license, the intended use of the model, and
its limits.
"""


def public_name(name: str) -> str:
    """Return a Hub id unchanged, but only the last part of a path: the folders of a machine are private."""
    path = Path(name)
    hub_id = (
        not path.is_absolute() and name.count("/") <= 1 and not name.startswith(".") and not path.exists()
    )
    return name if hub_id else path.resolve().name


def _header(folder: Path | None) -> dict[str, Any]:
    """Return the YAML header of a folder's card; empty if it has none that can be read."""
    import yaml

    try:
        text = (folder / "README.md").read_text(encoding="utf-8") if folder is not None else ""
        found = yaml.safe_load(text.split("---")[1]) if text.startswith("---\n") else None
    except (OSError, ValueError, yaml.YAMLError, IndexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

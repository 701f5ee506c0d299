"""The house rules that a machine can hold: imports point down, models are loaded in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "llmkit"
# A room may import rooms on the floors below its own, and itself.
FLOORS = [
    {"cli"},
    {"serving", "insight"},
    {"tasks", "training", "evaluation"},
    {"text", "records", "runtime"},
    {"attention", "models"},
]
HEAVY = {"torch", "transformers", "datasets", "evaluate", "peft", "accelerate"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str | None:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def floor_of(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def imports(tree: ast.AST) -> set[str]:
    """All absolute module names that a tree imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room is None:
        return  # the package's face reaches everything, lazily
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] != "llmkit" or len(parts) < 2 or not (PACKAGE / parts[1]).is_dir():
            continue
        other = parts[1]
        assert other == room or floor_of(other) > floor_of(room), f"{room} imports {name}"


def imported_at_once(path: Path) -> set[str]:
    """The names that importing the file imports, type-checking blocks and functions aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imports(ast.Module(body=list(top), type_ignores=[]))


def test_no_heavy_library_comes_with_the_command_line() -> None:
    """Follow imports from the verbs through the package; on the way there must be nothing heavy."""
    waiting, seen = [path for path in FILES if room_of(path) == "cli"], set()
    assert waiting
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for name in imported_at_once(path):
            assert name.split(".")[0] not in HEAVY, f"{path} imports {name}"
            for end in (name, name.rpartition(".")[0]):
                module = PACKAGE.parent / f"{end.replace('.', '/')}.py"
                if module in FILES and module not in seen:
                    waiting.append(module)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_models_are_loaded_in_the_runtime_only(path: Path) -> None:
    if room_of(path) == "runtime":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "from_pretrained":
            owner = ast.unparse(node.value)
            assert "Model" not in owner, f"{path.name}:{node.lineno} loads {owner}"


def test_every_room_is_on_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set().union(*FLOORS)

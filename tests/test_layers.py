"""Rules of structure that a machine can check: layers, circles, size of files and folders, one loader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "llmkit"
# From the top down. A package may import itself and the packages below its own line; packages on one line
# never import each other.
LAYERS = [
    {"cli"},
    {"serving"},
    {"cluster"},
    {"insight"},
    {"evaluation"},
    {"benchmark"},
    {"training"},
    {"tasks"},
    {"engines"},
    {"convert"},
    {"runtime"},
    {"formats"},
    {"attention", "linear"},
    {"records"},
    {"text"},
    {"models"},
]
HEAVY = {"torch", "transformers", "datasets", "evaluate", "peft", "accelerate"}
MAX_LINES = 400
MAX_FILES = 20
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The module name of a file of the package."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def package_of(path: Path) -> str | None:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def layer_of(package: str) -> int:
    return next(i for i, packages in enumerate(LAYERS) if package in packages)


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


def modules_imported(path: Path) -> set[str]:
    """The package's own modules that a file imports, at any depth."""
    found = set()
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        own = [end for end in (name, name.rpartition(".")[0]) if end in MODULES]
        found |= set(own[:1])
    return found - {name_of(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    package = package_of(path)
    if package is None:
        return  # the public names reach everything, lazily
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] != "llmkit" or len(parts) < 2 or not (PACKAGE / parts[1]).is_dir():
            continue
        other = parts[1]
        assert other == package or layer_of(other) > layer_of(package), f"{package} imports {name}"


def circles() -> Iterator[list[str]]:
    """Circles of imports between files, functions and type-checking blocks included."""
    graph = {name: modules_imported(path) for name, path in MODULES.items() if package_of(path)}
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> Iterator[list[str]]:
        if name in trail:
            yield [*trail[trail.index(name) :], name]
        elif name not in done:
            for other in sorted(graph.get(name, ())):
                yield from visit(other, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        yield from visit(name, [])


def test_no_files_import_each_other_in_a_circle() -> None:
    assert [" > ".join(circle) for circle in circles()] == []


def test_no_folder_is_too_wide() -> None:
    for folder in {path.parent for path in FILES}:
        count = len(list(folder.glob("*.py")))
        assert count <= MAX_FILES, f"{folder.relative_to(PACKAGE)} holds {count} files; cut it by subject"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_too_long(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MAX_LINES


def imported_at_once(path: Path) -> set[str]:
    """The names imported when the file is imported, without type-checking blocks and functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imports(ast.Module(body=list(top), type_ignores=[]))


def test_no_heavy_library_comes_with_the_command_line() -> None:
    """Follow imports from the verbs through the package; on the way there must be nothing heavy."""
    waiting, seen = [path for path in FILES if package_of(path) == "cli"], set()
    assert waiting
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for name in imported_at_once(path):
            assert name.split(".")[0] not in HEAVY, f"{path} imports {name}"
            for end in (name, name.rpartition(".")[0]):
                module = MODULES.get(end)
                if module and module not in seen:
                    waiting.append(module)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_models_are_loaded_in_the_runtime_only(path: Path) -> None:
    if package_of(path) == "runtime":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "from_pretrained":
            owner = ast.unparse(node.value)
            assert "Model" not in owner, f"{path.name}:{node.lineno} loads {owner}"


def test_every_package_has_a_layer() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages <= set().union(*LAYERS)

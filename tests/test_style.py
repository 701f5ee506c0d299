"""Rules of style that a machine can check over the package's source: docstrings, flags, names."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llmkit

TESTS = Path(__file__).parent
PACKAGE = Path(__file__).parent.parent / "llmkit"
FILES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
RELATIVE_OPENING = re.compile(r"(What|Whether|How|Where|Which|Who|That)\b")
FLAG = re.compile(r"--[a-z]")
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
MOST_LINES = 50


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((PACKAGE / path).read_text(encoding="utf-8"))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Docstrings of a module, its classes and functions, and of what is assigned, with their lines."""
    for node in ast.walk(tree):
        body = getattr(node, "body", [])
        for i, one in enumerate(body if isinstance(body, list) else []):
            value = (
                one.value.value if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) else None
            )
            described = i == 0 or isinstance(body[i - 1], ast.Assign | ast.AnnAssign)
            if isinstance(value, str) and described:
                yield one.lineno, value


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """String constants that are no docstrings, with their lines."""
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.lineno, node.value


def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    found = [
        f"{path}:{line}: {text.strip().splitlines()[0][:60]}"
        for path in FILES
        for line, text in docstrings(tree_of(path))
        if RELATIVE_OPENING.match(text)
    ]
    assert not found, "begin with a verb or a noun:\n" + "\n".join(found)


def test_code_below_the_command_line_names_no_flag() -> None:
    """It names the option, as Python does; the command line shows the flag, and a server the JSON field.

    Style sheets, in text/html, have names with two dashes too.
    """
    found = [
        f"{path}:{line}: {text[:80]}"
        for path in FILES
        if path.parts[0] != "cli" and path.parts[:2] != ("text", "html")
        for line, text in strings(tree_of(path))
        if FLAG.search(text)
    ]
    assert not found, "name the option, in backticks:\n" + "\n".join(found)


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name.lstrip("_")].append(str(path))
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    assert not twice, f"give one of them another name: {twice}"


# The functions of the command line's verbs, in Python.
FUNCTIONS = [
    "answer",
    "bias",
    "embed",
    "explain",
    "fill_in_middle",
    "finetune",
    "generate",
    "load",
    "merge",
    "pipeline",
    "pretrain",
    "quantize",
    "score",
    "stream",
    "summarize",
    "translate",
]


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, without its docstring and the functions inside it.

    The arguments do not count: those of a verb are the declarations of its flags.
    """
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    inside = [one for statement in body for one in ast.walk(statement) if isinstance(one, FUNCTION)]
    ends = {(one.lineno, one.end_lineno or one.lineno) for one in inside}
    covered = {line for start, end in ends for line in range(start, end + 1)}
    lines = range(body[0].lineno, (function.end_lineno or 0) + 1) if body else range(0)
    return len(set(lines) - covered)


def test_functions_are_short() -> None:
    source = (
        'def f():\n    """Doc.\n\n    More.\n    """\n    def g():\n        a = 1\n        b = 2\n    c = 3\n'
    )
    assert [own_lines(one) for one in ast.walk(ast.parse(source)) if isinstance(one, FUNCTION)] == [1, 2]
    found = [
        f"{path}:{one.lineno}: {one.name} has {own_lines(one)} lines"
        for path in FILES
        for one in ast.walk(tree_of(path))
        if isinstance(one, FUNCTION)
        and (one.end_lineno or 0) - one.lineno >= MOST_LINES
        and own_lines(one) > MOST_LINES
    ]
    assert not found, f"cut functions above {MOST_LINES} lines by subject:\n" + "\n".join(found)


def test_every_verb_has_a_public_function() -> None:
    assert [name for name in FUNCTIONS if name not in llmkit.__all__] == []


def test_a_public_function_s_result_and_options_are_public_too() -> None:
    for name in set(FUNCTIONS) & set(llmkit.__all__):
        words = re.findall(
            r"\b[A-Z]\w+(?:Result|Options|Recipe|Spec)\b", str(inspect.signature(getattr(llmkit, name)))
        )
        assert set(words) <= set(llmkit.__all__), name


def test_public_names_are_found_by_completion() -> None:
    assert set(llmkit.__all__) == set(dir(llmkit))


def test_the_type_checker_sees_the_public_names() -> None:
    """`from llmkit import X` resolves for mypy by the imports under TYPE_CHECKING, which must be the same."""
    seen = {
        alias.name: str(node.module)
        for node in ast.walk(tree_of(Path("__init__.py")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("llmkit.")
        for alias in node.names
    }
    assert seen == {name: llmkit.HOMES[name] for name in llmkit.HOMES}


def test_public_names_can_be_imported_and_are_described() -> None:
    for name in llmkit.HOMES:
        found: Any = getattr(llmkit, name)
        text = inspect.getdoc(found) or ""
        assert text, name
        assert not text.startswith(f"{name}("), "a dataclass without a docstring gets its signature for one"

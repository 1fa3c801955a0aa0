"""Which of the project's modules a module runs, read from its imports without running it.

Work in progress is keyed by the digest of the code that makes it (`code_digest`), and a test holds
each DVC stage's `deps` against the same closure.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOTS = ("tasks", "models", "unbundle")


def import_closure(module: str) -> dict[str, Path]:
    """Files, by module name, of all that a module imports, directly or not, itself included.

    Imports within functions count, those for type checkers do not. A package that is only passed
    through on the way to one of its modules runs its body, not its functions: what these import
    counts where something is imported from the package itself.

    Args:
        module: dotted name of a module of the project.

    Raises:
        FileNotFoundError: the project has no such module.
    """
    found: dict[str, Path] = {}
    bodies: set[str] = set()
    waiting = [(module, True)]
    while waiting:
        name, whole = waiting.pop()
        if name in found if whole else name in found or name in bodies:
            continue
        path = _file(name)
        if path is None:
            raise FileNotFoundError(f"{name}: no such module in {PROJECT}")
        (found.__setitem__(name, path) if whole else bodies.add(name))
        waiting += _imported(path, whole)
        package = name.rpartition(".")[0]
        while package:
            waiting.append((package, False))
            package = package.rpartition(".")[0]
    return {**{name: path for name in bodies if (path := _file(name))}, **found}


@lru_cache
def code_digest(module: str) -> str:
    """SHA-256 in hex of the sources of a module's `import_closure`."""
    total = hashlib.sha256()
    for name, path in sorted(import_closure(module).items()):
        total.update(f"{name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _file(name: str) -> Path | None:
    base = PROJECT.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imported(path: Path, whole: bool) -> Iterator[tuple[str, bool]]:
    """Project modules that a file imports, each with whether it is asked for itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _statements(tree, whole):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            # `from package import module` names a module, too.
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            names += [name for name in inner if name.split(".")[0] in ROOTS and _file(name)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in ROOTS and _file(name) is not None:
                yield name, True


def _statements(node: ast.AST, whole: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not whole:
            continue
        yield child
        yield from _statements(child, whole)

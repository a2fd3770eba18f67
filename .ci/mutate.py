"""Would the tests notice? Changes one thing at a time in a module and runs the tests that reach it.

    pip install --target DIR cosmic-ray                          # beside the project's environment, not in it
    python .ci/mutate.py --cosmic-ray DIR [MODULE...]            # the modules and their tests: .ci/mutation.toml

The changes are cosmic-ray's (one operator, number, condition, loop, decorator at a time), and one of ours: a
look-around of a regular expression left out. What is ours is the running. cosmic-ray starts a process and runs all
tests for each mutant; here the tests are collected and run once, each mutant runs in a fork of that process, and only
the tests that executed the changed statement run, those that killed before first. Files are never touched.

- A change inside a function is put into the functions that live in the process (their code objects are exchanged), a
  changed constant of the module into all modules that hold it; other changes outside functions run in a process that
  imports the changed module afresh.
- A mutant survives if no test fails. Left out as no other program: changes in annotations of functions and variables,
  and in arguments of @dataclass (`frozen` forbids, it computes nothing).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import gc
import importlib.abc
import importlib.util
import io
import itertools
import json
import os
import random
import re
import resource
import signal
import sys
import threading
import time
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OURS = ("aki_eval", "benchmarks", "model", "reports", "train")
TIMEOUT = "out of time"
# Of cosmic-ray's replacements of one operator by every other, those that a slip of the hand would make.
BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Div Mod_Mul Pow_Mul BitOr_BitAnd BitAnd_BitOr"
COMPARISON = """
    Eq_NotEq Eq_LtE Eq_GtE NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is
"""
OTHER = """
    ReplaceUnaryOperator_Delete_USub ReplaceUnaryOperator_Delete_Not ReplaceUnaryOperator_Delete_Invert AddNot
    ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd ReplaceBreakWithContinue
    ReplaceContinueWithBreak ExceptionReplacer NumberReplacer RemoveDecorator ZeroIterationForLoop
"""
OPERATORS = [
    *(f"ReplaceBinaryOperator_{name}" for name in BINARY.split()),
    *(f"ReplaceComparisonOperator_{name}" for name in COMPARISON.split()),
    *OTHER.split(),
]


class Mutant(NamedTuple):
    """One change: which operator, the line it is in, and the module's text with it."""

    operator: str
    line: int
    text: str


def mutants(path: Path, every: int) -> list[Mutant]:
    """One in `every` of a module's changes, without those that leave the program the same, by line."""
    source = path.read_text(encoding="utf-8")
    changes = [*cosmic_ray_changes(source), *look_around_changes(source)]
    seen = {program(source)}
    found = []
    for i in sorted(random.Random(0).sample(range(len(changes)), -(-len(changes) // every))):
        operator, text = changes[i][0], changes[i][1]()
        try:
            changed = program(text)
        except SyntaxError:
            continue
        if changed not in seen:
            seen.add(changed)
            pairs = zip(source.splitlines(), text.splitlines(), strict=False)
            found.append(Mutant(operator, next(n for n, (old, new) in enumerate(pairs, 1) if old != new), text))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.operator))


def cosmic_ray_changes(source: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """cosmic-ray's changes, each as a function that makes the text. Its way parses the module for each."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator

    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        for node in nodes:
            if node.type == "operator" and node.parent.type in ("parameters", "param"):
                continue  # the bare star between parameters is no multiplication
            for index, _ in enumerate(operator.mutation_positions(node)):
                yield name, functools.partial(changed_text, source, operator, node, index)


def changed_text(source: str, operator: Any, node: Any, index: int) -> str:
    starts = line_starts(source)
    start, end = (starts[line - 1] + column for line, column in (node.start_pos, node.end_pos))
    parent, node.parent = node.parent, None
    copied = copy.deepcopy(node)
    node.parent = copied.parent = parent
    changed = operator.mutate(copied, index)
    return source[:start] + (changed.get_code(include_prefix=False) if changed is not None else "") + source[end:]


def line_starts(source: str) -> list[int]:
    return [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]


def look_around_changes(source: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """The text without one `(?=...)`, `(?!...)`, `(?<=...)` or `(?<!...)` that a string holds whole."""
    starts = line_starts(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.STRING:
            continue
        offset = starts[token.start[0] - 1] + token.start[1]
        for opening in ("(?=", "(?!", "(?<=", "(?<!"):
            at = token.string.find(opening)
            while at >= 0:
                if end := closing(token.string, at):
                    text = source[: offset + at] + source[offset + end :]
                    yield "LeaveOutLookAround", functools.partial(str, text)
                at = token.string.find(opening, at + 1)


def closing(text: str, at: int) -> int | None:
    """Where the group that opens at `at` ends."""
    depth, in_class, i = 0, False, at
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif in_class:
            in_class = text[i] != "]"
        elif text[i] == "[":
            in_class = True
        elif text[i] in "()":
            depth += 1 if text[i] == "(" else -1
            if depth == 0:
                return i + 1
        i += 1
    return None


def program(text: str) -> str:
    """What is executed: the syntax tree without the annotations that nobody evaluates."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for inner in ast.walk(node):
                if isinstance(inner, ast.AnnAssign):
                    inner.annotation = ast.Constant(None)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "dataclass":
                    decorator.keywords = []
    return ast.dump(tree)


def statement_lines(tree: ast.Module) -> dict[int, range]:
    """For each line the lines of the innermost statement on it; of a compound statement, those of its head."""
    lines: dict[int, range] = {}
    for node in ast.walk(tree):  # breadth first: what is further in comes later and overwrites
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            last = body[0].lineno - 1 if body and body[0].lineno > node.lineno else (node.end_lineno or node.lineno)
            for line in range(first, last + 1):
                lines[line] = range(first, last + 1)
    return lines


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a text instead of its file."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def exec_module(self, module: Any) -> None:
        exec(compile(self.text, str(self.path), "exec"), module.__dict__)


def codes(text: str, path: Path) -> dict[str, list[CodeType]]:
    """The code objects of a module's functions, by qualified name."""
    found: dict[str, list[CodeType]] = defaultdict(list)
    waiting = [compile(text, str(path), "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        found[code.co_qualname].append(code)
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return found


def live_functions(path: Path) -> list[FunctionType]:
    return [
        each for each in gc.get_objects() if isinstance(each, FunctionType) and each.__code__.co_filename == str(path)
    ]


def put_in(mutant: Mutant, source: str, path: Path, functions: list[FunctionType]) -> bool:
    """Gives the functions of this process the mutant's code. False: none changed; the changed one does not live."""
    old, new = codes(source, path), codes(mutant.text, path)
    changed = False
    for function in functions:
        name = function.__code__.co_qualname
        lines = [code.co_firstlineno for code in old[name]]
        if name in new and len(new[name]) == len(lines) and function.__code__.co_firstlineno in lines:
            code = new[name][lines.index(function.__code__.co_firstlineno)]
            changed = changed or code != function.__code__
            function.__code__ = code
    return changed


def live_caches() -> list[Any]:
    """What remembers results of our functions: forgotten before each test, so that each executes all it needs."""
    found = [each for each in gc.get_objects() if isinstance(each, functools._lru_cache_wrapper)]
    return [each for each in found if each.__module__.split(".")[0] in OURS]


def put_in_constants(mutant: Mutant, path: Path) -> bool:
    """Gives this process the constants of the mutant where they differ; False: none does."""
    name = str(path.relative_to(ROOT)).removesuffix(".py").replace("/", ".")
    module = sys.modules[name]
    made = {"__name__": name, "__package__": module.__package__, "__file__": str(path)}
    exec(compile(mutant.text, str(path), "exec", dont_inherit=True), made)
    changed = False
    for key, value in made.items():
        old = vars(module).get(key)
        if not key.startswith("__") and not isinstance(value, FunctionType | type) and shown(value) != shown(old):
            changed = True
            for each in list(sys.modules.values()):
                if (getattr(each, "__name__", "") or "").split(".")[0] in OURS and vars(each).get(key) is old:
                    setattr(each, key, value)
    return changed


def shown(value: object) -> str:
    """What tells two constants apart: `repr` cuts a pattern after 200 characters."""
    return f"{value.pattern!r} {value.flags}" if isinstance(value, re.Pattern) else repr(value)


class Examination:
    """A pytest plugin instead of pytest's loop: runs all tests once, watching, then those that each mutant needs."""

    def __init__(self, path: Path, source: str, mutants: list[Mutant]) -> None:
        self.path, self.source, self.mutants = path, source, mutants
        self.result: dict[str, Any] = {"failed": "nothing was collected"}

    def pytest_runtestloop(self, session: Any) -> bool:
        reached: dict[str, list[int]] = {}
        seconds: dict[str, float] = {}
        self.result = {"reached": reached, "seconds": seconds, "outcomes": []}
        caches = live_caches()
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            lines: set[int] = set()
            for cache in caches:
                cache.cache_clear()
            started = time.process_time()
            with traced(str(self.path), lines):
                if not passes(item, following):
                    self.result = {"failed": item.nodeid}
                    return True
            seconds[item.nodeid] = time.process_time() - started
            reached[item.nodeid] = sorted(lines)
        functions = live_functions(self.path)
        gc.freeze()
        select = Selection(self.source, reached, seconds)
        for mutant in self.mutants:
            chosen = select.tests(mutant)
            if not chosen:
                self.result["outcomes"].append(None)
                continue
            items = sorted(
                (item for item in session.items if item.nodeid in chosen), key=lambda i: chosen.index(i.nodeid)
            )

            def run(mutant: Mutant = mutant, items: list[Any] = items) -> str | None:
                for cache in caches:
                    cache.cache_clear()
                if select.in_function(mutant):
                    changed = put_in(mutant, self.source, self.path, functions)
                else:
                    changed = select.is_assignment(mutant) and put_in_constants(mutant, self.path)
                return first_failing(items) if changed else None

            failed = forked(run, select.limit(chosen))
            if failed:
                select.killers[failed] += 1
            self.result["outcomes"].append(failed)
        return True


class Only:
    """A pytest plugin: runs the named tests, in this order, up to the first that fails."""

    def __init__(self, tests: list[str]) -> None:
        self.tests = tests
        self.failed = "import"

    def pytest_runtestloop(self, session: Any) -> bool:
        named = [item for item in session.items if item.nodeid in self.tests]
        if len(named) == len(self.tests):
            self.failed = first_failing(sorted(named, key=lambda item: self.tests.index(item.nodeid)))
        return True


def passes(item: Any, following: Any) -> bool:
    from _pytest.runner import runtestprotocol

    if hasattr(item, "_request"):
        item._initrequest()  # it ran before
    return not any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))


def first_failing(items: list[Any]) -> str:
    return next(
        (i.nodeid for i, following in zip(items, [*items[1:], None], strict=True) if not passes(i, following)), ""
    )


@contextlib.contextmanager
def traced(path: str, lines: set[int]) -> Iterator[None]:
    """Collects the lines of one file that are executed."""

    def in_frame(frame: Any, event: str, argument: Any) -> Any:
        lines.add(frame.f_lineno)
        return in_frame

    def trace(frame: Any, event: str, argument: Any) -> Any:
        return in_frame(frame, event, argument) if frame.f_code.co_filename == path else None

    sys.settrace(trace)
    threading.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]


class Selection:
    """Which tests a mutant needs, in which order, and how long they may take."""

    def __init__(self, source: str, reached: dict[str, list[int]], seconds: dict[str, float]) -> None:
        tree = ast.parse(source)
        self.reached, self.seconds = reached, seconds
        self.statements = statement_lines(tree)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        bodies = [(node.body[0].lineno, node.end_lineno or 0) for node in functions]
        self.inside = {line for first, last in bodies for line in range(first, last + 1)}
        assignments = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        self.targets = {
            line: getattr(node, "targets", None) or [node.target]  # type: ignore[union-attr]
            for node in assignments
            for line in range(node.lineno, (node.end_lineno or 0) + 1)
        }
        self.names: dict[str, set[int]] = defaultdict(set)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                self.names[node.id].add(node.lineno)
        self.killers: Counter[str] = Counter()

    def in_function(self, mutant: Mutant) -> bool:
        return mutant.line in self.inside

    def is_assignment(self, mutant: Mutant) -> bool:
        return mutant.line in self.targets

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that executed the changed statement, or the statements that use the changed constant."""
        lines = self.uses(mutant.line) or set(self.statements.get(mutant.line, [mutant.line]))
        everywhere = not self.in_function(mutant) and not self.uses(mutant.line)
        hit = [t for t, r in self.reached.items() if r and (everywhere or not lines.isdisjoint(r))]
        return sorted(hit, key=lambda test: (-self.killers[test], self.seconds[test]))

    def uses(self, line: int) -> set[int]:
        """Where functions use the constant that is assigned on a line; nothing where it makes other constants."""
        names = {target.id for target in self.targets.get(line, ()) if isinstance(target, ast.Name)}
        used = {line for name in names for line in self.names.get(name, ())} - set(self.statements.get(line, ()))
        return {inner for line in used for inner in self.statements[line]} if used <= self.inside else set()

    def limit(self, tests: list[str]) -> int:
        return 5 + int(4 * sum(self.seconds[test] for test in tests))


def forked(work: Any, seconds: int | None = None) -> Any:
    """What `work()` returns in a fork that may use that much processor time; TIMEOUT if it did not come to an end."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        if seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            signal.alarm(seconds * 20)  # what sleeps or waits for a lock uses no processor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        with os.fdopen(write, "w") as pipe:
            try:
                pipe.write(json.dumps(work()))
                pipe.flush()
            finally:
                os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else TIMEOUT


def pytest_with(plugin: Any, tests: list[str]) -> None:
    """`tests`: files or tests; with a `!` before it, one that is left out."""
    import pytest

    tests = [f"--deselect={test[1:]}" if test.startswith("!") else test for test in tests]
    pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "-p", "no:warnings", *tests], plugins=[plugin])


def examine(module: str, tests: list[str], every: int, log: Any) -> None:
    """Prints a module's survivors and its numbers."""
    path = ROOT / module
    name = module.removesuffix(".py").replace("/", ".")
    source = path.read_text(encoding="utf-8")
    started = time.monotonic()
    chosen = mutants(path, every)

    def together() -> Any:
        plugin = Examination(path, source, chosen)
        pytest_with(plugin, tests)
        return plugin.result

    def afresh(mutant: Mutant, needed: list[str]) -> str:
        sys.meta_path.insert(0, Replaced(name, path, mutant.text))
        plugin = Only(needed)
        pytest_with(plugin, sorted({test.split("::")[0] for test in needed}))
        return plugin.failed

    found = forked(together)
    if found == TIMEOUT or "failed" in found:
        raise SystemExit(f"{module}: its tests fail without a change: {found}")
    select = Selection(source, found["reached"], found["seconds"])
    select.killers.update(outcome for outcome in found["outcomes"] if outcome)
    counts = Counter(mutants=len(chosen), killed=0, survived=0)
    old = source.splitlines()
    for mutant, outcome in zip(chosen, found["outcomes"], strict=True):
        needed = select.tests(mutant)
        if outcome is None and needed:
            outcome = forked(lambda m=mutant, n=needed: afresh(m, n), select.limit(needed) + 20)
        status = "killed" if outcome else "survived"
        counts[status] += 1
        by = outcome or f"{len(needed)} tests reach it"
        change = {"old": old[mutant.line - 1].strip(), "new": mutant.text.splitlines()[mutant.line - 1].strip()}
        line = {
            "module": module,
            "line": mutant.line,
            "operator": mutant.operator,
            "status": status,
            "by": by,
            **change,
        }
        print(json.dumps(line), file=log, flush=True)
        if not outcome:
            print(
                f"{module}:{mutant.line} {mutant.operator}, {by}\n  - {change['old']}\n  + {change['new']}", flush=True
            )
    print(f"{module}: {dict(counts)}, {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="of those in .ci/mutation.toml; all")
    parser.add_argument("--cosmic-ray", metavar="DIR", help="where cosmic-ray is, if not in this environment")
    parser.add_argument(
        "--every", type=int, help="a sample: one mutant in so many (default: as .ci/mutation.toml says)"
    )
    parser.add_argument("--log", default=os.devnull, help="one JSON line a mutant")
    options = parser.parse_args()
    if options.cosmic_ray:
        sys.path.append(options.cosmic_ray)
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork takes no threads along
    config = tomllib.loads((ROOT / ".ci/mutation.toml").read_text(encoding="utf-8"))
    for group in config["group"]:
        wanted = [module for module in group["modules"] if not options.modules or module in options.modules]
        if wanted:
            for library in group["warm"]:  # once, so that no process pays for it again
                importlib.import_module(library)
        with open(options.log, "a", encoding="utf-8") as log:
            for module in wanted:
                examine(module, group["tests"], options.every or group.get("every", 1), log)


if __name__ == "__main__":
    main()

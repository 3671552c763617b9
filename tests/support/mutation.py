"""`make mutation`: a sample of small faults, each put into the engine's deciding modules, and whether a test sees it.

    python -m tests.support.mutation --sample 40 [MODULE ...]

mutmut makes the mutants and runs against each the tests that reach its function: first the quick ones of the rules
that its module keeps (`FIRST`), and where it lives through these all of them. The sample is the same on every machine:
of each module the mutants whose hashed names come first. What survives is printed with its change, to be killed by a
test or explained in docs/evidence.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MADE = ROOT / "mutants" / "scheduler_core"
STATS = ROOT / "mutants" / "mutmut-stats.json"
FIRST = {
    "ledger": ("feed", "fairness_rules", "taking_rules", "placement_rules", "backfill_rules"),
    "fairness": ("fair_shares", "fairness_rules"),
    "division": ("fair_shares",),
    "backfill": ("backfill_rules", "alternatives_rules", "answers", "due"),
    "takeback": ("taking_rules", "moving_rules", "resizing", "due"),
    "clearing": ("taking_rules",),
    "rights": ("taking_rules", "resizing"),
    "placement": ("placement_rules", "topology_rules", "slices", "fair_shares", "valuing"),
}
"""Module → the files of tests/core that speak of its rules: most mutants fall to one of these in a second."""
QUICK = 1.0
"""Seconds that a test of `FIRST` takes at most. It decides the order of tests and no result."""
MODULES = tuple(FIRST)
EXAMPLES = "10"
"""Of each property test: a mutant that lives through these and every example-based test is asked again with more."""
KILLED = frozenset({1, 2, 3})
"""Exit codes of pytest: tests failed, were interrupted, or could not be collected."""


def main() -> int:
    """Survivors are printed; the exit status is 1 where there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument(
        "--sample", type=int, default=40, help="mutants of each module; 0 takes all (default 40)"
    )
    parser.add_argument("--examples", default=EXAMPLES, help=f"of each property test (default {EXAMPLES})")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"not mutated: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    os.environ["FLEXAI_TEST_EXAMPLES"] = options.examples
    make_mutants()
    chosen = [name for module in options.modules for name in sample(module, options.sample)]
    whole = STATS.read_text()
    STATS.write_text(json.dumps(quick_ones_alone(json.loads(whole))))
    run(chosen)
    STATS.write_text(whole)
    if lived := [name for name in chosen if outcomes(name.split(".")[1])[name] == 0]:
        run(lived)
    return 1 if report(options.modules, set(chosen)) else 0


def make_mutants() -> None:
    """Every mutant lies in `mutants/`, and it is known which tests reach which function. One is run: mutmut
    offers no other way to make them."""
    mutmut("run", "scheduler_core.division.x_*__mutmut_1")


def quick_ones_alone(stats: dict[str, Any]) -> dict[str, Any]:
    """What mutmut knows of the tests, with the quick ones of `FIRST` alone for each function that any of them reach."""
    took, reach = stats["duration_by_test"], stats["tests_by_mangled_function_name"]
    for function, tests in reach.items():
        files = tuple(f"tests/core/test_{name}.py" for name in FIRST[function.split(".")[1]])
        reach[function] = [test for test in tests if test.startswith(files) and took[test] <= QUICK] or tests
    return stats


def run(mutants: list[str]) -> None:
    """Each of them has met its tests."""
    mutmut("run", "--max-children", str(os.cpu_count() or 1), *mutants)


def sample(module: str, size: int) -> list[str]:
    """So many mutants of the module, or all of them for 0."""
    names = sorted(outcomes(module), key=lambda name: hashlib.blake2b(name.encode()).digest())
    return names[:size] if size else names


def outcomes(module: str) -> dict[str, int | None]:
    """Mutant → exit code of its tests, None where it was not run."""
    found: dict[str, int | None] = json.loads((MADE / f"{module}.py.meta").read_text())["exit_code_by_key"]
    return found


def report(modules: list[str], chosen: set[str]) -> list[str]:
    """A line for each module and the change of each mutant that lived; answers their names. Exits where some were
    not run."""
    lived = []
    for module in modules:
        codes = {name: code for name, code in outcomes(module).items() if name in chosen}
        if missed := [name for name, code in codes.items() if code is None]:
            sys.exit(f"{len(missed)} mutants of {module} were not run; what mutmut says above tells why.")
        alive = sorted(name for name, code in codes.items() if code == 0)
        killed = sum(code in KILLED for code in codes.values())
        others = len(codes) - killed - len(alive)
        print(
            f"{module:10} {len(codes):4} mutants {killed:4} killed {others:3} by time or crash {len(alive):3} lived"
        )
        lived += alive
    for name in lived:
        mutmut("show", name)
    return lived


def mutmut(*arguments: str) -> None:
    """Run in the root of the project; a survivor is no failure of it."""
    subprocess.run([str(Path(sys.executable).parent / "mutmut"), *arguments], cwd=ROOT, check=False)


if __name__ == "__main__":
    sys.exit(main())

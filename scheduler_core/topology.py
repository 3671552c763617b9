"""Which nodes may serve a gang together (P2): the domains of the topology, in the order to try.

A domain is all nodes whose topology begins with the same parts (Q4). Every domain in which the gang fits is
among them, so that the first that takes it whole is found; nothing is searched beyond one pass over the nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from typing import TypeAlias

from scheduler_core.ledger import Ledger
from scheduler_core.model import Gang, Id, Node, Placement

Domain: TypeAlias = tuple[tuple[str, ...], Id]
"""What its nodes have in common: the first parts of their topology; a node's id where it is one by itself."""


def domains_in_order(gang: Gang, ledger: Ledger, fitting: Iterable[Id]) -> Iterator[Set[Id] | None]:
    """Sets of nodes for all replicas of the gang, of those that can take one: first the domains that are as
    narrow as it prefers (`near`), then those that it requires (`within`), or any nodes where it requires none.
    """
    nodes = list(fitting)
    within = gang.within or 0
    if gang.near is not None and gang.near > within:
        yield from _domains(gang.near, gang, ledger, nodes)
    if within:
        yield from _domains(within, gang, ledger, nodes)
    else:
        yield None


def together(ledger: Ledger, parts: int, placements: Iterable[Placement]) -> bool:
    """Whether all these replicas sit in one domain of so many parts."""
    return len({domain_of(ledger.nodes[placement.node], parts) for placement in placements}) == 1


def domain_of(node: Node, parts: int) -> Domain:
    """What nodes in one domain have in common. A node whose topology is not told so far is one by itself."""
    return (node.topology[:parts], node.id if len(node.topology) < parts else 0)


def _domains(parts: int, gang: Gang, ledger: Ledger, nodes: Iterable[Id]) -> list[set[Id]]:
    """The domains of so many parts. Those with room for the most replicas first, up to what the gang wants;
    of these the smallest, so that larger ones stay whole; then by name.

    """
    found: defaultdict[Domain, set[Id]] = defaultdict(set)
    for node in nodes:
        found[domain_of(ledger.nodes[node], parts)].add(node)
    names = sorted(found, key=lambda name: (-min(len(found[name]), gang.maximum), len(found[name]), name))
    return [found[name] for name in names]

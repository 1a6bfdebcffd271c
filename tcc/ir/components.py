"""Components of graphs of e-classes: small enough not to be worth importing a graph library for each compilation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping


def strongly_connected(needs: Mapping[int, Collection[int]]) -> list[frozenset[int]]:
    """The strongly connected components, each after those that it needs (Tarjan 1972, without recursion).

    Args:
        needs: for each node those that it points to, all of them keys.
    """
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    found: list[frozenset[int]] = []
    for root in needs:
        if root in index:
            continue
        work = [(root, iter(needs[root]))]
        while work:
            node, rest = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                path.append(node)
                on_path.add(node)
            for following in rest:
                if following not in index:
                    work.append((following, iter(needs[following])))
                    break
                if following in on_path:
                    low[node] = min(low[node], index[following])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    found.append(frozenset(_until(path, node)))
                    on_path -= found[-1]
    return found


def _until(path: list[int], node: int) -> Iterator[int]:
    """The nodes from the end of the path to this one, which leave it."""
    while (last := path.pop()) != node:
        yield last
    yield node


def connected(nodes: Iterable[int], edges: Iterable[Iterable[int]]) -> list[tuple[int, ...]]:
    """The components of an undirected graph, sorted; each of ``edges`` joins all the nodes that it names."""
    leader = {node: node for node in nodes}

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = node = leader[leader[node]]
        return node

    for edge in edges:
        first, *others = map(find, edge)
        for other in others:
            leader[find(other)] = find(first)
    groups: dict[int, list[int]] = {}
    for node in sorted(leader):
        groups.setdefault(find(node), []).append(node)
    return sorted(map(tuple, groups.values()))

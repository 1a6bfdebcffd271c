"""Components, against a graph library's."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from tcc.ir.components import connected, strongly_connected

NODES = 12
EDGES = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=40)


@given(EDGES)
def test_strongly_connected_components_come_after_what_they_need(edges: list[tuple[int, int]]) -> None:
    needs: dict[int, list[int]] = {node: [b for a, b in edges if a == node] for node in range(NODES)}
    found = strongly_connected(needs)
    graph = nx.DiGraph(edges)
    graph.add_nodes_from(range(NODES))
    assert set(found) == {frozenset(group) for group in nx.strongly_connected_components(graph)}
    place = {node: i for i, group in enumerate(found) for node in group}
    assert all(place[b] <= place[a] for a, b in edges)


@given(EDGES)
def test_connected_components_are_sorted(edges: list[tuple[int, int]]) -> None:
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(NODES))
    assert connected(range(NODES), edges) == sorted(tuple(sorted(group)) for group in nx.connected_components(graph))


def test_a_long_chain_needs_no_recursion() -> None:
    length = 50_000
    assert len(strongly_connected({i: [i + 1] if i < length else [] for i in range(length + 1)})) == length + 1

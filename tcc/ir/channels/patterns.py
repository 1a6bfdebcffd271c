"""Ties written as text, in the notation of einops: ``n (g i) ~, (g o) i ~, (g o) -> n (g o) ~``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping

from tcc.ir.channels.links import Factors, Link, Reduction, tied
from tcc.ir.channels.site import Site

_TERM = re.compile(r"\([^)]*\)|\S+")
_OPAQUE = "_"
_REST_OPAQUE = "~"
_REST = "*"

SizesOf = Callable[[Site], Mapping[str, int]]


def pattern(
    text: str,
    *,
    sizes: SizesOf | None = None,
    rigid: Iterable[str] = (),
    reduced: Mapping[str, Reduction] | None = None,
    places: Mapping[str, tuple[int, int]] | None = None,
) -> Callable[[Site], list[Link]]:
    """The links that a text describes.

    Operands are separated by commas, outputs follow ``->``; absent ones are skipped. Each axis is a term: a factor, a
    product ``(g i)``, a number (a factor that cannot shrink), ``_`` for an axis that cannot be followed, ``.`` in the
    place of an operand that nothing is said about. ``~`` stands for any number of further axes that cannot be
    followed, ``*`` for any number that pass through one by one. Only these let an operand have more axes than
    terms.

    Args:
        text: the pattern.
        sizes: sizes of factors that the shapes do not tell.
        rigid: factors whose indices cannot be removed.
        reduced: factors whose indices the operator combines.
        places: the port and axis where a factor is combined, where it is not wherever an input has it.
    """

    def links(site: Site) -> list[Link]:
        ports = [(port, terms) for port, terms in _parse(text) if site.port(port) is not None and terms != (".",)]
        operands = [(port, _axes(terms, len(site.port_shape(port) or ()))) for port, terms in ports]
        return tied(site, operands, sizes(site) if sizes else {}, rigid=rigid, reduced=reduced, places=places)

    return links


@functools.cache
def _parse(text: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
    inputs, _, outputs = text.partition("->")
    ports = [(i, tuple(_TERM.findall(part))) for i, part in enumerate(inputs.split(","))]
    ports += [(~i, tuple(_TERM.findall(part))) for i, part in enumerate(outputs.split(","))]
    return tuple(ports)


def _axes(terms: tuple[str, ...], rank: int) -> list[Factors | None]:
    """The factors of each axis; a rest takes what the other terms leave."""
    axes: list[Factors | None] = []
    extra = rank - len(terms) + 1
    for term in terms:
        if term == _REST_OPAQUE:
            axes += [None] * extra
        elif term == _REST:
            axes += [(f"*{i}",) for i in range(extra)]
        elif term == _OPAQUE:
            axes.append(None)
        else:
            axes.append(tuple(term.strip("()").split()))
    return axes

"""The U of a network whose resolution falls and rises again, with skips between equal levels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gradviz.chain.columns import ranks

from .view import Arrow, Bend

FAR = 3  # so many columns a skip leaps over; a shorter one goes around a block
LEVELS = 2  # so many skips make a U


def bend_of(
    arrows: Collection[Arrow], count: Mapping[str, int], sent: Mapping[str, tuple[int, ...]]
) -> Bend | None:
    """Which boxes rise, if skips lie in each other, of lower resolution the further inside.

    Parameters
    ----------
    arrows : collection of Arrow
    count : dict of str to int
        The numbers of the boxes by their ids.
    sent : dict of str to tuple
        The shape of what passes, of the arrows that a gradient comes back by.
    """
    rank = ranks(len(count), [(count[a.tail], count[a.head]) for a in arrows])
    place = {i: rank[n] for i, n in count.items()}

    def is_inside(a: Arrow, b: Arrow) -> bool:
        near, far = sent[a.id], sent[b.id]
        return (
            place[b.tail] < place[a.tail] < place[a.head] < place[b.head]
            and len(near) == len(far)
            and near[-1] < far[-1]
        )

    leaving: dict[str, set[tuple[int, ...]]] = {}
    for arrow in arrows:
        leaving.setdefault(arrow.tail, set()).add(sent.get(arrow.id, ())[-1:])
    skips = [
        arrow for arrow in arrows
        if len(sent.get(arrow.id, ())) > 2 and place[arrow.head] - place[arrow.tail] >= FAR
        and sent[arrow.id][-1:] in leaving.get(arrow.head, ())  # where it ends, it is joined
    ]  # fmt: skip
    skips.sort(key=lambda arrow: place[arrow.tail] - place[arrow.head])  # outer ones first
    nests: list[list[Arrow]] = []
    for arrow in skips:
        around = [nest for nest in nests if is_inside(arrow, nest[-1])]
        nests.append([*max(around, key=len, default=[]), arrow])
    nest = max(nests, key=len, default=[])
    if len(nest) < LEVELS:
        return None
    deepest = (place[nest[-1].tail] + place[nest[-1].head]) // 2
    rising = frozenset(i for i, at in place.items() if at >= deepest)
    turns = [a for a in arrows if a.head in rising and a.tail not in rising and a not in nest]
    turn = max(turns, key=lambda arrow: place[arrow.tail])
    return Bend(rising, frozenset(arrow.id for arrow in (*nest, turn)))

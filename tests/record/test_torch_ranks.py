"""Trainings on several ranks, started by `torchrun` on this machine; see `rank_programs`."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch.distributed.fsdp")
if not torch.distributed.is_available() or sys.platform != "linux":
    pytest.skip("several processes of torch.distributed, on Linux", allow_module_level=True)

import gradviz as gv
from gradviz.rank import Held, Rank

PROGRAM = Path(__file__).with_name("rank_programs.py")


def launched(scenario, count, folder):
    """What each rank wrote down; one that died, nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    command += ["--master-addr", "127.0.0.1", "--master-port", port, PROGRAM, scenario, folder]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(gv.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    said = [folder / f"said-{rank}.json" for rank in range(count)]
    assert said[0].exists(), done.stderr[-4000:]
    return [json.loads(s.read_text(encoding="utf-8")) if s.exists() else None for s in said]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, launched("two", 2, folder)


@pytest.mark.parametrize("kind", ["ddp", "unused", "fsdp"])
def test_recorded_or_watched_a_training_on_two_ranks_is_the_same_to_the_bit(two, kind):
    for said in two[1]:
        told = said[kind]
        assert told["recorded alike"]
        assert told["watched alike"]
        assert told["spoilt alike"]


@pytest.mark.parametrize("kind", ["ddp", "unused", "fsdp"])
def test_gathered_gradients_are_those_by_hand_before_and_after_the_reduction(two, kind):
    first, second = two[1][0][kind], two[1][1][kind]
    for name, (before, reduced, unused) in first["rows"].items():
        own, mean = zip(first["by hand"][name], second["by hand"][name], strict=True)
        known = [[size or 0 for size in sizes] for sizes in (before, own)]
        assert known[0] == pytest.approx(known[1], rel=1e-5)
        assert [size is None for size in before] == [size is None for size in own]
        assert reduced == pytest.approx(mean[0], rel=1e-5)
        assert unused == [rank for rank in range(2) if own[rank] is None]
    assert any(one[2] for one in first["rows"].values()) == (kind == "unused")


@pytest.mark.parametrize("kind", ["ddp", "unused", "fsdp"])
def test_a_number_that_one_rank_makes_infinite_is_found_there_and_nowhere_else(two, kind):
    folder, (first, second) = two
    sick = first[kind]["kinds"]
    assert [("non-finite value" in kinds) for kinds in sick] == [False, False, False, True, True]
    rank, operation, _, code = first[kind]["first"]
    assert (rank, operation) == (1, "log")
    assert "torch.log(x[:, 0].abs())" in code
    (own,), (other,) = second[kind]["reports"], first[kind]["reports"]
    assert own[:3] == [3, 1, "step-3-rank-1"]
    assert "log of 0" in own[3]
    assert other[:3] == [3, 0, "step-3-rank-0"]
    assert "came from another rank" in other[3]
    assert [own[4], other[4]] == [True, True]  # both replays are the step
    graphs = [gv.load(folder / kind / "watch" / f"step-3-rank-{n}" / "graph.json") for n in (1, 0)]
    ranks = gv.gather(graphs)  # afterwards, out of the reports
    assert (ranks.first.rank, ranks.first.operation) == (1, "log")
    assert not np.isfinite(ranks.rows[0].after).any()


def test_a_step_that_only_one_rank_makes_again_keeps_nobody_waiting(two):
    for kind, replayed in (("ddp", True), ("unused", True), ("fsdp", False)):
        assert two[1][0][kind]["spoilt"] == []
        ((step, rank, _, _, exact, lost),) = two[1][1][kind]["spoilt"]
        assert (step, rank, exact) == (3, 1, replayed)
        assert replayed or "rank 0 is not there within 1 s" in lost[0]


def test_a_trace_runs_alone_where_it_can_and_else_with_all_ranks(two):
    first, second = (said["traced"] for said in two[1])
    assert first["ddp alone"] > 10
    assert "needs all ranks" in first["fsdp alone"]
    for said, kinds in ((first, two[1][0]), (second, two[1][1])):
        by_hand = {name: own for name, (own, _) in kinds["ddp"]["by hand"].items()}
        for kind in ("ddp", "fsdp"):
            assert said[f"{kind} alike"]
            assert said[f"{kind} gradients"] == pytest.approx(by_hand, rel=1e-5)


def test_parts_of_a_tensor_parallel_model_add_up_to_the_whole_gradient(two):
    first, second = (said["tensor"] for said in two[1])
    assert first["alike"]
    assert second["alike"]
    assert first["rows"] == pytest.approx(first["by hand"], rel=1e-4)
    assert first["ok"]


def test_the_stages_of_a_pipeline_are_recorded_and_watched(two):
    for rank, said in enumerate(two[1]):
        assert said["pipeline"]["recorded alike"]
        assert said["pipeline"]["watched alike"]
        ((_, by, _, text, exact, _),) = said["pipeline"]["reports"]
        assert by == rank
        assert exact
        assert ("log of a negative number" in text) == (rank == 1)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    return folder, launched("four", 4, folder)


def test_parts_that_two_of_four_ranks_hold_twice_are_gathered_and_watched(four):
    ranks = [said["hybrid"] for said in four[1] if said]
    assert len(ranks) == 3  # one has died since
    for told in ranks:
        assert told["recorded alike"]
        assert told["watched alike"]
        assert told["spoilt alike"]
    first = ranks[0]["first"]
    assert (first[0], first[1]) == (1, "log")
    for name, (before, reduced, _) in ranks[0]["rows"].items():
        own, mean = ranks[0]["by hand"][name]
        assert (len(before), before[0]) == (4, pytest.approx(own, rel=1e-5))
        assert reduced == pytest.approx(mean, rel=1e-5)


def test_of_four_ranks_one_parts_one_is_late_and_one_dies_and_rank_0_tells_which(four):
    tmp_path, (first, *others) = four
    assert others[1] is None
    assert [others[n]["whole"] for n in (0, 2)] == [None, None]
    text, missing, kinds = first["whole"]
    assert missing == []
    assert kinds == ["ranks diverge", "unused parameter", "uneven batch"]
    assert "rank 3 holds other numbers than the others in 1 parameter" in text
    assert "no gradient on rank 0, but on ranks 1 to 3" in text
    assert (first["late"][1], first["in time"][1], first["dead"][1]) == ([1], [], [2])
    assert "rank 2 has not answered within 2 s" in first["dead"][0]
    assert "rank 1 has not answered" not in first["dead"][0]
    saved = [gv.load(tmp_path / f"graph-{rank}.json") for rank in (2, 0, 3, 1)]
    assert gv.gather(saved).text == text


def with_rank(graph, number, world, **held):
    other = graph.with_values((node.value for node in graph.values), graph.of_run())
    other.rank = Rank(number, world, held, {})
    return other


def test_gathered_graphs_are_told_drawn_and_saved(tmp_path):
    """Of many ranks and parameters, and of names from outside, in the house's one form."""
    rng = np.random.default_rng(0)
    names = [f"layer{n}.<b>&w" for n in range(50)]

    def loss(**given):
        return sum(np.sum(given[name] ** 2) for name in names[:-1])

    graph = gv.trace(loss, **{name: rng.normal(size=2) for name in names})
    ranks = gv.gather([with_rank(graph, number, 70) for number in range(0, 70, 2)])
    assert ranks.missing == tuple(range(1, 70, 2))
    assert ranks.text == str(ranks) == ranks._repr_mimebundle_()["text/plain"]
    assert len(repr(ranks).splitlines()) == 1
    svg = ranks.draw(theme="dark").svg
    assert "<b>" not in svg
    assert svg == ranks.draw(theme="dark").svg
    for suffix in ("svg", "png", "txt"):
        assert ranks.save(tmp_path / f"ranks.{suffix}").stat().st_size > 100
    with pytest.raises(ValueError, match=r"\.dot"):
        ranks.save(tmp_path / "ranks.dot")


def test_parts_are_summed_in_quadrature_and_copies_counted_once():
    graph = gv.expression("w * x", w=2.0, x=3.0)
    sizes = [3.0, 4.0, 3.0, 4.0]  # two parts, each on two ranks
    ranks = gv.gather(
        [with_rank(graph, n, 4, w=Held("sharded", 2, None, s)) for n, s in enumerate(sizes)]
    )
    row = next(row for row in ranks.rows if row.name == "w")
    assert (row.reduced, row.odd) == (5.0, ())
    sizes = [1.0, 1.0, 2.0]
    ranks = gv.gather(
        [with_rank(graph, n, 3, w=Held("replicated", 3, 7, s)) for n, s in enumerate(sizes)]
    )
    assert [f.kind for f in ranks.findings] == ["reduction differs"]
    assert not ranks
    assert dataclasses.is_dataclass(ranks.findings[0])


def test_what_cannot_be_gathered_is_refused():
    graph = gv.expression("w * x", w=2.0, x=3.0)
    assert gv.gather(graph).present == (0,)  # this process is alone
    with pytest.raises(TypeError, match="needs Graphs"):
        gv.gather([graph, 3])
    with pytest.raises(ValueError, match="none"):
        gv.gather([])
    with pytest.raises(ValueError, match="two Graphs of rank 1"):
        gv.gather([with_rank(graph, 1, 2), with_rank(graph, 1, 2)])
    with pytest.raises(ValueError, match="timeout"):
        gv.gather(graph, timeout=-1)

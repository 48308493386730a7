"""Pictures of PyTorch programs: what edges say, short names in scopes, sick models folded."""

from __future__ import annotations

import re

import networkx as nx
import numpy as np
import pytest

import gradviz as gv
from gradviz.statistics import measure

torch = pytest.importorskip("torch")
import torch.nn.functional as F
import torch_programs
from torch import nn


def trace(name, **options):
    torch.manual_seed(0)
    model, args, loss = torch_programs.PROGRAMS.get(name, getattr(torch_programs, name, None))()
    return gv.trace(model, *args, loss=loss, **options)


def arrows(view):
    names = {box.id: box.title or box.name for box in view.boxes}
    return {(names[arrow.tail], names[arrow.head]): arrow for arrow in view.arrows}


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_an_edge_without_a_formula_says_the_norm_of_its_message(capture, tmp_path):
    graph = trace("convolutions", capture=capture)
    graph.save(tmp_path / "g.json")
    for shown in (graph, gv.load(tmp_path / "g.json")):
        view = shown.draw(budget=100).view
        arrow = arrows(view)["relu", "max_pool2d"]
        i = shown.id("max_pool2d")
        sent = shown.derivatives.messages[i, 0]
        norm = sent.norm if capture == "lean" else float((sent**2).sum()) ** 0.5
        assert (arrow.symbol, arrow.number[:4]) == ("", "‖·‖ ")
        assert float(arrow.number[4:]) == pytest.approx(norm, rel=1e-2)
        assert float(arrow.tooltip.split("its norm: ")[1]) == pytest.approx(norm)
        assert "message: 2×4×6×6 float32: min " in arrow.tooltip
        assert not any("vjp" in arrow.symbol for arrow in view.arrows)
        assert any("‖·‖ of the message" in words for _, words in view.legend)
    back = graph.draw(backward="alone", budget=100).view
    assert any(arrow.number.startswith("‖·‖ ") for arrow in back.arrows)


def test_inside_its_scope_a_value_is_called_by_what_follows_the_scopes_path():
    graph = trace("resnet")
    plain = trace("convolutions").draw(budget=100)
    titles = {box.name: box.title for box in plain.view.boxes}
    assert titles["1.running_mean"] == "running_mean"
    assert titles["input"] == "input"
    drawn = graph.draw(unfold="layer1.0.conv1.weight")
    box = next(box for box in drawn.view.boxes if box.name == "layer1.0.conv1.weight")
    assert box.scope == (
        "layer1 · 2 × Residual",
        "layer1.0 · Residual",
        "conv1 · Conv2d 64 → 64, 3×3",
    )
    assert box.title == "weight"
    assert box.tooltip.startswith("layer1.0.conv1.weight\n")
    values = [box for box in drawn.view.boxes if box.kind != "fold"]
    assert len({box.name for box in values}) == len(values)
    convolution = next(box for box in values if box.name == "layer1.0.conv1.conv2d")
    assert convolution.title == "conv2d"
    assert "layer1.0.conv1.weight" in drawn.text


def sick_resnet():
    torch.manual_seed(0)
    model, args, loss = torch_programs.resnet()
    with torch.no_grad():
        model.layer3[1].conv2.weight[0, 0, 0, 0] = torch.nan
    return gv.trace(model, *args, loss=loss)


def test_what_is_wrong_with_a_large_model_is_seen_at_its_folds_and_opened():
    health = sick_resnet().diagnose()
    drawing = health.draw()
    assert "non-finite value" in drawing.svg
    boxes = {box.name: box for box in drawing.view.boxes}
    assert len(boxes) <= 40
    assert (boxes["layer3"].role, boxes["layer3"].badge) == ("sick", "non-finite value")
    assert boxes["layer4"].role == "path 1"
    assert boxes["layer4"].badge.endswith("not finite")
    assert ("sick", "to blame") in drawing.view.legend

    drawing = health.findings[0].draw()
    assert "</svg>" in drawing.svg
    assert len(drawing.view.boxes) <= 60  # what is laid out stays small
    box = next(box for box in drawing.view.boxes if box.name == health.findings[0].name)
    assert (box.title, box.role, box.badge) == ("weight", "sick", "non-finite value")
    assert not any(arrow.hidden for arrow in drawing.view.arrows)
    assert len(drawing.view.boxes) <= 40
    assert drawing.view.direction == "TB"


def test_a_lean_graph_becomes_a_page(tmp_path):
    graph = trace("convolutions", capture="lean")
    graph.save(tmp_path / "g.html")
    assert "‖·‖" in (tmp_path / "g.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_norm_is_not_zero_where_only_its_square_is(dtype):
    tiny = np.full(100_000, 1e-30 if dtype is np.float32 else 1e-200, dtype)
    tiny[0] = 0
    expected = np.linalg.norm(tiny.astype(np.longdouble))
    assert measure(tiny).norm == pytest.approx(float(expected), rel=1e-6)
    assert measure(np.zeros(10, dtype)).norm == 0


X = torch.arange(1.0, 65.0).reshape(1, 4, 4, 4) / 64


@pytest.mark.parametrize(
    ("call", "again", "told"),
    [
        (lambda x: x.softmax(1), torch.softmax, {"dim": 1}),
        (lambda x: torch.softmax(x, -1), torch.softmax, {"dim": -1}),
        (lambda x: x.transpose(1, 2), torch.transpose, {"dim0": 1, "dim1": 2}),
        (lambda x: x.permute(0, 2, 3, 1), torch.permute, {"dims": (0, 2, 3, 1)}),
        (lambda x: x.sum((1, 2), keepdim=True), torch.sum, {"dim": (1, 2), "keepdim": True}),
        (lambda x: x.std(1), torch.std, {"dim": 1}),
        (lambda x: x.var(1, False), torch.var, {"dim": 1, "unbiased": False}),
        (lambda x: x.roll(1, 2), torch.roll, {"shifts": 1, "dims": 2}),
        (lambda x: x.clamp(0.2, 0.6), torch.clamp, {"min": 0.2, "max": 0.6}),
        (lambda x: x.flatten(1), torch.flatten, {"start_dim": 1}),
        (lambda x: x.tril(-1), torch.tril, {"diagonal": -1}),
        (lambda x: x.sum(), torch.sum, {}),
        (nn.MaxPool2d(3, 2, 1), F.max_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1}),
        (nn.LeakyReLU(0.3), F.leaky_relu, {"negative_slope": 0.3}),
        (nn.GELU("tanh"), F.gelu, {"approximate": "tanh"}),
        (nn.LogSoftmax(2), F.log_softmax, {"dim": 2}),
    ],
)  # fmt: skip
def test_what_a_call_was_told_stands_in_the_picture_by_its_right_name(call, again, told):
    graph = gv.trace(lambda x: call(x).sin().sum(), X.clone().requires_grad_())
    node = next(node for node in graph.values if node.operands)
    assert node.keywords == told
    assert np.array_equal(node.value, again(X, **node.keywords).numpy())
    text = graph.draw().text
    for name, value in told.items():  # formulas leave out what is not done
        assert value is False or f"{name}={value!r}" in text


def test_a_layer_tells_its_stride_and_groups_and_no_default():
    layer = nn.Conv2d(4, 4, 3, stride=(2, 1), padding=1, groups=2)
    graph = gv.trace(layer, X, loss=lambda y: y.sum(), capture="lean")
    node = next(node for node in graph.values if node.operands)
    assert node.keywords == {"stride": (2, 1), "padding": 1, "groups": 2}


def layered():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)]
    return gv.trace(nn.Sequential(*layers), torch.randn(3, 4), loss=lambda out: out.square().mean())


def told(text, start):
    return next(line for line in text.splitlines() if f". {start}" in line)


def test_the_text_of_a_layer_says_which_number_is_whose_norm():
    g = layered()
    value, gradient = (float(np.linalg.norm(of("0.weight"))) for of in (g.value, g.grad))
    line = told(g.draw().text, "0 (Linear, 4 → 8)")
    found = re.search(r"weight 8×4 \(‖value‖ (\S+), ‖gradient‖ (\S+)\)", line)
    assert [float(n) for n in found.groups()] == pytest.approx([value, gradient], rel=1e-2)


def test_each_pass_of_a_picture_of_layers_has_its_own_norms():
    g = layered()
    ahead, behind = g.draw(backward="beside").text.split("Backward pass: gradients.")
    for text, array in ((ahead, g.value("0.weight")), (behind, g.grad("0.weight"))):
        found = re.search(r"weight 8×4 ‖·‖ ([\d.e-]+[\de])", told(text, "0 (Linear, 4 → 8)"))
        assert float(found[1]) == pytest.approx(float(np.linalg.norm(array)), rel=1e-2)


def test_what_a_check_proves_is_marked_in_its_layer_and_told():
    drawn = layered().check().draw()
    rows = [row for box in drawn.view.boxes if box.kind == "layer" for row in box.rows]
    assert {row.label for row in rows} > {"output", "weight 8×4", "bias 8"}
    assert all(row.mark for row in rows)
    assert "weight 8×4" in told(drawn.text, "0 (").partition(", proved, ")[2]


def test_the_text_of_layers_says_what_the_picture_points_out():
    text = layered().reuse("4.weight", "0.weight").draw().text
    assert "target" in told(text, "0 (Linear, 4 → 8")
    assert "upstream term, computed once" in told(text, "2 (Linear, 8 → 8")
    assert "not needed" in told(text, "input (")


def test_a_mask_of_minus_infinity_that_is_still_to_be_cut_is_no_alarm():
    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Linear(4, 4)

        def forward(self, x):
            mask = torch.full((3, 3), float("-inf")).triu(1)
            query = self.query(x)
            return torch.softmax(query @ query.T + mask, -1).pow(2).sum()

    graph = gv.trace(Causal(), torch.ones(3, 4), capture="lean")
    assert {box.role for box in graph.draw().view.boxes} == {""}
    sick = gv.trace(nn.Linear(2, 1), torch.tensor([[1.0, -torch.inf]]), loss=torch.sum)
    assert "sick" in {box.role for box in sick.draw().view.boxes}


def test_parameters_that_the_run_had_no_use_for_are_one_box_of_their_layer():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Linear(4, 4)
            self.cross = nn.ModuleDict({"query": nn.Linear(4, 4), "key": nn.Linear(4, 4)})

        def forward(self, x, memory=None):
            x = self.used(x).relu()
            return x if memory is None else x + self.cross["query"](x) * self.cross["key"](memory)

    layers = nn.Sequential(*(Decoder() for _ in range(2)), nn.Linear(4, 1))
    graph = gv.trace(layers, torch.ones(3, 4), loss=torch.sum)
    box, _ = [box for box in graph.draw().view.boxes if box.title == "cross"]
    assert box.expression == "not used"
    kinds = "weight 4×4", "bias 4"
    rows = [f"{name}.{kind}" for name in ("query", "key") for kind in kinds]  # and no output
    assert [row.label for row in box.rows] == rows
    assert {row.cells[1] for row in box.rows} == {"no path to J"}
    assert not any(
        "cross" in box.name for box in graph.draw().view.boxes if box.kind == "parameter"
    )
    opened = {box.name for box in graph.draw(unfold=box.name).view.boxes}
    assert {f"{box.name}/cross/query", f"{box.name}/cross/key"} <= opened


def test_a_layer_of_lists_in_lists_is_called_by_the_way_to_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            stem = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
            self.s_1 = nn.Sequential(stem, nn.Sequential(nn.Linear(8, 8), nn.ReLU()))

        def forward(self, x):
            return self.s_1(x).sum()

    drawn = gv.trace(Net(), torch.randn(2, 4)).draw()
    assert {"s_1.0.0", "s_1.0.1", "s_1.1.0"} <= {box.title for box in drawn.view.boxes}
    assert ">s_1 · 2 × Sequential<" in drawn.svg  # an attribute is no symbol


def test_what_nothing_reads_says_its_own_size_and_a_form_of_a_value_is_with_it():
    class Head(nn.Linear):
        def forward(self, x):
            return super().forward(x).tanh()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.unread = nn.Linear(4, 4), nn.Linear(4, 4), Head(4, 3)

        def forward(self, x):
            h = self.first(x)
            seen["unread"] = self.unread(h)
            h.t().contiguous()
            return self.last(h).sum()

    seen: dict = {}
    view = gv.trace(Net(), torch.randn(2, 4)).draw().view
    titles = [box.title for box in view.boxes]
    assert not {"t", "contiguous"} & {*titles}
    box = view.boxes[titles.index("unread")]
    assert float(box.rows[0].cells[0]) == pytest.approx(seen["unread"].norm().item(), rel=1e-2)
    assert box.rows[0].cells[1] == "no path to J"


def test_words_of_a_loop_are_in_the_readers_language():
    model, args, loss = trace_arguments()
    view = gv.trace(model, *args, loss=loss).draw(language="zh").view
    assert {"循环 · 6 次", "迭代 1"} <= {scope for box in view.boxes for scope in box.scope}


def trace_arguments():
    torch.manual_seed(0)
    cell, head = nn.GRUCell(3, 8), nn.Linear(8, 2)

    def run(x):
        h = torch.zeros(1, 8)
        for n in range(6):
            h = torch.tanh(cell(x[n : n + 1], h))
        return head(h)

    return run, (torch.randn(6, 3),), lambda o: o.square().sum()


def test_the_output_of_a_layer_is_told_without_the_parameters_that_another_call_reads():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.f, self.g = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            first = self.f(x)
            first.retain_grad()
            seen.append(first)
            return self.f(self.g(first).tanh()).sum()

    torch.manual_seed(0)
    net, x, seen = Net(), torch.randn(4, 3), []
    drawn = gv.trace(net, x).draw()
    net(x).backward()
    box = next(box for box in drawn.view.boxes if box.title == "f")
    told = [float(cell) for cell in box.rows[0].cells]
    sizes = [seen[-1].detach().norm().item(), seen[-1].grad.norm().item()]
    assert told == pytest.approx(sizes, rel=1e-2)


def test_a_layer_without_gradients_in_a_bare_list_is_called_by_its_class():
    net = nn.Sequential(nn.Softmax(-1), nn.Linear(3, 2))
    view = gv.trace(net, torch.randn(4, 3), loss=torch.sum).draw().view
    assert [box.title for box in view.boxes] == ["input", "Softmax", "Linear", "J"]


def test_a_call_without_gradients_has_none_though_its_parameters_do():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 3), torch.randn(4, 3)

    def run(x):
        with torch.no_grad():
            z = layer(x).tanh()
        return layer(z).sum()

    view = gv.trace(run, x).draw().view
    first = next(box for box in view.boxes if len(box.rows) == 3)
    assert (first.title, first.expression) == ("z", "")
    assert first.rows[0].cells[1] == "no path to J"
    assert float(first.rows[1].cells[1]) > 0


def test_a_network_that_is_detached_is_a_box_of_its_own():
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    made = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def step(z, real):
        return judge(made(z).detach()).mean() - judge(real).mean()

    view = gv.trace(step, torch.randn(5, 4), torch.randn(5, 2)).draw().view
    assert ("made", "no gradient") in {(box.title, box.expression) for box in view.boxes}
    first = next(box for box in view.boxes if box.title == "judge.0")
    assert [row.label for row in first.rows] == ["output", "weight 8×2", "bias 8"]


def test_a_sum_that_begins_with_nothing_is_in_the_first_round():
    net = nn.Linear(3, 2)

    def run(x):
        total = 0
        for n in range(6):
            total = total - net(x[n]).log_softmax(-1)[1].tanh()
        return total / 6

    view = gv.trace(run, torch.randn(6, 3)).draw().view
    rounds = [box.title for box in view.boxes if "iteration 1" in box.scope]
    assert rounds == ["linear", "log_softmax", "tanh", "rsub"]
    assert {"loop · 6 times"} <= {scope for box in view.boxes for scope in box.scope}


class Heads(nn.Module):
    """A loop whose rounds are layers of these widths, with one that follows it."""

    def __init__(self, widths, after):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.heads = nn.ModuleList(nn.Linear(width, 5) for width in widths)
        self.norm, self.head = nn.LayerNorm(5), nn.Linear(5, 5)
        self.after = after

    def forward(self, *streams):
        total = torch.zeros(5)
        for norm, head, stream in zip(self.norms, self.heads, streams, strict=True):
            total = total + torch.tanh(head(norm(stream)))
        return self.head(self.norm(total)) if self.after else total


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "widths", [(8, 6, 6, 7), (6, 6, 7, 8), (8, 7, 6, 6), (9, 8, 6, 6, 7, 5), (6, 6, 6)]
)
def test_a_loop_has_all_its_rounds_whatever_their_sizes(widths, after):
    streams = [torch.randn(3, width) for width in widths]
    graph = gv.trace(Heads(widths, after), *streams, loss=lambda z: z.square().mean())
    view = graph.draw().view
    loops = {scope for box in view.boxes for scope in box.scope if scope.startswith("loop")}
    assert loops == {f"loop · {len(widths)} times"}
    first = {box.title for box in view.boxes if "iteration 1" in box.scope}
    assert first == {"norms.0", "heads.0", "tanh", "add"}
    if after:
        assert {"norm", "head"} <= {box.title for box in view.boxes if not box.scope}


class Shifting(nn.Module):
    """Every second block shifts what it is given, as those of a Swin do."""

    def __init__(self, shift):
        super().__init__()
        self.linear, self.shift = nn.Linear(6, 6), shift

    def forward(self, x):
        x = x.roll(1, 0) if self.shift else x
        return x + torch.tanh(self.linear(x)) * 0.5


class Alternating(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.blocks = nn.ModuleList(Shifting(n % 2) for n in range(count))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def test_blocks_that_alternate_are_no_loop_of_half_as_many_rounds():
    graph = gv.trace(Alternating(8), torch.randn(4, 6), loss=lambda z: z.square().mean())
    view = graph.draw().view
    said = {scope for box in view.boxes for scope in box.scope}
    assert "blocks · 4 times" in said
    assert not any("loop" in scope for scope in said)


class Placed(nn.Module):
    """Positions are counted, and read by a layer that learns nothing."""

    def __init__(self):
        super().__init__()
        self.first, self.places = nn.Conv1d(2, 4, 3), nn.Embedding(6, 4).requires_grad_(False)

    def forward(self, x):
        found = self.first(x).permute(0, 2, 1)
        counted = torch.arange(self.places.num_embeddings, device=found.device)
        return found + self.places(counted)


class Turning(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.proj = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x, angles):
        sine, cosine = angles.chunk(2, -1)
        q = self.query(x)
        return x + self.proj(torch.softmax(q * sine + q.roll(1, -1) * cosine, -1))


class Turned(nn.Module):
    """Blocks that all take their parts of one buffer."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Turning() for _ in range(4))
        self.register_buffer("angles", torch.randn(12))

    def forward(self, x):
        for block in self.blocks:
            x = block(x, self.angles)
        return x


@pytest.mark.parametrize(("model", "size"), [(Placed, (1, 2, 8)), (Turned, (4, 6))])
def test_no_box_reads_what_reads_it(model, size):
    graph = gv.trace(model(), torch.randn(size), loss=lambda z: z.square().mean())
    for budget in (None, 8, 100):
        view = graph.draw(budget=budget).view
        assert nx.is_directed_acyclic_graph(nx.DiGraph((a.tail, a.head) for a in view.arrows))


class Anchored(nn.Module):
    """Boxes are shifted anchors, which a list holds: neither parameters nor buffers."""

    def __init__(self):
        super().__init__()
        self.shifts, self.anchors = nn.Linear(4, 4), Anchors()

    def forward(self, image):
        shifts = self.shifts(image)
        return torch.cat([shifts + anchor for anchor in self.anchors(image)])


class Anchors(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = [torch.rand(4), torch.rand(4)]

    def forward(self, image):
        strides = torch.full((4,), 32 // image.shape[-1])
        return [cell * strides for cell in self.cells]


def test_what_a_layer_keeps_is_no_argument_of_the_program():
    graph = gv.trace(Anchored(), torch.randn(2, 4), loss=lambda boxes: boxes.square().mean())
    drawn = graph.draw().view.boxes
    assert [box.name for box in drawn if box.kind == "input"] == ["image"]
    opened = graph.draw(budget=100).view.boxes
    assert [box.name for box in opened if "cells" in box.name]


def test_the_parameters_in_a_box_are_called_as_its_layer_calls_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn, self.head = nn.MultiheadAttention(8, 2), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.attn(x, x, x, need_weights=False)[0]).square().mean()

    net = Net()
    view = gv.trace(net, torch.randn(3, 2, 8)).draw(budget=5).view
    box = next(box for box in view.boxes if box.title == "attn")
    labels = {row.label.split()[0] for row in box.rows} - {"output"}
    assert labels == {name for name, _ in net.attn.named_parameters()}

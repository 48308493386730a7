"""The page and the widget of a recorded run."""

import threading

import pytest
from chinese import assert_chinese

import gradviz as gv

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from gradviz.chain.health.over_time import spread  # noqa: E402
from gradviz.web.recorded import Telling, curve, graphs_of  # noqa: E402

HOSTILE = "<img src=x onerror=alert(1)>\u202e</script>"
DIES = 9


def record(path, steps=16, name="hidden"):
    """A run whose hidden units die at a step, all at once."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("first", nn.Linear(4, 8))
    model.add_module(name, nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    model.add_module("last", nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    x = torch.randn(16, 4)
    with gv.record_training(model, path) as recorder:
        for i in range(steps):
            if i == DIES:
                with torch.no_grad():
                    model[1][0].bias.fill_(-100.0)
            with recorder.step():
                optimizer.zero_grad()
                (model(x) - x[:, :1]).square().mean().backward()
                optimizer.step()
    return gv.load_training(path)


def test_the_step_at_which_a_layer_died_is_found_between_the_columns(tmp_path):
    run = record(tmp_path / "run.gvtrain")
    told, places = Telling(run, columns=4).told()
    (found,) = (f for f in told["findings"] if f["kind"]["en"] == "zero gradient")
    every = [i for i in range(len(run)) if "zero gradient" in str(run.graph(i).diagnose())]
    assert every == list(range(DIES, len(run)))
    assert found["first"] == DIES
    assert f"from step {DIES} on (not at step {DIES - 1})" in found["text"]["en"]
    own = {found["where"], *(name for name in run.steps.names), "relu", "linear"}
    assert_chinese(found["text"]["en"], found["text"]["zh"], own)
    assert [places[n] for n in found["at"]] == [p for p in places if p >= DIES]
    for what, rows in told["cells"].items():
        for name, cells in zip(told["rows"], rows, strict=True):
            assert len(cells) == len(places)
            step = run.steps[places[-1]]
            mine = [n for n in step.sizes if n.rpartition(".")[0] == name]
            if what == "gradients":
                total = sum(step.sizes[n] * step.gradients[n] ** 2 for n in mine)
                expected = (total / sum(step.sizes[n] for n in mine)) ** 0.5
                assert cells[-1] == pytest.approx(expected, rel=1e-3)


def test_a_long_run_takes_no_more_columns_points_and_bytes_than_a_short_one(tmp_path, monkeypatch):
    for count in (0, 1, 2, 55, 56, 57, 111, 112, 10_000, 123_456):
        places = spread(count, 56)
        assert len(places) <= 57
        assert places[:1] + places[-1:] == ([0, count - 1] if count else [])
        assert set(places[:-1]) <= set(spread(2 * count, 112)) | set(range(56))
    losses = [float(i % 17) for i in range(10_000)]
    losses[4321] = float("nan")
    points = curve(range(10_000), losses)
    assert len(points) <= 600
    assert [p[3] for p in points if p[3] is not None] == ["NaN"]
    assert {(low, high) for _, low, high, _ in points} == {(0.0, 16.0), (0.0, 3.0)}  # the last part
    run = record(tmp_path / "run.gvtrain", steps=9)
    telling = Telling(run)
    _, places = telling.told()
    monkeypatch.setattr("gradviz.web.recorded.BYTES", 3 * 9000)
    assert 2 <= len(graphs_of(telling, places)) < 9  # the last and the first among them
    assert {0, 8} <= set(graphs_of(telling, places))
    assert len(telling.structures) == 1


def test_the_widget_follows_a_run_that_goes_on_and_opens_its_steps(tmp_path):
    pytest.importorskip("anywidget")
    path = tmp_path / "run.gvtrain"
    record(path, steps=3)
    run = gv.load_training(path)
    widget = run.widget(every=0.01)
    seen = threading.Event()
    widget.observe(lambda change: change["new"]["total"] == 6 and seen.set(), "run")
    whole = tmp_path / "other.gvtrain"
    other = record(whole, steps=6)
    rest = whole.read_bytes()[other._places[3][0] :]
    with path.open("ab") as file:
        file.write(rest)
    assert seen.wait(20)
    widget._asked(None, {"kind": "open", "step": 4, "pass": None}, None)
    (opened,) = widget.graphs["4"]
    assert opened["structure"] in widget.structures
    widget.close()
    with pytest.raises(ValueError, match="every=0"):
        run.widget(every=0)
    with pytest.raises(ValueError, match="theme"):
        run.save(tmp_path / "page.html", theme="green")


@pytest.mark.browser
def test_the_page_of_a_run_opens_steps_compares_two_and_says_when_a_layer_died(opened, tmp_path):
    page = opened(record(tmp_path / "run.gvtrain", name=HOSTILE))
    assert page.locator("img").count() == 0
    assert "recorded steps: 16" in page.locator(".title").inner_text()
    assert page.locator(".map .column").count() == 16
    onset = page.locator(".over-time li", has_text="zero gradient").first
    assert f"from step {DIES} on" in onset.inner_text()
    onset.locator("button").click()
    page.locator(".several .gradviz-app g.node").first.wait_for()
    assert f"Step {DIES}: loss" in page.locator(".several h3").first.inner_text()
    assert "is off in all 128 entries" in page.locator(".several pre").inner_text()
    page.locator(".map .column").nth(2).click(modifiers=["Shift"])
    page.locator(".several.is-two .place").nth(1).locator("g.node").first.wait_for()
    rows = page.locator(".compared tbody tr")
    assert rows.count() == 3
    assert rows.first.locator("td").nth(0).inner_text() == "0"
    page.locator(".choice input[type=range]").first.fill("5")
    page.locator(".several h3", has_text="Step 5: loss").wait_for()


@pytest.mark.browser
def test_each_backward_pass_of_a_step_is_shown_first_the_one_with_a_finding(opened, tmp_path):
    torch.manual_seed(0)
    both = nn.ModuleDict({"critic": nn.Linear(2, 1), "maker": nn.Linear(2, 2)})
    with torch.no_grad():
        both["maker"].bias.fill_(-100.0)  # it is off
    optimizer = torch.optim.SGD(both.parameters(), 0.01)
    x, losses = torch.randn(8, 2), []
    with gv.record_training(both, tmp_path / "run.gvtrain") as recorder:
        for _ in range(2):
            with recorder.step():
                optimizer.zero_grad()
                first = both["critic"](x).square().mean()
                second = (both["maker"](x).relu() - 3).square().mean()
                for loss in (first, second):
                    loss.backward()
                    losses.append(loss.item())
                optimizer.step()
    page = opened(gv.load_training(tmp_path / "run.gvtrain"))
    page.locator(".map .column").first.click()
    choice = page.locator(".several select[aria-label*='2 backward passes']")
    choice.wait_for()
    assert choice.input_value() == "1"
    assert "is off in all 16 entries" in page.locator(".several pre").inner_text()
    outcome = ".several g.node[data-kind=output]"
    page.locator(outcome, has_text=f"{losses[1]:.4g}").wait_for()
    choice.select_option("0")
    page.locator(outcome, has_text=f"{losses[0]:.4g}").wait_for()
    assert page.locator(".several pre").count() == 0


MANY = 7


def of_many_passes(path):
    """Two recorded steps of as many backward passes; what each went from, by step."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    with gv.record_training(model, path) as recorder:
        for _ in range(2):
            losses.append([])
            with recorder.step():
                optimizer.zero_grad()
                for x in torch.randn(MANY, 8, 2):
                    loss = model(x).square().mean()
                    loss.backward()
                    losses[-1].append(loss.item())
                optimizer.step()
    return gv.load_training(path), losses


def choose(page, step, index, loss):
    place = page.locator(".several .place", has_text=f"Step {step}")
    place.locator("select[aria-label*='backward passes']").select_option(str(index))
    place.locator("g.node[data-kind=output]", has_text=f"{loss:.8f}"[:5]).wait_for()


@pytest.mark.browser
def test_every_backward_pass_of_a_step_can_be_opened_and_a_page_stays_small(
    opened, tmp_path, monkeypatch
):
    run, losses = of_many_passes(tmp_path / "run.gvtrain")
    page = opened(run)
    page.locator(".map .column").nth(1).click()
    for index in range(MANY):
        choose(page, 1, index, losses[1][index])
    small = [len(p["packed"]) for found in graphs_of(Telling(run), [0]).values() for p in found]
    monkeypatch.setattr("gradviz.web.recorded.BYTES", sum(small[:4]))
    page = opened(run)
    page.locator(".map .column").nth(1).click()
    choice = page.locator(".several select[aria-label*='7 backward passes']")
    choice.wait_for()
    assert "3 are here" in choice.get_attribute("aria-label")  # and the last among them
    assert choice.locator("option").last.get_attribute("value") == str(MANY - 1)


@pytest.mark.browser
def test_a_kernel_gives_two_steps_that_are_compared_and_any_pass_each_asked_for_once(
    opened, tmp_path
):
    pytest.importorskip("anywidget")
    run, losses = of_many_passes(tmp_path / "run.gvtrain")
    widget, asked = run.widget(), []

    def kernel(request):
        asked.append(request)
        widget._asked(None, request, None)
        return {"graphs": widget.graphs, "structures": widget.structures}

    page = opened(run)
    page.expose_function("kernel", kernel)
    page.evaluate(
        """() => {
            const [page, heard, state] = [gradvizRun, {}, {kernel: true, graphs: {}}];
            const model = {
                get: (name) => name in state ? state[name] : page.model.get(name),
                on: (event, listener) => { heard[event] = listener },
                off: () => {},
                send: (request) => kernel(request).then((answer) => {
                    Object.assign(state, answer);
                    heard["change:graphs"]();
                }),
            };
            page.close();
            new page.constructor(model, document.querySelector("main > .place"));
        }"""
    )
    page.locator(".map .column").nth(0).click()
    page.locator(".several .place g.node").first.wait_for()
    page.locator(".map .column").nth(1).click(modifiers=["Shift"])
    page.locator(".several.is-two .place").nth(1).locator("g.node").first.wait_for()
    choose(page, 0, 2, losses[0][2])
    choose(page, 1, 5, losses[1][5])
    page.wait_for_timeout(300)
    widget.close()
    assert [(r["step"], r["pass"]) for r in asked] == [(0, None), (1, None), (0, 2), (1, 5)]


def test_a_terminal_shows_the_loss_the_layers_and_what_is_wrong(tmp_path):
    from click.testing import CliRunner

    from gradviz.cli import main

    record(tmp_path / "run.gvtrain", name="hid\x1b[31mden")
    shown = CliRunner().invoke(main, ["follow", "--once", str(tmp_path / "run.gvtrain")])
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    lines = shown.output.splitlines()
    assert lines[0].startswith("run.gvtrain: 16 recorded steps, the last is 15")
    hidden = next(line for line in lines if line[:24].rstrip().endswith("den.0"))
    assert hidden.endswith("0" * (16 - DIES))  # exactly zero since it died
    assert not hidden.endswith("0" * (17 - DIES))
    assert "is off in all 128 entries" in shown.output

"""The README's code prints what the README says, and draws the pictures that stand in docs/."""

import importlib.util
import re

import readme

import notebooks


def words(picture):
    return sorted(re.findall(r"<text\b[^>]*>([^<]*[a-z][^<]*)</text>", picture.decode()))


def test_every_block_prints_what_the_readme_says_and_draws_its_pictures(tmp_path):
    for code, printed, expected in readme.run(tmp_path):
        if readme.needs_torch(code):
            assert not notebooks.differ(expected, printed, tolerance=0.02)
        else:
            assert printed == expected
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    kept = {path.name: path.read_bytes() for path in (readme.ROOT / "docs").glob("*.svg")}
    if importlib.util.find_spec("torch") is None:
        kept = {name: picture for name, picture in kept.items() if not name.startswith("torch-")}
    assert drawn.keys() == kept.keys()
    for name, picture in kept.items():
        if name.startswith("torch-"):
            assert words(drawn[name]) == words(picture), f"docs/{name} is old: run `make readme`"
        else:
            assert drawn[name] == picture, f"docs/{name} is old: run `make readme`"


def test_every_picture_that_the_readme_shows_is_drawn_by_it():
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    for path in (readme.ROOT / "docs").glob("*.svg"):
        assert text.count(f"docs/{path.name}") >= 2  # shown, and saved by a block


def test_the_film_steps_through_the_terms_that_w5_b2_and_w1_need():
    path = readme.ROOT / "scripts" / "stepping.py"
    spec = importlib.util.spec_from_file_location("stepping", path)
    stepping = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stepping)
    frames = list(stepping.frames())
    titles = [frame.view.title for frame in frames]
    assert titles[3:5] == [
        "∂J/∂w5 reads ∂J/∂z_o1 for the first time",
        "∂J/∂b2 reads ∂J/∂z_o1 for the second time",
    ]
    assert "∂J/∂z_o1 for the third time" in titles[7]
    sizes = {frame.svg.partition('viewBox="')[2].partition('"')[0] for frame in frames}
    assert len(sizes) == 1  # nothing moves between the frames

"""The README's code prints what the README says, and draws the pictures that stand in docs/."""

import readme


def test_every_block_prints_what_the_readme_says_and_draws_its_pictures(tmp_path):
    for printed, expected in readme.run(tmp_path):
        assert printed == expected
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    kept = {path.name: path.read_bytes() for path in (readme.ROOT / "docs").glob("*.svg")}
    assert drawn.keys() == kept.keys()
    for name, picture in kept.items():
        assert drawn[name] == picture, f"docs/{name} is old: run `make readme`"


def test_every_picture_that_the_readme_shows_is_drawn_by_it():
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    for path in (readme.ROOT / "docs").glob("*.svg"):
        assert text.count(f"docs/{path.name}") >= 2  # shown, and saved by a block

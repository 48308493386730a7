"""Files are whole or untouched, whatever fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import graphs
import pytest

from gradviz.files import write_atomic
from gradviz.show.drawing import draw
from gradviz.show.engine import EngineError

MAGIC = {".svg": b"<svg", ".png": b"\x89PNG", ".dot": b"digraph", ".tex": b"\\documentclass"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_says_what_is_written(tmp_path, suffix):
    path = draw(graphs.colah()).save(tmp_path / f"picture{suffix}")
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert os.listdir(tmp_path) == [f"picture{suffix}"]


def test_a_pdf_is_written_with_text_in_it(tmp_path):
    pytest.importorskip("svg2pdf_py")
    path = draw(graphs.colah()).save(tmp_path / "picture.PDF")
    data = path.read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/ToUnicode" in data


def test_a_pdf_with_characters_whose_font_cannot_be_embedded_is_written_too(pictures):
    pytest.importorskip("svg2pdf_py")
    assert pictures["weird"].pdf.startswith(b"%PDF")


def test_a_norm_in_a_pdf_is_set_in_a_font_that_has_its_bars():
    pytest.importorskip("svg2pdf_py")
    from gradviz.show.raster import to_pdf

    if not shutil.which("fc-list") or not subprocess.check_output(["fc-list", "DejaVu Sans"]):
        pytest.skip("DejaVu Sans is not installed")
    style = 'font-family="Liberation Sans, DejaVu Sans"'
    texts = '<text x="9" y="20">plain</text><text x="9" y="40">‖·‖ of the message</text>'
    data = to_pdf(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 50" {style}>{texts}</svg>'
    )
    fonts = set(re.findall(rb"BaseFont */[A-Z]+\+(\w+)", data))
    assert fonts <= {b"LiberationSans", b"DejaVuSans"}
    assert b"DejaVuSans" in fonts


def test_a_pdf_without_the_extra_says_what_to_install(tmp_path):
    code = """if True:
        import sys; sys.modules["svg2pdf_py"] = None  # as if it were not installed
        from gradviz.show.raster import to_pdf
        to_pdf("<svg/>")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'ImportError: saving a PDF needs the extra "pdf"' in done.stderr


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(
        ValueError, match=r"no file type '\.svgz' \(did you mean '\.svg'\?\).*\.tex"
    ):
        draw(graphs.colah()).save(tmp_path / "picture.svgz")
    with pytest.raises(ValueError, match="no file type ''"):
        draw(graphs.colah()).save(tmp_path / "picture")
    for name in ("net.html", "net.json"):
        with pytest.raises(ValueError, match=rf"write g\.save\('{name}'\)"):
            draw(graphs.colah()).save(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_failing_engine_leaves_the_old_file(tmp_path, program):
    path = tmp_path / "out" / "picture.svg"
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(EngineError, match="the words of the engine"):
        draw(graphs.colah(), engine=program("echo the words of the engine >&2; exit 3")).save(path)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["picture.svg"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_disk_that_takes_no_more_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "picture.svg"
    path.write_text("old")
    code = f"""if True:
        import resource
        from gradviz.files import write_atomic
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        write_atomic({str(path)!r}, "x" * 1000)"""
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["picture.svg"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_an_error_and_stays_a_device():
    with pytest.raises(OSError, match="No space left"):
        write_atomic("/dev/full", "x")
    assert not Path("/dev/full").is_file()


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_atomic(tmp_path / "nowhere" / "a.svg", "x")


def test_a_new_file_has_the_usual_mode_and_an_old_one_keeps_its_own(tmp_path):
    usual = tmp_path / "usual"
    usual.write_text("")
    written = write_atomic(tmp_path / "new", "x")
    assert written.stat().st_mode == usual.stat().st_mode
    written.chmod(0o640)
    write_atomic(written, "y")
    assert written.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_text_keeps_its_line_ends(tmp_path):
    assert write_atomic(tmp_path / "a", "a\nβ\r\n").read_bytes() == "a\nβ\r\n".encode()

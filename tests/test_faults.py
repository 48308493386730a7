"""Threads, Ctrl-C, broken engines, full and read-only disks, odd paths: the real thing."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import gradviz as gv
from gradviz.files import write_atomic
from gradviz.show import engine
from gradviz.show.engine import EngineError

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def small():
    return gv.expression("c = a + b; d = b + 1; c * d", a=2, b=1)


def script(folder, body):
    """A real executable of a few lines of shell."""
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- threads and tasks ---------------------------------------------------------------------------


def test_threads_that_draw_get_the_same_bytes(network):
    def fresh(n):
        g = gv.examples.backprop_222()
        return g.draw().svg, g.reuse("w5", "b2", "w1").draw().svg, g.draw(theme="dark").png

    expected = fresh(0)
    drawing = network.draw()  # one that all share
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fresh, range(16)))
        shared = list(pool.map(lambda _: drawing.svg, range(16)))
    assert set(found) == {expected}
    assert set(shared) == {expected[0]}


def test_threads_may_look_for_the_engine_first_of_all():
    code = """if True:
        import threading
        from gradviz.show import engine
        found, barrier = [], threading.Barrier(16)
        def work():
            barrier.wait()
            found.append(engine.run("digraph {a}", "svg"))
        threads = [threading.Thread(target=work) for _ in range(16)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert len(found) == 16 and len(set(found)) == 1"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tasks_that_trace_and_draw_in_threads_do_not_mix():
    async def work(n):
        def f(x):
            with gv.scope(f"task{n}"):
                y = x * n
                time.sleep(0.001)
                return y + y

        g = await asyncio.to_thread(gv.trace, f, 1.0)
        await asyncio.sleep(0)
        return g, await asyncio.to_thread(lambda: g.draw().text)

    async def main():
        return await asyncio.gather(*(work(float(n)) for n in range(12)))

    with ThreadPoolExecutor(1) as pool:
        results = pool.submit(lambda: asyncio.run(main())).result()
    for n, (g, text) in enumerate(results):
        assert g.grad("x") == 2 * n
        assert {node.scope for node in g.values if node.scope} == {(f"task{float(n)}",)}
        assert f"task{float(n)}" in text


@posix
def test_threads_that_write_keep_the_umask(tmp_path):
    """A file's mode comes from the umask, which no writer may change even for a moment."""
    before = os.umask(0o027)
    try:
        stop, seen = threading.Event(), set()

        def watch():
            n = 0
            while not stop.is_set():
                n += 1
                path = tmp_path / f"plain{n % 50}"
                path.touch()
                seen.add(path.stat().st_mode & 0o777)
                path.unlink()

        watcher = threading.Thread(target=watch)
        watcher.start()
        with ThreadPoolExecutor(4) as pool:
            modes = set(
                pool.map(
                    lambda n: write_atomic(tmp_path / f"new{n}", "x").stat().st_mode & 0o777,
                    range(200),
                )
            )
        stop.set()
        watcher.join()
        assert modes == seen == {0o640}
    finally:
        os.umask(before)


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path):
    path = tmp_path / "a"
    texts = {str(n) * 100_000 for n in range(8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_atomic(path, text), texts))
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["a"]


# --- the engine ----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("cat > /dev/null; echo garbage", r"wrote no layout that can be read: b'garbage"),
        ("cat > /dev/null; printf '\\377\\376\\0'", "wrote no layout"),
        ("cat > /dev/null; echo '{}'", "wrote no layout"),
        ("cat > /dev/null; echo '[1]'", "wrote no layout"),
        ('cat > /dev/null; echo \'{"bb": "0,0,x"}\'', "wrote no layout"),
        ('cat > /dev/null; echo \'{"bb": "0,0,10,10"}\'', "wrote no layout"),
        ("exit 0", "it said nothing"),
        ("echo no memory >&2; exit 3", r"failed \(exit status 3\): no memory"),
        ("exec < /dev/null; echo closed >&2; exit 1", "closed"),
    ],
)
def test_an_engine_that_writes_no_layout_is_an_error_and_leaves_the_old_file(
    small, tmp_path, body, message
):
    path = tmp_path / "out" / "a.svg"
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(EngineError, match=message):
        small.draw(engine=script(tmp_path, body)).save(path)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["a.svg"]


@posix
def test_an_engine_that_hangs_is_ended(tmp_path):
    hang = script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(EngineError, match="was not done after"):
        engine.run("digraph {}", "svg", hang, timeout=0.5)
    assert not alive((tmp_path / "pid").read_text().strip())


# What runs in the background ignores Ctrl-C, and hands that on to what it starts.
INTERRUPTED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_in_a_render_ends_the_engine_and_leaves_the_old_file(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.svg").write_text("old")
    hang = script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    code = f"""if True:
        {INTERRUPTED}
        import gradviz as gv
        gv.expression("a * b", a=2, b=1).draw(engine={hang!r}).save({str(folder / "a.svg")!r})"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = (tmp_path / "pid").read_text().strip()
    assert alive(pid)
    time.sleep(1)  # the engine runs before Popen has returned, and nobody could end it then
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    deadline = time.monotonic() + 30
    while alive(pid):  # it was told to end; on a busy machine that takes a moment
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (folder / "a.svg").read_text() == "old"
    assert os.listdir(folder) == ["a.svg"]


@posix
def test_ctrl_c_while_a_file_is_written_leaves_it_whole(tmp_path):
    """Interrupted at any moment: the file is the old or the new one, and nothing lies beside it."""
    code = f"""if True:
        {INTERRUPTED}
        from gradviz.files import write_atomic
        while True:
            write_atomic({str(tmp_path / "a")!r}, "x" * 3_000_000)
            print("once", flush=True)"""
    for n in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        process.stdout.readline()
        time.sleep(0.05 + 0.013 * n)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert os.listdir(tmp_path) == ["a"]
        assert (tmp_path / "a").stat().st_size == 3_000_000


# --- disks and paths -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".svg", ".json", ".txt"])
def test_a_full_disk_leaves_the_old_file(tmp_path, suffix):
    """On a real file system of 64 KiB; needs the right to mount one."""
    code = f"""if True:
        import errno, os, pathlib, gradviz as gv
        g = gv.examples.backprop_222()
        path = pathlib.Path("disk/a{suffix}")
        path.write_text("old")
        with open("disk/filler", "wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        try:
            g.save(path)
        except OSError as error:
            assert error.errno == errno.ENOSPC and error.filename == str(path), error
        else:
            raise SystemExit("no error")
        assert path.read_text() == "old"
        assert sorted(os.listdir("disk")) == ["a{suffix}", "filler"]"""
    (tmp_path / "disk").mkdir()
    (tmp_path / "code.py").write_text(code)
    mount = "mount -t tmpfs -o size=64k none disk || exit 77"
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f'{mount}; exec "$0" code.py', sys.executable],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("may not mount a file system here")
    assert done.returncode == 0, done.stderr


@posix
def test_a_read_only_folder_is_an_error_that_names_the_path(small, tmp_path):
    folder = tmp_path / "read only"
    folder.mkdir()
    path = folder / "a.svg"
    path.write_text("old")
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):  # root: the kernel's own read-only folder
            path = Path("/proc/gradviz.svg")
        for suffix in (".svg", ".json"):
            with pytest.raises(OSError, match=r"read only|/proc/gradviz") as error:
                small.save(path.with_suffix(suffix))
            assert error.value.filename == str(path.with_suffix(suffix))
    finally:
        folder.chmod(0o755)
    assert os.listdir(folder) == ["a.svg"]
    assert (folder / "a.svg").read_text() == "old"


@pytest.mark.parametrize(
    "name",
    ["a b.svg", "ä ö 两 😀.svg", "-rf.svg", "a'b\"c$d;e.svg", "x" * 240 + ".svg", "new\nline.svg",
     ".svg.svg", "a.b.c.SVG"],
)  # fmt: skip
@posix
def test_odd_names_are_written_as_they_are(small, tmp_path, name):
    small.save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text().startswith("<svg")


@posix
@pytest.mark.parametrize("suffix", [".svg", ".json"])
def test_paths_that_cannot_be_written_say_so_in_their_own_name(small, tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    before = sorted(os.listdir(tmp_path))
    for name, kind in [
        (f"folder{suffix}", IsADirectoryError),
        (f"nowhere/a{suffix}", FileNotFoundError),
        (f"file/a{suffix}", NotADirectoryError),
        ("x" * 300 + suffix, OSError),
        (f"loop{suffix}", OSError),
    ]:
        with pytest.raises(kind) as error:
            small.save(tmp_path / name)
        assert error.value.filename == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == before
    with pytest.raises(ValueError, match="null"):
        small.save(f"{tmp_path}/a\0b{suffix}")


@posix
def test_a_link_to_nothing_yet_becomes_a_link_to_the_file(small, tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "there" / "g.json")
    small.save(link)
    assert link.is_symlink()
    assert gv.load(tmp_path / "there" / "g.json").gradients() == small.gradients()


def test_an_error_inside_a_function_that_draws_leaves_recording_as_it_was(tmp_path):
    def f(x):
        y = x * 2
        gv.graph(y).draw(engine="no such engine").svg
        return y

    with pytest.raises(ValueError, match="no engine"):
        gv.trace(f, 1.0)
    assert gv.trace(lambda x: np.exp(x), 0.0).names == ["x", "J"]

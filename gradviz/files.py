"""Writing a file so that it is whole or untouched, and text that any file can hold."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PICTURES = {f".{kind}": kind for kind in ("svg", "png", "pdf", "dot", "tex")} | {".txt": "text"}
"""What a picture is written as: the suffix, and the property of a Drawing that makes it."""


def writable(text: str) -> str:
    """`text` with � for lone surrogates (parts of characters), which UTF-8 and terminals refuse.

    Names, scopes, titles and source lines are made so where they enter; pictures then show what
    else is odd in them as escapes (`gradviz.show.mathtext.clean`).
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> Path:
    """Write `data` to `path`, all of it or none.

    The data goes to a new file in the same folder, is flushed to the disk, and only then takes the
    place of the old file. When anything fails, Ctrl-C too, the old file is as it was and nothing
    is left over.

    Parameters
    ----------
    path : str or path-like
        Where to write. A symbolic link is followed, so that the link stays a link.
    data : str or bytes
        Text is written as UTF-8, its line ends unchanged.

    Returns
    -------
    pathlib.Path
        The path as given.

    Raises
    ------
    OSError
        If the file cannot be written (no such folder, no permission, disk full).
    """
    raw = data.encode() if isinstance(data, str) else data
    try:
        _write(os.path.realpath(path), raw)
    except OSError as error:  # in the caller's terms: it may name the temporary file
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    return Path(path)


def _write(real: str, raw: bytes) -> None:
    if os.path.exists(real) and not os.path.isfile(real):  # a device or a pipe has no old content
        with open(real, "wb") as file:
            file.write(raw)
        return
    temporary = os.path.join(os.path.dirname(real), f".gradviz-{os.urandom(8).hex()}")
    try:
        # A new file's mode is what the umask allows; one that is replaced hands its own on.
        with open(temporary, "xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(real).st_mode & 0o7777)
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise

"""Writing a file so that it is whole or untouched."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> Path:
    """Write `data` to `path`, all of it or none.

    The data goes to a new file in the same folder, is flushed to the disk, and only then takes the
    place of the old file. When anything fails the old file is as it was and nothing is left over.

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
    real = os.path.realpath(path)
    raw = data.encode() if isinstance(data, str) else data
    if os.path.exists(real) and not os.path.isfile(real):  # a device or a pipe has no old content
        with open(real, "wb") as file:
            file.write(raw)
        return Path(path)
    handle, temporary = tempfile.mkstemp(prefix=".gradviz-", dir=os.path.dirname(real))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(real))
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return Path(path)


def _mode(path: str) -> int:
    """The mode of the file that is replaced; for a new one, what the umask allows."""
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask

"""``python -m gradviz``: the shell command."""

from gradviz.cli import main

if __name__ == "__main__":
    main(prog_name="gradviz")

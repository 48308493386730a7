"""All sick trainings, each broken at a step in the thousands, and their twins over 2,000 steps.

`make sick`, or ``python tests/record/sick_battery.py [names]``; exit status 1 if any is not told.
"""

import contextlib
import os
import random
import sys
import tempfile
import time

import sick_trainings

import gradviz as gv


def main(names):
    chosen = [t for t in sick_trainings.SICK if not names or t.__name__ in names]
    wrong = 0
    sick_trainings.STEPS = 2000
    with tempfile.TemporaryDirectory() as folder:
        for n, training in enumerate(chosen):
            sick_trainings.STEP = random.Random(training.__name__).randrange(1000, 1900)
            began = time.process_time()
            with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):
                trouble = sick_trainings.examine(training, lambda n=n: gv.watch(f"{folder}/{n}"))
            took = time.process_time() - began
            said = trouble or f"told at step {sick_trainings.STEP}, its twin is silent"
            print(f"{training.__name__}: {said} ({took:.0f} s)", flush=True)
            wrong += bool(trouble)
    print(f"{len(chosen) - wrong} of {len(chosen)} are told, and nothing of their healthy twins")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

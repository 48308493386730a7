"""How the time of some work grows with its size: a ratio within one run, on any machine."""

import time


def growth(prepare, work, small, large):
    """How many times as long `work` takes for `large` as for `small`, each at its fastest."""

    def fastest(size):
        given, found = prepare(size), []
        for _ in range(2):
            begin = time.process_time()
            work(given)
            found.append(time.process_time() - begin)
        return min(found)

    return fastest(large) / fastest(small)

"""How fast is a large file of word vectors read for a small vocabulary?

    python tests/benchmarks/word_vectors_speed.py

Writes 1,000,000 binary records of 100 numbers into a temporary folder (408 MB, gone
afterwards) and reads it for a vocabulary of 50,000, in turn with gensim's
`load_word2vec_format` on the same file, where gensim is installed. The file is in the
cache of the operating system for both. On a busy machine the processor time says more
than the clock. The claims:

    at least 150 MB/s
    at least 3 x as fast as gensim
    memory, the table included: at most six times what the 50,000 vectors take
"""

import argparse
import importlib.util
import tempfile
import time
import tracemalloc
from pathlib import Path

import interleaved
import numpy as np

from keras_tricks.initializers import WordVectors


def write(path, records, dimension):
    """Words as long as real ones, frequent ones short, and normal numbers."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(b"%d %d\n" % (records, dimension))
        for start in range(0, records, 10_000):
            table = random.standard_normal((10_000, dimension), "float32")
            rows = enumerate(table[: records - start], start)
            file.writelines(b"w%x " % i + row.tobytes() + b"\n" for i, row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10**6)
    parser.add_argument("--dimension", type=int, default=100)
    parser.add_argument("--vocabulary", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size = (arguments.vocabulary, arguments.dimension)
    step = arguments.records // arguments.vocabulary
    vocabulary = [f"w{i * step:x}" for i in range(arguments.vocabulary)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.bin"
        write(path, arguments.records, arguments.dimension)
        megabytes = path.stat().st_size / 1e6
        print(
            f"{megabytes:.0f} MB, {arguments.records} records, {len(vocabulary)} words"
        )

        processor = []

        def ours():
            began = time.process_time()
            found = WordVectors(path, vocabulary).coverage
            processor.append(time.process_time() - began)
            assert found.found == len(vocabulary)

        ways = {"WordVectors": ours}
        if importlib.util.find_spec("gensim"):
            from gensim.models import KeyedVectors

            ways["gensim"] = lambda: KeyedVectors.load_word2vec_format(
                str(path), binary=True
            )
        else:
            print("gensim is not installed: nothing to compare with")
        taken = interleaved.seconds(ways, arguments.rounds)
        print(*interleaved.table(taken, "WordVectors"), sep="\n")
        for name, values in taken.items():
            speeds = sorted(megabytes / value for value in values)
            print(f"  {name}: {speeds[0]:.0f} to {speeds[-1]:.0f} MB/s")
        fastest = megabytes / min(processor)
        print(f"  WordVectors: {fastest:.0f} MB per second of processor time at best")
        tracemalloc.start()
        start = WordVectors(path, vocabulary)
        start(size)
        peak, vectors = tracemalloc.get_traced_memory()[1], 4 * np.prod(size)
        print(f"  memory, with the table: {peak / 1e6:.0f} MB, {peak / vectors:.1f} x")


if __name__ == "__main__":
    main()

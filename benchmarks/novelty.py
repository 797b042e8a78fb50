"""The exact nearest of many known structures: how long it takes, how much memory, and whether it is the exact one.

    python benchmarks/novelty.py --known 100000 --queries 100

The archive is made of SOAP vectors of real slabs (every termination by construction, rattled), each mixed with another
slab's vectors of the same species, so that no two structures are equal. The vectors lie in files that are mapped into
memory. A sample of the queries is also compared with every known structure, block by block.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from searcher.scoring.descriptors import LocalVectors, SoapSettings, local_vectors
from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import pair_kappa
from searcher.structures.crystal import Crystal
from searcher.structures.templates import seed_structures

RATTLE = (0.0, 0.05, 0.1, 0.2)  # Å


def real_slabs(copies: int, rng: np.random.Generator) -> list[tuple[LocalVectors, int]]:
    """Vectors of (110) slabs doubled along [001], and how many of their atoms are frozen."""
    found = []
    for atoms in seed_structures(Crystal(), "110", (1, 2)).values():
        n_frozen = int((atoms.get_tags() == 0).sum())
        for copy in range(copies):
            moved = atoms.copy()
            free = np.arange(len(atoms)) >= n_frozen
            moved.positions[free] += rng.normal(0, RATTLE[copy % len(RATTLE)], (int(free.sum()), 3))
            removed = rng.choice(np.flatnonzero(free & (atoms.numbers == 8)), int(rng.integers(0, 4)), replace=False)
            del moved[sorted(removed.tolist())]
            found.append((local_vectors(moved, SoapSettings()), n_frozen))
    return found


def mixed(slabs: list[tuple[LocalVectors, int]], rng: np.random.Generator) -> LocalVectors:
    """One slab's vectors moved a little towards another's."""
    one, other = (slabs[int(i)][0] for i in rng.integers(0, len(slabs), 2))
    vectors = {}
    for symbol, rows in one.vectors.items():
        partner = other.vectors[symbol]
        partner = partner[np.arange(len(rows)) % len(partner)]
        blend = rows + np.float32(rng.uniform(0, 0.3)) * (partner - rows)
        vectors[symbol] = blend / np.linalg.norm(blend, axis=1, keepdims=True)
    return LocalVectors(vectors, dict(one.indices))


def known_structures(slabs: list[tuple[LocalVectors, int]], n: int) -> Iterator[tuple[str, LocalVectors]]:
    rng = np.random.default_rng(7)
    for number in range(n):
        yield f"k{number}", mixed(slabs, rng)


def free_part(vectors: LocalVectors, n_frozen: int) -> LocalVectors:
    return vectors.subset([int(i) for rows in vectors.indices.values() for i in rows if i >= n_frozen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--checked", type=int, default=5, help="queries compared with everything")
    parser.add_argument("--slabs", type=int, default=60, help="rattled copies of each termination")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    slabs = real_slabs(arguments.slabs, rng)
    n_frozen = slabs[0][1]
    # every other query is of a slab that the archive is not made of
    others = real_slabs(max(4, arguments.queries // 6), rng)
    queries = [
        free_part(mixed(slabs, rng) if number % 2 else others[number % len(others)][0], n_frozen)
        for number in range(arguments.queries)
    ]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        known = KnownSet(Path(folder))
        for identifier, vectors in known_structures(slabs, arguments.known):
            known.add(identifier, vectors, 0.0)
        known.nearest(queries[:1])
        before = known.n_exact
        built = time.perf_counter() - started
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        started = time.perf_counter()
        found = known.nearest(queries)
        asked = time.perf_counter() - started
        print(f"threads {os.environ.get('OMP_NUM_THREADS', 'as BLAS likes')}, {os.cpu_count()} cores")
        print(
            f"known {len(known)}, vectors on disk {size / 2**30:.2f} GiB, "
            f"in memory {known.resident_bytes / 2**30:.2f} GiB"
        )
        print(f"made and indexed in {built:.1f} s; {len(queries)} queries in {asked:.2f} s")
        print(f"exact kappa for {(known.n_exact - before) / len(queries):.1f} structures per query")
        print(f"largest memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        _check(slabs, arguments, queries, found)


def _check(slabs, arguments, queries, found) -> None:
    chosen = range(min(arguments.checked, len(queries)))
    best = [(np.inf, "")] * len(chosen)
    for identifier, vectors in known_structures(slabs, arguments.known):
        for number in chosen:
            kappa = pair_kappa(queries[number], vectors)
            if kappa < best[number][0]:
                best[number] = (kappa, identifier)
    differences = [abs(found[n][0] - best[n][0]) for n in chosen]
    same = sum(found[n][1] == best[n][1] for n in chosen)
    print(
        f"brute force for {len(chosen)} queries: largest difference of kappa {max(differences):.1e}, "
        f"same nearest {same}; kappa {min(k for k, _ in best):.3f} to {max(k for k, _ in best):.3f}"
    )


if __name__ == "__main__":
    main()

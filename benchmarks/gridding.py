"""How fast grids are made, and how fast they give their atoms back, beside other ways; one thread for all.

    OMP_NUM_THREADS=1 python benchmarks/gridding.py

Other packages are measured where they can be imported (`pip install pyuul molgrid atomvoxelizer`; molgrid 0.5.5 needs
numpy < 2) and named where not. Every ratio comes from this one run: the ways take turns, and the medians are compared.
"""

import argparse
import importlib
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from usual_inversion import invert, local_cubes

from generators.grids.backmapping import backmap
from generators.grids.density import _products, densities, pack
from generators.grids.matching import agreement
from generators.grids.spec import GridSpec
from searcher.structures.crystal import Crystal

LENGTH, N, SIGMA, N_ATOMS = 18.0, 32, 0.45, 150
SPECIES = ("O", "Ru")
CUTOFF = 4.8
"""σ; beyond it a Gaussian is below 1e-5, the error that is allowed."""
Way = Callable[[], object]
Found = tuple[np.ndarray, np.ndarray]


def medians(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Seconds of each way, the median of `rounds` in which all take turns, each after a call that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            way()
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def exact(positions: np.ndarray, channels: np.ndarray, spec: GridSpec) -> np.ndarray:
    """Densities in double precision by a dense loop over atoms, nearest images along periodic axes."""
    grid = np.zeros((len(spec.species), *spec.shape))
    centres = np.meshgrid(*(spec.centres(axis) for axis in range(3)), indexing="ij")
    for position, channel in zip(positions, channels, strict=True):
        square = np.zeros(spec.shape)
        for axis in range(3):
            offset = centres[axis] - position[axis]
            if spec.periodic[axis]:
                offset -= spec.lengths[axis] * np.round(offset / spec.lengths[axis])
            square += offset * offset
        grid[channel] += np.exp(-0.5 * square / spec.sigma**2)
    return grid


def dense_loop(positions: torch.Tensor, channels: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """The same in single precision with torch, as a first version of a gridder is written."""
    grid = torch.zeros(len(spec.species), *spec.shape)
    axes = [torch.as_tensor(spec.centres(axis), dtype=torch.float32) for axis in range(3)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    lengths = spec.lengths
    for position, channel in zip(positions, channels, strict=True):
        offsets = [x - position[0], y - position[1], z - position[2]]
        offsets = [
            offset - length * torch.round(offset / length) if wraps else offset
            for offset, length, wraps in zip(offsets, lengths, spec.periodic, strict=True)
        ]
        square = offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2
        grid[channel] += torch.exp(-0.5 * square / spec.sigma**2)
    return grid


def pyuul_way(positions: np.ndarray, channels: np.ndarray) -> Way:
    """PyUUL's Gaussians: the same width, but combined as 1 − ∏(1 − ρ), in an open box of its own."""
    voxels = importlib.import_module("pyuul.VolumeMaker").Voxels(device=torch.device("cpu"), sparse=False)
    coordinates = torch.as_tensor(positions, dtype=torch.float32)[None]
    radii = torch.full((1, len(positions)), float(SIGMA * np.sqrt(2.0) / 0.93))
    kinds = torch.as_tensor(channels)[None]
    edge = LENGTH / N
    reach = int(np.ceil(CUTOFF * SIGMA / edge)) + 1
    return lambda: voxels(
        coordinates,
        radii,
        kinds,
        numberchannels=len(SPECIES),
        resolution=edge,
        cubes_around_atoms_dim=reach,
        function="gaussian",
    )


def molgrid_way(positions: np.ndarray, channels: np.ndarray) -> tuple[Way, Callable[[], np.ndarray]]:
    """libmolgrid's Gaussians of equal width to the same cutoff, in an open box, into a grid that is there already."""
    molgrid = importlib.import_module("molgrid")
    edge = LENGTH / N
    maker = molgrid.GridMaker(resolution=edge, dimension=edge * (N - 1), gaussian_radius_multiple=CUTOFF / 2.0)
    out = molgrid.MGrid4f(len(SPECIES), N, N, N)
    # molgrid looks into these tensors without holding them, so that the closure below must
    held = (
        torch.as_tensor(positions, dtype=torch.float32),
        torch.as_tensor(channels, dtype=torch.float32),
        torch.full((len(positions),), 2.0 * SIGMA),
    )
    centre = molgrid.float3(LENGTH / 2, LENGTH / 2, LENGTH / 2)
    places, kinds, radii = molgrid.Grid2f(held[0]), molgrid.Grid1f(held[1]), molgrid.Grid1f(held[2])
    atoms = molgrid.CoordinateSet(places, kinds, radii, len(SPECIES))

    def way() -> object:
        maker.forward(centre, atoms, out.cpu())
        return held

    return way, lambda: np.array(out.tonumpy(), dtype=float)


def atomvoxelizer_way(module: str, name: str, positions: np.ndarray, channels: np.ndarray) -> Way:
    """AtomVoxelizer knows no Gaussians: spheres of a constant value to the same cutoff, centred on voxels."""
    grid_class = getattr(importlib.import_module(module), name)
    cell = np.eye(3) * LENGTH

    def way() -> None:
        for channel in range(len(SPECIES)):
            own = positions[channels == channel]
            grid_class(cell=cell, gpts=(N, N, N)).add_spheres(own, np.full(len(own), CUTOFF * SIGMA))

    return way


def gridding(rounds: int) -> None:
    rng = np.random.default_rng(0)
    positions = rng.random((N_ATOMS, 3)) * LENGTH
    channels = np.array([1] * (N_ATOMS // 3) + [0] * (N_ATOMS - N_ATOMS // 3))
    structure = (np.array([8, 44])[channels], positions)
    box = ((N, N, N), SPECIES, SIGMA, (0.0, 0.0, 0.0), (LENGTH,) * 3)
    closed, opened = (GridSpec(*box, periodic=(wraps,) * 3, clip=False) for wraps in (True, False))
    atoms = pack([structure], closed, dtype=torch.float32)
    many = pack([structure] * 16, closed, dtype=torch.float32)
    ways: dict[str, Way] = {
        "this program, periodic": lambda: densities(*atoms, closed),
        "this program, open box": lambda: densities(*atoms, opened),
        "this program, 16 at once, periodic": lambda: densities(*many, closed),
        "this program, matrix product (GPU and gradients)": lambda: _products(*atoms, closed),
        "dense loop over atoms (torch), periodic": lambda: dense_loop(atoms[0][0], atoms[1][0], closed),
    }
    absent, reader = [], None
    try:
        ways["PyUUL, Gaussian"] = pyuul_way(positions, channels)
    except ImportError as error:
        absent.append(f"PyUUL ({error})")
    try:
        ways["molgrid, Gaussian"], reader = molgrid_way(positions, channels)
    except (ImportError, AttributeError) as error:
        absent.append(f"molgrid ({error})")
    for kind, module, name in (
        ("NumPy", "atomvoxelizer", "VoxelGrid"),
        ("numba", "atomvoxelizer.numba_backend", "VoxelGridNumba"),
        ("C++", "atomvoxelizer.cpp_backend", "VoxelGridCpp"),
    ):
        try:
            ways[f"AtomVoxelizer, {kind}, constant spheres"] = atomvoxelizer_way(module, name, positions, channels)
        except ImportError as error:
            absent.append(f"AtomVoxelizer {kind} ({error})")
    seconds = medians(ways, rounds)
    seconds["this program, 16 at once, periodic"] /= 16
    own = {True: seconds["this program, periodic"], False: seconds["this program, open box"]}
    print(f"\n{N_ATOMS} atoms, {N}³, σ {SIGMA} Å, voxel {LENGTH / N:.4f} Å, medians of {rounds} turns\n")
    print("| gridding | ms | times this program's |\n|---|---|---|")
    for name, value in seconds.items():
        periodic = "periodic" in name or name.startswith("this")
        print(f"| {name} | {1e3 * value:.3f} | {value / own[periodic]:.1f} |")
    for spec, label in ((closed, "periodic"), (opened, "open box")):
        difference = densities(*atoms, spec)[0].double().numpy() - exact(positions, channels, spec)
        print(f"\nlargest error of this program, {label}, single precision: {np.abs(difference).max():.1e}")
    if reader is not None:
        print(f"\nlargest error of molgrid: {np.abs(reader() - exact(positions, channels, opened)).max():.1e}")
    print(f"\nnot measured, absent: {', '.join(absent) or 'none'}; GPU: {_gpu()}")


def on_device(device: torch.device, rounds: int, batch: int = 256) -> None:
    """Grids per second on a GPU, and their bytes beside what a copy moves there."""
    generator = torch.Generator().manual_seed(0)
    positions = (torch.rand(batch, N_ATOMS, 3, generator=generator) * LENGTH).to(device)
    channels = torch.randint(len(SPECIES), (batch, N_ATOMS), generator=generator).to(device)
    spec = GridSpec.for_cell((LENGTH,) * 3, (N, N, N), SPECIES, SIGMA)
    grids = _products(positions, channels, spec)
    target = torch.empty_like(grids)

    def waited(way: Way) -> Way:
        def done() -> None:
            way()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return done

    ways = {"grids": lambda: _products(positions, channels, spec), "copy": lambda: target.copy_(grids)}
    seconds = medians({name: waited(way) for name, way in ways.items()}, rounds)
    size = grids.numel() * grids.element_size() / 1e9
    moved, share = 2 * size / seconds["copy"], 50 * seconds["copy"] / seconds["grids"]
    print(f"\n{device}: {batch / seconds['grids']:,.0f} grids per second, {size / seconds['grids']:.0f} GB/s written,")
    print(f"{share:.0f} % of the {moved:.0f} GB/s that a copy reads and writes")


def inversion(rounds: int) -> None:
    rng = np.random.default_rng(0)
    bulk = Crystal().bulk() * (4, 4, 4)
    bulk.positions += rng.normal(0.0, 0.1, bulk.positions.shape)
    spec = GridSpec.for_cell(bulk.cell.lengths(), (N, N, N), SPECIES, SIGMA)
    structure = (bulk.numbers, bulk.positions)
    clean = densities(*pack([structure], spec), spec)
    generator = torch.Generator().manual_seed(0)
    noisy = clean + 0.02 * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    edges = " × ".join(f"{edge:.3f}" for edge in spec.spacing)
    for label, grid in (("no noise", clean), ("noise 2 %", noisy)):
        found: dict[str, Found] = {}
        ways: dict[str, Way] = {"this program": partial(_keep, found, "this program", partial(_own, grid, spec))}
        for name, gridder, dtype in (
            ("usual way, local cubes, single", local_cubes, torch.float32),
            ("usual way, local cubes, double", local_cubes, torch.float64),
            ("usual way on this program's matrix product, single", _products, torch.float32),
            ("usual way on this program's matrix product, double", _products, torch.float64),
        ):
            ways[name] = partial(_keep, found, name, partial(invert, grid.to(dtype), spec, gridder))
        seconds = medians(ways, rounds)
        print(f"\n{len(bulk)} atoms, {N}³, voxel {edges} Å, σ {SIGMA} Å, {label}, medians of {rounds} turns\n")
        print("| inversion | ms | times this program's | recall | precision | RMSD / Å | max / Å |")
        print("|---|---|---|---|---|---|---|")
        for name, value in seconds.items():
            got = agreement(structure, found[name], spec)
            print(
                f"| {name} | {1e3 * value:.0f} | {value / seconds['this program']:.1f} | {got.recall:.4f} | "
                f"{got.precision:.4f} | {got.rmsd:.1e} | {got.max_error:.1e} |"
            )


def _own(grid: torch.Tensor, spec: GridSpec) -> Found:
    decoded = backmap(grid, spec)[0]
    return decoded.numbers, decoded.positions


def _keep(found: dict[str, Found], name: str, way: Callable[[], Found]) -> None:
    found[name] = way()


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none here, not measured"


def _versions() -> str:
    found = []
    for package in ("torch", "numpy", "numba", "pyuul", "molgrid", "AtomVoxelizer"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, Python {platform.python_version()}, one thread; {_versions()}")
    gridding(10 * arguments.rounds)
    inversion(arguments.rounds)
    if torch.cuda.is_available():
        on_device(torch.device("cuda"), 10 * arguments.rounds)


if __name__ == "__main__":
    main()

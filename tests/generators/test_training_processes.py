"""Several processes train what one trains; compiled code and bf16 agree with plain single precision."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from gan_setting import NETWORKS, grid, records, template

from generators.training.checkpoint import load_weights
from generators.training.loop import Trainer
from generators.training.processes import ALONE, Processes, join_processes
from generators.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=4, batch_size=8, checkpoint_every=4, threads=1, check_every=0, penalty_every=1)
SEPARATE = replace(NETWORKS, minibatch_deviation=False)  # a batch's spread is that of each process' part
PROGRAM = """
import sys
import torch
sys.path[:0] = [{tests!r}]
from pathlib import Path
from test_training_processes import SETTINGS, SEPARATE, make
from generators.training.processes import join_processes, leave_processes
processes = join_processes("cpu")
trainer = make(processes=processes)
list(trainer.run(Path({folder!r})))
trainer.save(Path({folder!r}) / "weights.safetensors")
leave_processes()
"""


def make(settings: TrainingSettings = SETTINGS, processes: Processes = ALONE) -> Trainer:
    random = torch.Generator().manual_seed(0)
    return Trainer(template(), grid(), SEPARATE, settings, records(), random, processes=processes)


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    """Sums in another order: single precision over a few Adam steps of 1e-3."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parent), folder=str(tmp_path)), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    subprocess.run(command, check=True, timeout=240, cwd=Path(__file__).parents[2])
    alone = make()
    list(alone.run())
    shared, _ = load_weights(tmp_path / "weights.safetensors")
    expected = {f"generator.{name}": tensor for name, tensor in alone.averaged.state_dict().items()}
    assert largest_difference(expected, {name: shared[name] for name in expected}) < 1e-4


def test_a_process_alone_needs_no_messages() -> None:
    assert join_processes("cpu") == ALONE
    assert ALONE.share(6) == slice(0, 6)
    assert Processes(1, 2).share(6) == slice(3, 6)
    with pytest.raises(ValueError, match="`batch_size` is 7"):
        Processes(1, 2).share(7)


def test_a_batch_is_the_sum_of_its_shares() -> None:
    dataset = make().dataset
    whole = dataset.batch(8, torch.Generator().manual_seed(4))
    parts = [dataset.batch(8, torch.Generator().manual_seed(4), share=Processes(rank, 2).share(8)) for rank in (0, 1)]
    for everything, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(everything, torch.cat([first, second]))


def test_bf16_trains_nearly_as_single_precision() -> None:
    """Scores of eight bits: the first gradients agree within some percent, so Adam's first steps hardly differ."""
    plain, short = make(), make(replace(SETTINGS, precision="bf16"))
    first, second = next(plain.run()), next(short.run())
    assert second["wasserstein"] == pytest.approx(first["wasserstein"], abs=0.05)
    assert second["penalty"] == pytest.approx(first["penalty"], rel=0.05)
    assert second["critic_gradient"] == pytest.approx(first["critic_gradient"], rel=0.1)


@pytest.mark.slow
def test_compiled_losses_equal_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is traced and differentiated is tested here; the code that a GPU's compiler makes of it, on a GPU."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = (make(replace(SETTINGS, compiled=c, channels_last=False)) for c in (False, True))
    for first, second in zip(plain.run(), compiled.run(), strict=True):
        for name in ("critic_loss", "penalty", "critic_gradient"):
            assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-5)  # fused sums, over a few steps


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [{}, {"compiled": True}, {"precision": "bf16"}], ids=["fp32", "compiled", "bf16"])
def test_a_gpu_trains_what_the_processor_trains(settings: dict[str, object]) -> None:
    random = torch.Generator("cuda").manual_seed(0)
    gpu = Trainer(
        template(),
        grid(),
        SEPARATE,
        replace(SETTINGS, device="cuda", **settings),
        records(),
        random,  # type: ignore[arg-type]
    )
    plain = Trainer(
        template(),
        grid(),
        SEPARATE,
        replace(SETTINGS, device="cuda"),
        records(),
        torch.Generator("cuda").manual_seed(0),
    )
    for first, second in zip(plain.run(), gpu.run(), strict=True):
        assert second["critic_loss"] == pytest.approx(first["critic_loss"], rel=0.1, abs=0.05)

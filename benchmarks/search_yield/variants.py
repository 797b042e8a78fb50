"""Our arms as configurations: the loop, its ablations, ideas that were tried, and random insertion alone."""

from collections.abc import Mapping
from typing import Any

from benchmarks.search_yield.cells import merged, relaxing_to_the_end
from searcher.campaign.arms.gan_arm import COUNT_WEIGHT

SCREENED = {"oversampling": 250}
PLAIN = {"oversampling": 250, "known_basins": False, "composition_quota": False, "surrogate": False}
"""What makes a random arm plain: valid proposals as they come."""


def _gan(share: float, first: int = 2, **changes: Any) -> dict[str, Any]:
    settings = {"name": "gan", "kind": "gan", "screening": {"oversampling": 100, "reach": 1.4}}
    return merged({**settings, "share": share, "first_iteration": first}, changes)


def _latent(share: float, first: int = 2, **changes: Any) -> dict[str, Any]:
    settings = {"name": "deep", "kind": "latent_search", "generator": "gan"}
    screening = {"oversampling": 6, "reach": 1.4}
    return merged({**settings, "share": share, "first_iteration": first, "screening": screening}, changes)


def _scout(share: float, **changes: Any) -> dict[str, Any]:
    settings = {"name": "scout", "kind": "random", "composition": "uniform", "metal": "training"}
    return merged({**settings, "share": share, "screening": SCREENED}, changes)


def _moves(share: float, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"name": "moves", "kind": "hopping", "screening": {"oversampling": 40}}
    return merged({**settings, "share": share}, changes)


NOTHING = {"oxygen_probability": 0.0, "relocation_probability": 0.0, "crossover_probability": 0.0}
KINDS: dict[str, dict[str, Any]] = {
    "displacement": {},
    "cartesian": {"kind": "cartesian"},
    "oxygen": {"oxygen_probability": 1.0},
    "relocation": {"relocation_probability": 1.0},
    "crossover": {"crossover_probability": 1.0},
}
"""Moves of one kind alone."""


LOOP: dict[str, Any] = {
    "arms": [_gan(0.4), _moves(0.6)],
    "budget": {"earned": 0.7},
    "training": {"settings": {"steps": 300}},
    "prerelaxation": {"on": True},
}
"""The whole loop: its first iterations are moves of what is known, and nothing is trained before."""
NO_PRERELAXATION = {"prerelaxation": {"on": False}}
UNSCREENED = [_gan(0.5, screening=PLAIN | {"oversampling": 20}), _moves(0.5, screening=PLAIN | {"oversampling": 40})]


def _with_term(name: str, weight: float) -> dict[str, Any]:
    """A further term beside the one that the conditions bring with them, both fading in over half of the steps."""
    steps = LOOP["training"]["settings"]["steps"]
    return {"terms": {"count": COUNT_WEIGHT, name: weight}, "terms_blend": steps // 2}


def _alone(arm: Mapping[str, Any]) -> dict[str, Any]:
    return {"arms": [{**arm, "share": 1.0}]}


LOOPS: dict[str, dict[str, Any]] = {
    "gan": LOOP,
    "random": _alone(_scout(1.0, name="random", metal="random", screening=PLAIN)),
    "random_oxygen": _alone(_scout(1.0, name="random", screening=PLAIN)),
    "moves": _alone(_moves(1.0)) | {"prerelaxation": {"on": True}},
    "random-prerelaxed": _alone(_scout(1.0, name="random", metal="random")) | {"prerelaxation": {"on": True}},
}
"""Arms of the comparison that run as campaigns."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "gan-no-prerelaxation": NO_PRERELAXATION,
    "moves-no-prerelaxation": _alone(_moves(1.0)) | NO_PRERELAXATION,
    "gan-no-screening": NO_PRERELAXATION | {"arms": UNSCREENED},
    "gan-no-surrogate": NO_PRERELAXATION
    | {"arms": [_gan(0.5, screening={"surrogate": False}), _moves(0.5, screening={"surrogate": False})]},
    "moves-no-surrogate": NO_PRERELAXATION | _alone(_moves(1.0, screening={"surrogate": False})),
    "random-screened": _alone(_scout(1.0, name="random")) | NO_PRERELAXATION,
    "gan-no-feedback": {"arms": [_gan(0.5, feeds_training=False), _moves(0.5)]},
    "gan-no-stopping": relaxing_to_the_end(LOOP),
    "gan-shares-fixed": {"budget": {"earned": 0.0}},
    "gan-one-wave": {"budget": {"wave": 1000}},
    "gan-unconditioned": {"conditioning": {"enabled": False}},
    "gan-control-20": {
        "arms": [
            _gan(0.4),
            _moves(0.4),
            _scout(0.2, name="control", metal="random", feeds_training=False, screening=PLAIN),
        ]
    },
}
"""Changes of the loop, one switch each; what screens proposals is switched off where they are not relaxed in a
surrogate, which screens them too."""

IDEAS: dict[str, dict[str, Any]] = {
    "gan-from-random": {"arms": [_gan(0.5), _scout(0.5)]},
    "gan-three": {"arms": [_gan(0.4), _moves(0.4), _scout(0.2)]},
    "gan-hot": {"arms": [_gan(0.5, noise_temperature=1.5), _moves(0.5)]},
    "gan-early": {"arms": [_gan(0.5, first=1), _moves(0.5)]},
    "gan-late": {"arms": [_gan(0.5, first=4), _moves(0.5)]},
    "gan-less": {"arms": [_gan(0.25), _moves(0.75)]},
    "gan-oversampled": {"arms": [_gan(0.5, screening={"oversampling": 300}), _moves(0.5)]},
    "gan-long": {"training": {"settings": {"steps": 900}}},
    "gan-wide-classes": {"conditioning": {"classes_asked": [0, 1, 2, 3, 4, 5, 6]}},
    "gan-classes-as-trained": {"conditioning": {"classes_asked": []}},
    "gan-near": {"arms": [_gan(0.5, screening={"reach": 1.0}), _moves(0.5)]},
    "moves-further": _alone(_moves(1.0, screening={"reach": 1.4})),
    "gan-novel": {"training": {"learned": "novel"}},
    "gan-reaching": {
        "arms": [_gan(0.5, noise_temperature=1.5, screening={"oversampling": 200}), _moves(0.5)],
        "conditioning": {"classes_asked": []},
        "training": {"learned": "novel"},
    },
    "gan-cartesian": {"arms": [_gan(0.5), _moves(0.5, moves={"kind": "cartesian"})]},
    "gan-latent": {"arms": [_gan(0.2), _latent(0.2), _moves(0.6)]},
    "gan-latent-alone": {"arms": [_latent(0.4, generator=None), _moves(0.6)]},
    "gan-missing": {"conditioning": {"asked": "missing"}},
    "gan-validity": {"training": {"settings": _with_term("validity", 1.0)}},
    "gan-predictor": {"training": {"settings": _with_term("predictor", 0.5)}},
    "moves-relocating": _alone(_moves(1.0, moves={**NOTHING, "relocation_probability": 0.6})),
    "moves-uncrossed": _alone(_moves(1.0, moves={"crossover_probability": 0.0})),
    **{f"only-{kind}": _alone(_moves(1.0, moves={**NOTHING, **only})) for kind, only in KINDS.items()},
    "moves-from-low": _alone(_moves(1.0, moves={"reach_mev_per_A2": 5.0})),
    "moves-from-high": _alone(_moves(1.0, moves={"reach_mev_per_A2": 50.0})),
}
"""What was tried to win more; docs/benchmarks.md tells what each changed."""

TRANSFER = "transfer"
"""the loop, its networks begun with those of another cell"""


def variant(name: str) -> dict[str, Any]:
    """Keys of a campaign's configuration that make it this arm."""
    if name == TRANSFER:
        return merged(LOOP, {"arms": [_gan(0.5, first=1), _moves(0.5)]})
    if name in LOOPS:
        return LOOPS[name]
    return merged(LOOP, {**ABLATIONS, **IDEAS}[name])


VARIANTS = (*LOOPS, TRANSFER, *ABLATIONS, *IDEAS)

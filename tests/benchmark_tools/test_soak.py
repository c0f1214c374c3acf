"""The soak's verdict on memory: flat is told from growing, and its traffic is what its names say."""

import random

import pytest
from benchmarks import soak_grpc
from benchmarks.soak import slope
from benchmarks.soak_traffic import _MAKERS, _MANAGEMENT, _PLAIN, KINDS

ROWS = [[0.5] * 30] * 4


def samples(mb_per_hour: float, noise: float, seconds: int = 600) -> list[tuple[float, float]]:
    chance = random.Random(0)
    return [(second, 100 + mb_per_hour * second / 3600 + chance.gauss(0, noise)) for second in range(seconds)]


@pytest.mark.parametrize("growth", [0.0, -20.0, 3.0])
def test_memory_that_only_wavers_is_flat(growth: float) -> None:
    assert slope(samples(growth, noise=0.5)).is_flat


@pytest.mark.parametrize("growth", [12.0, 300.0])
def test_memory_that_grows_is_told_to_grow(growth: float) -> None:
    found = slope(samples(growth, noise=0.2))
    assert not found.is_flat
    assert found.mb_per_hour == pytest.approx(growth, abs=3 * found.error)


def test_the_error_covers_the_truth_as_often_as_it_should() -> None:
    covered = 0
    for seed in range(200):
        chance = random.Random(seed)
        found = slope([(second, 100 + chance.gauss(0, 1)) for second in range(300)])
        covered += abs(found.mb_per_hour) <= found.error
    assert 175 <= covered <= 199


def test_a_soak_too_short_for_a_slope_is_refused() -> None:
    with pytest.raises(ValueError, match="3 blocks of 10 s are too few"):
        slope(samples(0, 1, seconds=30))


def test_every_kind_of_request_can_be_made() -> None:
    assert set(_MAKERS) | set(_PLAIN) | set(_MANAGEMENT) | set(soak_grpc.KINDS) == set(KINDS)
    chance = random.Random(0)
    for make in _MAKERS.values():
        assert make(ROWS, chance)

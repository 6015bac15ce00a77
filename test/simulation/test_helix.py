"""Trajectories against an independent integration and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.simulation.detector.decays import MODES, Particles, decay
from nanoforge.simulation.detector.helix import MM_PER_GEV, Solenoid, perigee, propagate
from nanoforge.simulation.flat import delta_r2, descending, offsets_of, sum_by, wrap

SOLENOID = Solenoid()
CYLINDER = (SOLENOID.field, SOLENOID.radius, SOLENOID.half_length)


def tracks(n: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pt, eta, phi = np.exp(rng.uniform(np.log(0.2), np.log(50), n)), rng.uniform(-3, 3, n), rng.uniform(-np.pi, np.pi, n)
    place = {k: rng.normal(0, s, n) for k, s in (("x", 20.0), ("y", 20.0), ("z", 50.0))}
    momentum = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    return momentum | {"charge": rng.choice([-1.0, 1.0], n)} | place


def stepped(t: dict[str, np.ndarray], steps: int) -> np.ndarray:
    """Where the particles leave the cylinder: the Lorentz force, by the midpoint rule in small steps of the path."""
    x = np.stack([t["x"], t["y"], t["z"]])
    u = np.stack([t["px"], t["py"], t["pz"]])
    p = np.sqrt((u**2).sum(axis=0))
    u = u / p
    curve = t["charge"] * SOLENOID.field / (p * MM_PER_GEV)
    length = 9000.0 / steps

    def force(direction: np.ndarray) -> np.ndarray:
        return curve * np.stack([direction[1], -direction[0], np.zeros_like(p)])

    inside = np.ones(len(p), bool)
    for _ in range(steps):
        middle = u + 0.5 * length * force(u)
        new = x + length * middle
        new_u = u + length * force(middle)
        out = (np.hypot(new[0], new[1]) > SOLENOID.radius) | (np.abs(new[2]) > SOLENOID.half_length)
        crossing = inside & out
        share = np.zeros(len(p))
        for k in range(1, 25 if crossing.any() else 1):  # the crossing within the step, by bisection
            at = x + (share + 0.5**k) * length * middle
            beyond = (np.hypot(at[0], at[1]) > SOLENOID.radius) | (np.abs(at[2]) > SOLENOID.half_length)
            share += np.where(beyond, 0, 0.5**k)
        x = np.where(crossing, x + share * length * middle, np.where(inside, new, x))
        u = np.where(inside & ~out, new_u, u)
        inside &= ~out
    return np.where(inside, np.nan, x)


def test_end_points_agree_with_a_step_integration() -> None:
    t = tracks(300)
    *end, reached = propagate(**t, field=CYLINDER[0], radius=CYLINDER[1], half_length=CYLINDER[2])
    expected = stepped(t, 5000)
    assert reached.sum() > 200
    assert np.abs(np.stack(end)[:, reached] - expected[:, reached]).max() < 0.5  # mm, of metres


def test_all_that_reach_end_on_the_face_and_loopers_inside() -> None:
    t = tracks(5000)
    x, y, z, reached = propagate(*t.values(), *CYLINDER)
    r = np.hypot(x, y)
    on_face = np.isclose(r, SOLENOID.radius) | np.isclose(np.abs(z), SOLENOID.half_length)
    np.testing.assert_array_equal(on_face, reached)
    assert (r <= SOLENOID.radius + 1e-6).all()
    central = np.abs(t["pz"]) < 0.2 * np.hypot(t["px"], t["py"])
    pt = np.hypot(t["px"], t["py"])
    least = SOLENOID.radius / 2 * SOLENOID.field / MM_PER_GEV  # the diameter is the radius of the face: 0.735 GeV
    assert least == pytest.approx(0.735, abs=1e-3)
    assert not reached[central & (pt < 0.9 * least)].any()
    assert reached[central & (pt > 1.15 * least)].all()


def test_neutral_particles_fly_straight_and_bending_follows_the_charge() -> None:
    t = tracks(1000)
    x, y, z, reached = propagate(*{**t, "charge": np.zeros(1000)}.values(), *CYLINDER)
    flight = np.stack([x - t["x"], y - t["y"], z - t["z"]])
    momentum = np.stack([t["px"], t["py"], t["pz"]])
    cosine = (flight * momentum).sum(axis=0) / np.linalg.norm(flight, axis=0) / np.linalg.norm(momentum, axis=0)
    assert reached.all()
    np.testing.assert_allclose(cosine, 1, atol=1e-12)
    one = np.ones(1)
    for charge in (1.0, -1.0):
        _, y, _, _ = propagate(2 * one, 0 * one, 0 * one, charge * one, 0 * one, 0 * one, 0 * one, *CYLINDER)
        assert np.sign(y[0]) == -charge


def test_perigee_is_the_closest_point_of_the_circle() -> None:
    t = tracks(200, seed=3)
    to = np.random.default_rng(4).normal(0, [[0.1], [0.1], [30.0]], (3, 200))
    dxy, dz, phi = perigee(*t.values(), *to, SOLENOID.field)
    pt = np.hypot(t["px"], t["py"])
    kappa = -t["charge"] * SOLENOID.field / (pt * MM_PER_GEV)
    phi0 = np.arctan2(t["py"], t["px"])
    s = np.linspace(-200, 200, 400_001)
    for i in range(0, 200, 10):
        x = t["x"][i] + (np.sin(phi0[i] + kappa[i] * s) - np.sin(phi0[i])) / kappa[i]
        y = t["y"][i] - (np.cos(phi0[i] + kappa[i] * s) - np.cos(phi0[i])) / kappa[i]
        best = np.argmin(np.hypot(x - to[0, i], y - to[1, i]))
        angle = phi0[i] + kappa[i] * s[best]
        expected = -(x[best] - to[0, i]) * np.sin(angle) + (y[best] - to[1, i]) * np.cos(angle)
        assert dxy[i] == pytest.approx(expected, abs=1e-3)
        slope = t["pz"][i] / pt[i]
        assert dz[i] == pytest.approx(t["z"][i] + s[best] * slope - to[2, i], abs=2e-3 * (1 + abs(slope)))
        assert wrap(np.array(phi[i] - angle)) == pytest.approx(0, abs=1e-4)


def particles(pdg: int, mass: float, charge: float, n: int, pt: float) -> Particles:
    phi = np.random.default_rng(5).uniform(-np.pi, np.pi, n)
    px, py, pz, zero = pt * np.cos(phi), pt * np.sin(phi), np.full(n, 1.0), np.zeros(n)
    e = np.sqrt(pt**2 + 1 + mass**2) + zero
    ids = np.full(n, pdg, np.int32)
    event = np.arange(n)
    return Particles(event, ids, px, py, pz, e, zero + mass, zero, zero, zero, zero + charge, event, ids * 0)


@pytest.mark.parametrize(("pdg", "mass", "charge"), [(310, 0.497611, 0), (-3122, 1.115683, 0), (3334, 1.67245, -1)])
def test_decays_conserve_momentum_and_charge_and_fly_as_far_as_they_live(pdg: int, mass: float, charge: float) -> None:
    n = 4000
    before = particles(pdg, mass, charge, n, pt=3.0)
    after = decay(before, 1e9, 1e9, np.random.default_rng(1))
    assert not np.isin(np.abs(after.pdg), list(MODES)).any()
    assert (np.diff(after.event) >= 0).all()
    for name in ("px", "py", "pz", "e", "charge"):
        total = np.bincount(after.event, weights=getattr(after, name))
        np.testing.assert_allclose(total, getattr(before, name), rtol=1e-4, atol=1e-3)
    first = np.unique(after.event, return_index=True)[1]
    if abs(pdg) == 310:
        path = np.hypot(after.x, after.y)[first]
        mean = MODES[310][0] * 3.0 / mass
        assert path.mean() == pytest.approx(mean, abs=4 * mean / np.sqrt(n))
        charged = np.isin(np.abs(after.pdg), 211)[first].mean()
        assert charged == pytest.approx(0.692, abs=4 * np.sqrt(0.692 * 0.308 / n))
    if pdg == -3122:
        assert set(np.unique(after.pdg)) == {-2212, 211, -2112, 22}


def test_decays_end_at_the_cylinder() -> None:
    before = particles(310, 0.497611, 0, 2000, pt=20.0)
    after = decay(before, 1290, 2900, np.random.default_rng(1))
    assert (np.hypot(after.x, after.y) < 1290).all()
    through = (after.pdg == 310).mean()
    assert 0.1 < through < 0.5  # exp(-1290 / (26.84 * 40.2)) = 0.30 of the kaons


def test_angles_wrap() -> None:
    angle = np.linspace(-20, 20, 1001)
    wrapped = wrap(angle)
    assert (wrapped >= -np.pi).all()
    assert (wrapped < np.pi).all()
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angle), atol=1e-12)
    assert delta_r2(0.0, 3.1, 0.0, -3.1) == pytest.approx((2 * np.pi - 6.2) ** 2)
    assert delta_r2(1.0, 0.2, -1.0, 0.1) == pytest.approx(4.01)


def test_flat_helpers() -> None:
    offsets = np.array([0, 3, 3, 5])
    key = np.array([1.0, 3.0, 3.0, 2.0, 5.0])
    assert descending(offsets, key).tolist() == [1, 2, 0, 4, 3]
    assert offsets_of(np.array([3, 0, 2])).tolist() == offsets.tolist()
    assert sum_by(np.array([0, -1, 2, 2]), np.array([1.0, 2.0, 3.0, 4.0]), 4).tolist() == [1, 0, 7, 0]

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from generated import block, flat, generator, many, same
from nanoforge.config.generator import Generator
from nanoforge.errors import DataError, UserError
from nanoforge.simulation import presets
from nanoforge.simulation.generator.event_blocks import BEAM_SPOT, check, generate_block
from nanoforge.simulation.generator.event_blocks import seeds as block_seeds
from nanoforge.simulation.generator.pythia import Engine, load, state
from nanoforge.simulation.generator.trials import CrossSection, Trials
from scipy import stats

WINDOW = 2.0  # of the widths of a resonance, on both sides
INSIDE = np.arctan(1) / np.arctan(2 * WINDOW)  # share of such a window's Breit-Wigner within half a width of its peak


def engine(name: str) -> Engine:
    return Engine(presets.settings(generator(name), ""), "")


# -- the same events, whatever made them ------------------------------------------------------------------------------


def test_a_running_pythia_gives_the_events_of_a_new_one() -> None:
    used, new = engine("ttbar"), engine("ttbar")
    used.seed(np.random.SeedSequence(1))
    used.events(40)
    batches = []
    for one in (used, new):
        one.seed(np.random.SeedSequence(2))
        batches.append(one.events(30)[0])
    assert same(*batches)


def test_blocks_do_not_depend_on_their_order_and_differ() -> None:
    settings = generator("pileup")
    forward = [generate_block(settings, "a", i, 20)[0] for i in range(3)]
    backward = [generate_block(settings, "a", i, 20)[0] for i in (2, 1, 0)][::-1]
    for first, second in zip(forward, backward):
        assert same(first, second)
        assert ak.array_equal(first.pileup, second.pileup)
    assert not same(forward[0], forward[1])
    assert not same(forward[0], generate_block(settings, "b", 0, 20)[0])


def test_the_seed_counts() -> None:
    first = generate_block(generator("pileup"), "a", 0, 5)[0]
    assert not same(first, generate_block(generator("pileup", seed=2), "a", 0, 5)[0])


def test_no_two_blocks_share_their_random_numbers() -> None:
    """Of so many blocks 5 pairs would share one of Pythia's 9e8 seeds; two of the names have the same CRC-32."""
    samples, numbers = [(1, "plumless"), (1, "buckeroo"), (2, "plumless"), (900_000_001, "plumless")], range(25_000)
    seeds = (block_seeds(seed, name, number).spawn(1)[0] for seed, name in samples for number in numbers)
    first = {seed.generate_state(2, np.uint64).tobytes() for seed in seeds}
    assert len(first) == len(samples) * len(numbers)


def test_the_state_of_pythia_is_that_of_the_block() -> None:
    one = np.random.SeedSequence(3)
    numbers = state(one)
    assert numbers.shape == (97,) and np.all((numbers >= 0) & (numbers < 1))
    assert np.array_equal(numbers * 2**48 % 1, np.zeros(97)) and np.any(numbers * 2**48 % 2)
    pythia = engine("z")
    for _ in range(2):  # Pythia's own rule: the difference of two of the numbers, less another series
        pythia.seed(one)
        expected = (numbers[96] - numbers[32]) % 1 - (362436 - 7654321 + 16777213) / 2**24
        assert pythia._pythia.rndm.flat() == expected % 1


# -- what a block holds -----------------------------------------------------------------------------------------------


def test_mothers_and_daughters_are_in_the_event() -> None:
    particles = block("ttbar").particles
    size = ak.num(particles)
    for name in ("mother1", "mother2", "daughter1", "daughter2"):
        assert ak.all(particles[name] >= -1) and ak.all(particles[name] < size)
    assert ak.all(particles.pdgId[:, 0] == 90)
    top = particles[(abs(particles.pdgId) == 6) & (particles.status == -22)]
    assert ak.all(particles.status[top.mother1] == -21)


def test_charge_energy_and_momentum_are_conserved() -> None:
    particles = block("ttbar").particles
    final = particles[particles.status > 0]
    assert np.allclose(ak.sum(final.charge, axis=1), 2)
    assert np.allclose(ak.sum(final.e, axis=1), 13600, rtol=1e-4)
    assert np.allclose(ak.sum(final.px, axis=1), 0, atol=0.01)


def test_collisions_spread_as_the_beam_spot() -> None:
    particles = many("z", 1000)
    vertex = np.stack([np.asarray(particles[f"v{axis}"][:, 1]) for axis in "xyz"])
    assert np.allclose(vertex.std(axis=1), BEAM_SPOT, rtol=5 / np.sqrt(2 * vertex.shape[1]))
    tau = block("tau").particles
    decayed = tau[abs(tau.pdgId) == 16]
    flight = np.hypot(decayed.vx - tau.vx[:, 1], decayed.vy - tau.vy[:, 1])
    assert 0.3 < ak.mean(flight) < 3  # mm; c tau is 0.087 mm


def test_pileup() -> None:
    made = block("pileup")
    assert abs(made.pileup_n.mean() - 3) < 4 * np.sqrt(3 / len(made.pileup_n))
    assert ak.all(made.pileup.status > 0) and ak.all(made.pileup.mother1 == -1)
    assert ak.all(made.pileup.vertex >= 1) and ak.all(made.pileup.vertex <= made.pileup_n)
    z = np.asarray([ak.mean(made.pileup.vz[made.pileup.vertex == 1], axis=1)]).ravel()
    z = z[made.pileup_n > 0]
    assert abs(z.astype(float).std() - BEAM_SPOT[2]) < 5 * BEAM_SPOT[2] / np.sqrt(2 * len(z))
    assert block("z").pileup is None and not block("z").pileup_n.any()


def test_information_of_the_hard_process() -> None:
    info = block("ttbar").info
    assert set(np.unique(np.abs(info["id1"]))) <= {1, 2, 3, 4, 5, 21}
    assert np.all((info["x1"] > 0) & (info["x1"] < 1)) and np.all(info["scale"] > 100)
    assert np.all(info["nMPI"] == 1)  # without multiparton interactions
    settings = generator("ttbar", mpi=True)
    assert generate_block(settings, "a", 0, 10)[0].info["nMPI"].mean() > 3


# -- closure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "events", "pdg_id", "mass", "width"),
    [("z", 3000, 23, 91.188, 2.495), ("ttbar", 1000, 24, 80.385, 2.085), ("ttbar", 1000, 6, 173.0, 1.40)],
)
def test_resonances(name: str, events: int, pdg_id: int, mass: float, width: float) -> None:
    """Peak and width of Pythia's particle data (PDG values), by the median and the share of events near the peak."""
    particles = many(name, events)
    found = flat(particles, (abs(particles.pdgId) == pdg_id) & (particles.status == -22), "m")
    found = found[np.abs(found - mass) < WINDOW * width]
    error = 1.3 * width / 2 / np.sqrt(len(found))
    assert abs(np.median(found) - mass) < 4 * error + 0.02 * width  # parton densities fall across the peak
    share = np.mean(np.abs(found - mass) < width / 2)
    assert abs(share - INSIDE) < 4 * np.sqrt(INSIDE * (1 - INSIDE) / len(found)) + 0.02


def test_the_z_mass_of_its_muons() -> None:
    particles = many("z", 3000)
    boson = particles[(particles.pdgId == 23) & (particles.status == -22)]
    muons = particles[(abs(particles.pdgId) == 13) & (particles.status == 23)]
    pair = [ak.sum(muons[name], axis=1) for name in ("px", "py", "pz", "e")]
    mass = np.sqrt(pair[3] ** 2 - pair[0] ** 2 - pair[1] ** 2 - pair[2] ** 2)
    two = ak.num(muons) == 2
    assert np.allclose(mass[two], boson.m[two][:, 0], rtol=1e-4)


def test_the_higgs_mass() -> None:
    particles = block("higgs").particles
    found = flat(particles, (particles.pdgId == 25) & (particles.status == -22), "m")
    assert np.all(np.abs(found - 125) < 0.5)


def test_phi_is_isotropic() -> None:
    particles = many("z", 3000)
    muons = particles[(particles.pdgId == 13) & (particles.status > 0)]
    phi = np.asarray(ak.flatten(np.arctan2(muons.py, muons.px)))
    assert stats.kstest(phi, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_tau_decays() -> None:
    """The share of hadronic decays (PDG: 64.8 %), and the visible energy of tau -> pi nu: 1/2 + P/6 with P = -0.15."""
    particles = many("tau", 500)
    taus = particles[(abs(particles.pdgId) == 15) & (particles.daughter1 >= 0)]
    first = abs(particles.pdgId[taus.daughter1])
    taus = taus[(first != 15) & (first != 22)]
    second, last = abs(particles.pdgId[taus.daughter1 + 1]), taus.daughter2 - taus.daughter1
    leptonic = flat(particles, (abs(particles.pdgId) == 12) | (abs(particles.pdgId) == 14), "e")
    total = int(ak.sum(ak.num(taus)))
    assert abs(1 - len(leptonic) / total - 0.648) < 4 * np.sqrt(0.648 * 0.352 / total)
    pion = taus[(last == 1) & (second == 211)]
    x = np.asarray(ak.flatten(particles.e[pion.daughter1 + 1] / pion.e))
    assert len(x) > 50
    assert abs(x.mean() - 0.475) < 4 * np.sqrt(1 / 12 / len(x))


# -- bad input --------------------------------------------------------------------------------------------------------


def test_a_refused_setting_comes_with_pythias_own_words(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(UserError, match=r"samples.a: Pythia refuses 'Top:gg2tbar = on': .*not found.*Top:gg2tbar = on"):
        Engine(["Top:gg2tbar = on"], "samples.a")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"gun": {"pdgId": 2101, "pt": [1, 2]}}, r"generator.gun: ud_0 \(2101\) has colour"),
        ({"gun": {"pdgId": 9_999_999, "pt": [1, 2]}}, "knows no particle of pdgId 9999999"),
        (
            {"gun": {"pdgId": 553, "pt": [1, 2]}, "settings": ["SLHA:file = none.slha"]},
            "SLHA:file = none.slha: there is no",
        ),
        ({"gun": {"pdgId": -22, "pt": [1, 2]}}, "knows no particle of pdgId -22"),
        (
            {"process": "ttbar", "filters": {"x": {"daughters": 9_999_999}}},
            "knows no particle of pdgId 9999999",
        ),
        ({"gun": {"pdgId": 90, "pt": [1, 2]}}, "knows no particle of pdgId 90"),
        (
            {"process": "ttbar", "settings": ["6:m0 = heavy"]},
            "would misread '6:m0 = heavy': the value must be a number",
        ),
    ],
)
def test_what_cannot_be_generated(content: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"samples.a.{'.*' if message[0] != 'g' else ''}{message}"):
        check(Generator.model_validate(content), "a")


def test_events_without_particles_are_refused() -> None:
    with pytest.raises(UserError, match="with these settings Pythia's events have no particles"):
        generate_block(generator("z", settings=["PartonLevel:all = off"]), "a", 0, 5)


def test_an_slha_file_beside_the_standard_model_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.slha").write_text("BLOCK MASS\n  1000021  6.0E+02\n")
    check(generator("z", settings=[f"SLHA:file = {tmp_path / 'a.slha'}"]), "a")
    assert "changes nothing in processes of the Standard Model" in capsys.readouterr().err


def test_settings_that_make_no_events_are_refused(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(UserError, match=r"samples.a: Pythia cannot start .*: .*vanishing cross sections"):
        Engine(["Top:gg2ttbar = on", "Beams:eCM = 50"], "samples.a")
    assert capfd.readouterr().out == ""


def test_an_impossible_filter_stops_with_the_limit() -> None:
    settings = generator("z", filters={"tops": {"daughters": [6]}}, max_trials=300)
    with pytest.raises(DataError, match=r"samples.a.generator.filters: none of 300 events in a row .* below 0.0099"):
        generate_block(settings, "a", 0, 300)


def test_efficiency_counts_tries_up_to_the_last_accepted_event() -> None:
    settings = generator("z", filters={"muons": {"mother": 23, "daughters": [13, 13], "pt": 30}})
    books = [generate_block(settings, "a", i, 40)[0].accepted for i in range(5)]
    total = Trials()
    for part in books:
        total.add(part)
    assert total.passed == 200 and total.tried == 200 + total.rejected["muons"]
    share, error = total.efficiency
    assert error == pytest.approx(np.sqrt(share * (1 - share) / total.tried))
    free = many("z", 1000)
    muons = free[(abs(free.pdgId) == 13) & (free.status > 0) & (free.daughter1 < 0)]
    hard = ak.sum(np.hypot(muons.px, muons.py) > 30, axis=1) >= 2
    expected = float(ak.mean(hard))
    assert abs(share - expected) < 4 * np.hypot(error, np.sqrt(expected * (1 - expected) / 1000))


def test_the_cross_section_is_that_of_the_tried_events() -> None:
    settings = generator("z", filters={"muons": {"mother": 23, "daughters": [13, 13], "pt": 30}})
    parts = [generate_block(settings, "a", i, 40)[0].accepted.cross_section for i in range(4)]
    again = generate_block(settings, "a", 1, 40)[0].accepted.cross_section
    assert again == parts[1]  # whatever was generated before
    values, errors = (np.array([getattr(part, name) for part in parts]) for name in ("value", "error"))
    assert np.abs((values - values.mean()) / errors).max() < 4
    total = Trials()
    for part in parts:
        total.add(Trials(cross_section=part))
    assert total.cross_section.points == sum(part.points for part in parts)
    assert total.cross_section.error == pytest.approx(errors.mean() / 2, rel=0.2)


def test_efficiency_is_of_weights() -> None:
    books = Trials(tried=4, passed=2, sumw=4.0, sumw2=6.0, passed_sumw=1.0, passed_sumw2=0.5)
    books.cross_section = CrossSection(8.0, 0.8, 10)
    assert books.efficiency == (0.25, pytest.approx(np.sqrt(0.5 * 0.5 + 6.0 / 16) / 4))
    value, error = books.passed_cross_section
    assert value == 2.0 and error == pytest.approx(np.hypot(0.2, 8 * books.efficiency[1]))
    assert Trials().efficiency == (0.0, 0.0) and Trials().passed_cross_section is None


def test_importing_pythia_runs_no_file_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "console.py").write_text("raise RuntimeError('run')\n")
    code = "from nanoforge.simulation.generator.pythia import load; load(); import os; print(os.getcwd())"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert answer.stdout.strip() == str(tmp_path), answer.stderr


@pytest.mark.parametrize("layout", ["environment", "pip install --target"])
def test_pythia_reads_the_data_that_came_with_it(tmp_path: Path, layout: str) -> None:
    """Whatever PYTHIA8DATA says, which a view of LCG sets to those of its own version."""
    variables = {**os.environ, "PYTHIA8DATA": "/cvmfs/pythia8/309/share/Pythia8/xmldoc"}
    if layout != "environment":
        library = Path(load().__file__)
        shutil.copy(library, tmp_path)
        (tmp_path / "share").symlink_to(library.parents[3] / "share")
        variables["PYTHONPATH"] = str(tmp_path)
    code = "from nanoforge.simulation.generator.pythia import load; pythia = load().Pythia('', False)"
    code += "; print(pythia.parm('Pythia:versionNumber'))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert answer.stdout.split()[-1] == "8.317", answer.stdout + answer.stderr

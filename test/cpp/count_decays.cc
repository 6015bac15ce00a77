// count_decays EVENTS CUTS: counts decays as GenDecayFilter does, for a comparison with the embedded generator.
//
// EVENTS holds int64 events, particles and offsets (events + 1), then by particle int32 pdgId, status, mother1 and
// mother2
// (-1: none; Pythia's numbering within the event), then float64 px, py, pz and e. CUTS has a line for each filter:
// mother minPt maxAbsEta deltaR(2) mass(2) count daughters..., negative or inverted where there is no cut. Writes int32
// by filter and event: the number of decays, negative (less 1) if the event does not pass.

#include <cstdint>
#include <fstream>
#include <iostream>
#include <sstream>

#include "../../plugins/GenDecay.h"
#include "records.h"

namespace {

  template <typename T>
  std::vector<T> read(std::istream& file, std::size_t size) {
    std::vector<T> values(size);
    file.read(reinterpret_cast<char*>(values.data()), size * sizeof(T));
    return values;
  }

  struct Events {
    std::vector<std::int64_t> offsets;
    std::vector<std::int32_t> pdgId, status, mother1, mother2;
    std::vector<double> px, py, pz, e;

    explicit Events(std::istream& file) {
      const auto sizes = read<std::int64_t>(file, 2);
      offsets = read<std::int64_t>(file, sizes[0] + 1);
      for (auto* column : {&pdgId, &status, &mother1, &mother2})
        *column = read<std::int32_t>(file, sizes[1]);
      for (auto* column : {&px, &py, &pz, &e})
        *column = read<double>(file, sizes[1]);
    }

    /// All mothers, as Pythia's motherList and so HepMC and reco::GenParticle have them.
    std::vector<int> mothers(std::size_t i) const {
      const int first = mother1[i], second = mother2[i], code = std::abs(status[i]);
      if (first < 0)
        return {};
      if (second < 0 || second == first)
        return {first};
      if ((code > 80 && code <= 90) || (code > 100 && code < 107)) {
        std::vector<int> range;
        for (int mother = first; mother <= second; ++mother)
          range.push_back(mother);
        return range;
      }
      return {std::min(first, second), std::max(first, second)};
    }

    records::Particles operator[](std::size_t event) const {
      records::Particles particles;
      for (std::int64_t i = offsets[event]; i < offsets[event + 1]; ++i)
        particles.push_back({pdgId[i], px[i], py[i], pz[i], e[i], mothers(i)});
      return particles;
    }
  };

  nanoforge::DecayCuts cuts(const std::string& line) {
    std::istringstream words(line);
    nanoforge::DecayCuts cuts;
    double maxAbsEta;
    std::pair<double, double> deltaR, mass;
    words >> cuts.mother >> cuts.minPt >> maxAbsEta >> deltaR.first >> deltaR.second >> mass.first >> mass.second >>
        cuts.count;
    if (maxAbsEta >= 0)
      cuts.maxAbsEta = maxAbsEta;
    if (deltaR.first <= deltaR.second)
      cuts.deltaR = deltaR;
    if (mass.first <= mass.second)
      cuts.mass = mass;
    for (int daughter; words >> daughter;)
      cuts.daughters.push_back(daughter);
    return cuts;
  }

}  // namespace

int main(int, char** argv) {
  std::ifstream file(argv[1], std::ios::binary), filters(argv[2]);
  const Events events(file);
  std::vector<nanoforge::DecaySelector> selectors;
  for (std::string line; std::getline(filters, line);)
    selectors.emplace_back(cuts(line));
  const std::size_t size = events.offsets.size() - 1;
  std::vector<std::int32_t> found(selectors.size() * size);
  for (std::size_t event = 0; event < size; ++event) {
    const records::Particles particles = events[event];
    const auto fromCandidates = nanoforge::fromCandidates(particles);
    const auto fromHepMC = nanoforge::fromHepMC(records::HepMCEvent(particles));
    for (std::size_t s = 0; s < selectors.size(); ++s) {
      const int number = selectors[s](fromCandidates).size();
      if (number != static_cast<int>(selectors[s](fromHepMC).size()))
        return 1;
      found[s * size + event] = selectors[s].pass(fromCandidates) ? number : -1 - number;
    }
  }
  std::cout.write(reinterpret_cast<const char*>(found.data()), found.size() * sizeof(std::int32_t));
}

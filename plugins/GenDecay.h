#ifndef PhysicsTools_NanoForge_GenDecay_h
#define PhysicsTools_NanoForge_GenDecay_h

// Decays of generated particles, without any framework: the selection of GenDecayFilter and of SimAcceptanceFilter.
//
// The rules are those of the embedded generator (python/simulation/filters.py), event by event: mother and legs are
// taken as they are after radiation, legs come in any order, each of them is cut, |eta| and a wrapped phi are used.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nanoforge {

  constexpr int kNone = -1;

  /// A generated particle: momentum in GeV, and the position of its first mother in the event.
  struct GenParticle {
    int pdgId = 0;
    double px = 0, py = 0, pz = 0, energy = 0;
    int mother = kNone;
    /// The next copy of the same particle, which only changed its momentum.
    int next = kNone;

    double pt() const { return std::hypot(px, py); }
    double eta() const { return std::asinh(pz / std::max(pt(), 1e-12)); }
    double phi() const { return std::atan2(py, px); }
  };

  using GenEvent = std::vector<GenParticle>;

  /// The difference of two azimuths, from -pi to pi.
  inline double deltaPhi(double phi1, double phi2) { return std::remainder(phi1 - phi2, 2 * M_PI); }

  inline double deltaR(double eta1, double phi1, double eta2, double phi2) {
    return std::hypot(eta1 - eta2, deltaPhi(phi1, phi2));
  }

  /// Note a mother of a particle; mothers come in their order. One outside of the event is none.
  inline void link(GenEvent& event, int particle, int mother) {
    if (mother < 0 || mother >= static_cast<int>(event.size()) || mother == particle)
      return;
    if (event[particle].mother == kNone)
      event[particle].mother = mother;
    if (event[mother].pdgId == event[particle].pdgId && event[mother].next == kNone)
      event[mother].next = particle;
  }

  /// Read particles with the interface of reco::GenParticle.
  template <typename Collection>
  GenEvent fromCandidates(const Collection& particles) {
    GenEvent event(particles.size());
    for (std::size_t i = 0; i < particles.size(); ++i) {
      const auto& p = particles[i];
      event[i].pdgId = p.pdgId();
      event[i].px = p.px();
      event[i].py = p.py();
      event[i].pz = p.pz();
      event[i].energy = p.energy();
    }
    for (std::size_t i = 0; i < particles.size(); ++i)
      for (std::size_t m = 0; m < particles[i].numberOfMothers(); ++m)
        link(event, i, particles[i].motherRef(m).key());
    return event;
  }

  /// Read particles with the interface of HepMC::GenEvent (HepMC 2).
  template <typename HepMCEvent>
  GenEvent fromHepMC(const HepMCEvent& record) {
    GenEvent event;
    std::map<int, int> places;
    for (auto it = record.particles_begin(); it != record.particles_end(); ++it) {
      const auto& p4 = (*it)->momentum();
      places[(*it)->barcode()] = event.size();
      event.push_back({(*it)->pdg_id(), p4.px(), p4.py(), p4.pz(), p4.e()});
    }
    for (auto it = record.particles_begin(); it != record.particles_end(); ++it) {
      const auto* vertex = (*it)->production_vertex();
      if (!vertex)
        continue;
      for (auto mother = vertex->particles_in_const_begin(); mother != vertex->particles_in_const_end(); ++mother)
        link(event, places.at((*it)->barcode()), places.at((*mother)->barcode()));
    }
    return event;
  }

  /// The last copy of a particle; a history that goes around in a circle has none.
  inline int lastCopy(const GenEvent& event, int i) {
    for (std::size_t steps = 0; steps <= event.size(); ++steps) {
      if (event[i].next == kNone)
        return i;
      i = event[i].next;
    }
    return kNone;
  }

  /// What a decay has to look like.
  struct DecayCuts {
    /// |PDG id| of the mother; 0 for single particles, of any of the kinds in daughters.
    int mother = 0;
    /// |PDG ids| of the legs, in any order.
    std::vector<int> daughters;
    /// Of every leg: GeV.
    double minPt = 0;
    /// Of every leg, on the absolute value.
    std::optional<double> maxAbsEta;
    /// Of every pair of legs.
    std::optional<std::pair<double, double>> deltaR;
    /// Of all legs together: GeV.
    std::optional<std::pair<double, double>> mass;
    /// So many decays, or particles, must be there.
    unsigned int count = 1;
  };

  /// Positions of the legs of one decay.
  using Legs = std::vector<int>;

  class DecaySelector {
  public:
    explicit DecaySelector(DecayCuts cuts) : cuts_(std::move(cuts)) {
      cuts_.mother = std::abs(cuts_.mother);
      for (int& id : cuts_.daughters)
        id = std::abs(id);
      std::sort(cuts_.daughters.begin(), cuts_.daughters.end());
    }

    /// The decays, or particles, that meet all conditions.
    std::vector<Legs> operator()(const GenEvent& event) const {
      std::vector<Legs> found = cuts_.mother ? decays(event) : singles(event);
      found.erase(std::remove_if(found.begin(), found.end(), [&](const Legs& legs) { return !good(event, legs); }),
                  found.end());
      return found;
    }

    bool pass(const GenEvent& event) const { return (*this)(event).size() >= cuts_.count; }

  private:
    bool wanted(int pdgId) const {
      return std::binary_search(cuts_.daughters.begin(), cuts_.daughters.end(), std::abs(pdgId));
    }

    std::vector<Legs> singles(const GenEvent& event) const {
      std::vector<Legs> found;
      for (std::size_t i = 0; i < event.size(); ++i)
        if (event[i].next == kNone && wanted(event[i].pdgId))
          found.push_back({static_cast<int>(i)});
      return found;
    }

    /// The mother's last copies with just the wanted daughters among those of the wanted kinds.
    std::vector<Legs> decays(const GenEvent& event) const {
      std::map<int, Legs> daughters;
      for (std::size_t i = 0; i < event.size(); ++i) {
        const int mother = event[i].mother;
        if (mother != kNone && std::abs(event[mother].pdgId) == cuts_.mother && event[mother].next == kNone &&
            wanted(event[i].pdgId))
          daughters[mother].push_back(i);
      }
      std::vector<Legs> found;
      for (auto& [mother, legs] : daughters) {
        std::vector<int> kinds;
        for (int leg : legs)
          kinds.push_back(std::abs(event[leg].pdgId));
        std::sort(kinds.begin(), kinds.end());
        if (kinds != cuts_.daughters)
          continue;
        for (int& leg : legs)
          leg = lastCopy(event, leg);
        if (std::find(legs.begin(), legs.end(), kNone) == legs.end())
          found.push_back(std::move(legs));
      }
      return found;
    }

    bool good(const GenEvent& event, const Legs& legs) const {
      for (int leg : legs) {
        if (event[leg].pt() < cuts_.minPt)
          return false;
        if (cuts_.maxAbsEta && std::abs(event[leg].eta()) > *cuts_.maxAbsEta)
          return false;
      }
      return (!cuts_.deltaR || close(event, legs)) && (!cuts_.mass || inside(*cuts_.mass, mass(event, legs)));
    }

    bool close(const GenEvent& event, const Legs& legs) const {
      for (std::size_t a = 0; a < legs.size(); ++a)
        for (std::size_t b = a + 1; b < legs.size(); ++b) {
          const GenParticle &one = event[legs[a]], &other = event[legs[b]];
          if (!inside(*cuts_.deltaR, nanoforge::deltaR(one.eta(), one.phi(), other.eta(), other.phi())))
            return false;
        }
      return true;
    }

    static double mass(const GenEvent& event, const Legs& legs) {
      double px = 0, py = 0, pz = 0, energy = 0;
      for (int leg : legs) {
        px += event[leg].px;
        py += event[leg].py;
        pz += event[leg].pz;
        energy += event[leg].energy;
      }
      return std::sqrt(std::max(energy * energy - (px * px + py * py + pz * pz), 0.));
    }

    static bool inside(const std::pair<double, double>& range, double value) {
      return range.first <= value && value <= range.second;
    }

    DecayCuts cuts_;
  };

}  // namespace nanoforge

#endif

#ifndef PhysicsTools_NanoForge_SimAcceptance_h
#define PhysicsTools_NanoForge_SimAcceptance_h

// Which decays reach the calorimeters, without any framework.

#include <algorithm>
#include <vector>

#include "GenDecay.h"

namespace nanoforge {

  /// Energy in a cell of a calorimeter (GeV), as seen from the origin.
  struct Deposit {
    double eta, phi, energy;
  };

  /// What each leg has to deposit (GeV), in a cone around its direction.
  struct AcceptanceCuts {
    double minEcalEnergy = 0;
    double minHcalEnergy = 0;
    double deltaR = 0;
  };

  inline double energyAround(const GenParticle& leg, const std::vector<Deposit>& deposits, double radius) {
    const double eta = leg.eta(), phi = leg.phi();
    double sum = 0;
    for (const Deposit& deposit : deposits)
      if (deltaR(eta, phi, deposit.eta, deposit.phi) < radius)
        sum += deposit.energy;
    return sum;
  }

  /// Whether every leg of a decay deposits enough in the calorimeters; one whose threshold is 0 is not looked at.
  inline bool deposits(const GenEvent& event,
                       const Legs& legs,
                       const std::vector<Deposit>& ecal,
                       const std::vector<Deposit>& hcal,
                       const AcceptanceCuts& cuts) {
    return std::all_of(legs.begin(), legs.end(), [&](int leg) {
      const auto enough = [&](const std::vector<Deposit>& cells, double least) {
        return least <= 0 || energyAround(event[leg], cells, cuts.deltaR) >= least;
      };
      return enough(ecal, cuts.minEcalEnergy) && enough(hcal, cuts.minHcalEnergy);
    });
  }

}  // namespace nanoforge

#endif

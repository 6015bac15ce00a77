// Which legs reach the calorimeters.

#include "../../plugins/SimAcceptance.h"
#include "check.h"

using nanoforge::AcceptanceCuts;
using nanoforge::Deposit;

int main() {
  const double phi = 3.1;
  const nanoforge::GenEvent event{{11, 30 * cos(phi), 30 * sin(phi), 0, 30},
                                  {-11, 20, 0, 20 * sinh(2.), 20 * cosh(2.)}};
  const nanoforge::Legs both{0, 1};
  const std::vector<Deposit> ecal{{0.05, -3.1, 12}, {0, 3.0, 10}, {2.1, 0, 6}, {-2, 0, 50}, {2, 1, 50}};
  const std::vector<Deposit> hcal{{0, 3.1, 0.2}, {2, 0, 0.1}};

  CHECK(std::abs(nanoforge::energyAround(event[0], ecal, 0.3) - 22) < 1e-12);  // across the boundary of phi
  CHECK(std::abs(nanoforge::energyAround(event[1], ecal, 0.3) - 6) < 1e-12);   // on its side of eta only

  const auto pass = [&](AcceptanceCuts cuts) { return nanoforge::deposits(event, both, ecal, hcal, cuts); };
  CHECK(pass({6, 0, 0.3}));
  CHECK(!pass({7, 0, 0.3}));  // one leg is not enough
  CHECK(pass({6, 0.1, 0.3}));
  CHECK(!pass({6, 0.15, 0.3}));
  CHECK(!pass({6, 0, 0.05}));
  CHECK(pass({0, 0.1, 0.3}));
  CHECK(nanoforge::deposits(event, {0}, ecal, {}, {20, 0, 0.3}));
  CHECK(!nanoforge::deposits(event, {0}, ecal, {}, {20, 0.1, 0.3}));
  return check::failures;
}

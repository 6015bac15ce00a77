// The grid of cells and the seeds of jets; what the circulating ntuplizer gets wrong must not return.

#include "../../plugins/CaloGrid.h"
#include "check.h"

using nanoforge::Tower;

int main() {
  CHECK(nanoforge::barrelRow(-85) == 55 && nanoforge::barrelRow(-1) == 139);
  CHECK(nanoforge::barrelRow(1) == 140 && nanoforge::barrelRow(85) == 224);
  CHECK(nanoforge::gridRow(2.9999) == 279 && nanoforge::gridRow(-2.9999) == 0);
  CHECK(nanoforge::gridRow(3.001) == -1 && nanoforge::gridRow(-5) == -1);
  CHECK(nanoforge::gridColumn(0.001) == 10 && nanoforge::gridColumn(-0.001) == 9);  // iphi 11 and 10
  CHECK(nanoforge::gridColumn(-0.1746) == 359 && nanoforge::gridColumn(-0.1744) == 0);

  const auto at = [](const std::vector<Tower>& hits, double eta, double phi) {
    const Tower seed = nanoforge::hottestTower(hits, eta, phi);
    return std::make_pair(seed.ieta, seed.iphi);
  };
  // all depths are summed, not the first alone
  CHECK(at({{5, 10, 30}, {6, 10, 20}, {6, 10, 20}}, 0.45, 0.8) == std::make_pair(6, 10));
  CHECK(std::abs(nanoforge::hottestTower({{6, 10, 20}, {6, 10, 20}}, 0.45, 0.8).energy - 40) < 1e-12);
  // 7 x 7 at eta 0: three towers on each side, though there is no ieta 0
  CHECK(at({{-3, 1, 9}}, 0.04, 0.04) == std::make_pair(-3, 1));
  CHECK(at({{-4, 1, 9}}, 0.04, 0.04) == std::make_pair(1, 1));
  CHECK(at({{3, 1, 9}}, -0.04, 0.04) == std::make_pair(3, 1));
  CHECK(at({{4, 1, 9}}, 0.04, 0.04) == std::make_pair(4, 1) && at({{5, 1, 9}}, 0.04, 0.04) == std::make_pair(1, 1));
  // around in iphi: 72 is beside 1
  CHECK(at({{2, 70, 9}}, 0.1, 0.04) == std::make_pair(2, 70) && at({{2, 69, 9}}, 0.1, 0.04) == std::make_pair(2, 1));
  CHECK(at({{2, 3, 9}}, 0.1, -0.01) == std::make_pair(2, 3) && at({{2, 4, 9}}, 0.1, -0.01) == std::make_pair(2, 72));
  // jets beyond ieta 16, and beyond the towers, have a seed like any other
  CHECK(at({{25, 11, 9}}, 2.2, 0.9) == std::make_pair(25, 11) && at({}, 2.2, 0.9) == std::make_pair(25, 11));
  CHECK(at({}, -4.5, 0) == std::make_pair(-28, 1));
  CHECK(nanoforge::hottestTower({{1, 1, -3}}, 0.04, 0.04).energy == 0);
  // whether a crop of 125 rows fits is said, and decides nothing
  CHECK(nanoforge::cropComplete({16, 1, 0}, 125) && nanoforge::cropComplete({-16, 1, 0}, 125));
  CHECK(!nanoforge::cropComplete({17, 1, 0}, 125) && !nanoforge::cropComplete({-17, 1, 0}, 125));
  return check::failures;
}

// cells: reads eta and phi of directions, and for each a list of towers; writes row, column and the seed. For a comparison
// with the embedded chain. With "path" as its argument, momenta, charges and places, and where they arrive.

#include <cstring>
#include <iomanip>
#include <iostream>

#include "../../plugins/CaloGrid.h"
#include "../../plugins/CaloPath.h"

int main(int count, char** argv) {
  std::cout << std::setprecision(17);
  if (count > 1 && !std::strcmp(argv[1], "path")) {
    double px, py, pz, x, y, z;
    for (int charge; std::cin >> px >> py >> pz >> charge >> x >> y >> z;) {
      const auto at = nanoforge::atCalorimeter(px, py, pz, charge, x, y, z, 3.8);
      std::cout << at.eta << ' ' << at.phi << ' ' << at.reached << '\n';
    }
    return 0;
  }
  double eta, phi;
  for (std::size_t size; std::cin >> eta >> phi >> size;) {
    std::vector<nanoforge::Tower> hits(size);
    for (auto& hit : hits)
      std::cin >> hit.ieta >> hit.iphi >> hit.energy;
    const auto seed = nanoforge::hottestTower(hits, eta, phi);
    std::cout << nanoforge::gridRow(eta) << ' ' << nanoforge::gridColumn(phi) << ' ' << seed.ieta << ' ' << seed.iphi
              << ' ' << seed.energy << '\n';
  }
  return 0;
}

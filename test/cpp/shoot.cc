// shoot NUMBER SEED PT(2) ETA(2) PHI(2) MASS(2) [MAP]: writes float64 pt, eta, phi, mass, px, py, pz, e of each shot.
//
// MAP has three lines: edges of mass, edges of pt, acceptances.

#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>

#include "../../plugins/PtMassGun.h"

namespace {

  std::vector<double> numbers(std::istream& file) {
    std::string line;
    std::getline(file, line);
    std::istringstream words(line);
    std::vector<double> values;
    for (double value; words >> value;)
      values.push_back(value);
    return values;
  }

}  // namespace

int main(int argc, char** argv) {
  std::mt19937_64 engine(std::stoull(argv[2]));
  const auto range = [argv](int i) { return nanoforge::Interval(std::stod(argv[i]), std::stod(argv[i + 1])); };
  const nanoforge::GunRanges ranges{range(3), range(5), range(7), range(9)};
  std::unique_ptr<nanoforge::Flattening> map;
  if (argc > 11) {
    std::ifstream file(argv[11]);
    const auto mass = numbers(file), pt = numbers(file), acceptance = numbers(file);
    map = std::make_unique<nanoforge::Flattening>(mass, pt, acceptance);
  }
  const auto flat = [&engine] { return std::uniform_real_distribution<>()(engine); };
  for (int i = 0; i < std::stoi(argv[1]); ++i) {
    const auto shot = nanoforge::shoot(ranges, map.get(), flat);
    const double row[] = {shot.pt, shot.eta, shot.phi, shot.mass, shot.px(), shot.py(), shot.pz(), shot.energy()};
    std::cout.write(reinterpret_cast<const char*>(row), sizeof(row));
  }
}

#ifndef PhysicsTools_NanoForge_CaloGrid_h
#define PhysicsTools_NanoForge_CaloGrid_h

// Cells of the calorimeters on one grid, and the hottest tower of a jet, without any framework.
//
// The grid has 280 rows in eta (55 of the negative endcap, 170 of the barrel, 55 of the positive one) and 360 columns in
// phi; a tower of the HCAL covers 5 by 5 of it, 10 columns above ieta 20. Column 0 is iphi 1 of the ECAL's barrel, at -10
// to -9 degrees. simulation/detector/grid.py says the same for the embedded chain.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

namespace nanoforge {

  constexpr int gridRows = 280, gridColumns = 360, barrelCrystals = 85, towerCells = 5;
  constexpr int hcalRings = 28, lastFineRing = 20, hcalColumns = 72;
  constexpr double twoPi = 6.283185307179586;
  constexpr double crystalSize = twoPi / gridColumns;

  /// Lower edges in |eta| of the HCAL's rings from 1 on; 28 includes 29.
  constexpr std::array<double, hcalRings + 1> towerEdges{
      {0.000, 0.087, 0.174, 0.261, 0.348, 0.435, 0.522, 0.609, 0.696, 0.783, 0.870, 0.957, 1.044, 1.131, 1.218,
       1.305, 1.392, 1.479, 1.566, 1.653, 1.740, 1.830, 1.930, 2.043, 2.172, 2.322, 2.500, 2.650, 3.000}};

  /// Row of a crystal of the barrel; there is no ieta 0.
  constexpr int barrelRow(int ieta) { return ieta > 0 ? gridRows / 2 - 1 + ieta : gridRows / 2 + ieta; }

  /// Lower edge in |eta| of a row, counted from the middle on.
  inline double rowEdge(int step) {
    if (step < barrelCrystals)
      return step * crystalSize;
    const int inside = step - barrelCrystals, ring = inside / towerCells + barrelCrystals / towerCells;
    const double share = inside % towerCells / static_cast<double>(towerCells);
    const double edge = ring >= hcalRings ? towerEdges[hcalRings]
                                          : towerEdges[ring] + share * (towerEdges[ring + 1] - towerEdges[ring]);
    return std::max(edge, barrelCrystals * crystalSize);
  }

  /// Row of a place; -1 beyond the grid.
  inline int gridRow(double eta) {
    int step = gridRows / 2;
    while (step >= 0 && rowEdge(step) > std::abs(eta))
      --step;
    if (step >= gridRows / 2)
      return -1;
    return std::signbit(eta) ? gridRows / 2 - 1 - step : gridRows / 2 + step;
  }

  /// Column of a place, 0 to 359.
  inline int gridColumn(double phi) {
    const int column = static_cast<int>(std::floor(phi / crystalSize + 10)) % gridColumns;
    return column < 0 ? column + gridColumns : column;
  }

  /// Number of a ring without a gap at 0: -1 is 0 and 1 is 1.
  constexpr int ringRank(int ieta) { return ieta > 0 ? ieta : ieta + 1; }

  /// Distance in iphi, around the circle: -36 to 35.
  constexpr int iphiDistance(int iphi, int other) { return (iphi - other + 3 * hcalColumns / 2) % hcalColumns - 36; }

  struct Tower {
    int ieta = 0, iphi = 0;
    double energy = 0;
  };

  /// The tower in a direction; beyond ring 28 that of ring 28.
  inline Tower towerAt(double eta, double phi) {
    const auto above = std::upper_bound(towerEdges.begin(), towerEdges.end(), std::abs(eta));
    const int ring = std::min(static_cast<int>(above - towerEdges.begin()), hcalRings);
    int step = static_cast<int>(std::floor(phi / (towerCells * crystalSize))) % hcalColumns;
    step += step < 0 ? hcalColumns : 0;
    step -= ring > lastFineRing ? step % 2 : 0;
    return {std::signbit(eta) ? -ring : ring, step + 1, 0};
  }

  /// The tower with the largest energy, summed over all depths, among the 7 x 7 about a direction, which steps over ieta
  /// 0 and goes around in iphi. Where none has energy, the tower of the direction, with 0.
  inline Tower hottestTower(const std::vector<Tower>& hits, double eta, double phi) {
    const Tower middle = towerAt(eta, phi);
    std::map<std::pair<int, int>, double> sums;
    for (const Tower& hit : hits)
      if (std::abs(ringRank(hit.ieta) - ringRank(middle.ieta)) <= 3 &&
          std::abs(iphiDistance(hit.iphi, middle.iphi)) <= 3)
        sums[{hit.ieta, hit.iphi}] += hit.energy;
    Tower best = middle;
    for (const auto& sum : sums)
      if (sum.second > best.energy)
        best = {sum.first.first, sum.first.second, sum.second};
    return best;
  }

  /// Whether a square of so many rows about a tower lies within the grid; columns go around.
  inline bool cropComplete(const Tower& tower, int rows) {
    const int middle = gridRows / 2 + (ringRank(tower.ieta) - 1) * towerCells + towerCells / 2;
    return middle - rows / 2 >= 0 && middle + (rows - 1) / 2 < gridRows;
  }

}  // namespace nanoforge

#endif

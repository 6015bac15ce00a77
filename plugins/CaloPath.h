#ifndef PhysicsTools_NanoForge_CaloPath_h
#define PhysicsTools_NanoForge_CaloPath_h

// Where tracks arrive at the calorimeters: an exact helix in a uniform field, without any framework. The cylinder is that
// of the embedded chain (simulation/detector/helix.py), so that both chains mean the same by etaCalo and phiCalo.

#include <algorithm>
#include <cmath>
#include <limits>

namespace nanoforge {

  constexpr double caloRadius = 1290, caloHalfLength = 2900;  // mm
  constexpr double mmPerGeV = 1e3 / 0.299792458;              // radius of a unit charge with 1 GeV in 1 T

  struct CaloPoint {
    double eta, phi;
    bool reached;  // within half a turn; otherwise the place after half a turn
  };

  /// Way on a circle of radius r about (cx, cy), from the angle start on, to the cylinder.
  inline double arcToCylinder(double cx, double cy, double r, double start, double turn) {
    const double pi = 3.141592653589793, d = std::hypot(cx, cy);
    if (d + r < caloRadius || std::abs(d - r) > caloRadius)
      return std::numeric_limits<double>::infinity();
    const double middle = std::atan2(cy, cx);
    const double half = std::acos((caloRadius * caloRadius - d * d - r * r) / (2 * d * r));
    const auto positive = [&](double angle) { return angle - 2 * pi * std::floor(angle / (2 * pi)); };
    return r * std::min(positive(turn * (middle + half - start)), positive(turn * (middle - half - start)));
  }

  /// Follow a track of a unit charge from a point (mm) with a momentum (GeV) in a field (T) along z.
  inline CaloPoint atCalorimeter(
      double px, double py, double pz, int charge, double x, double y, double z, double field) {
    const double pi = 3.141592653589793;
    const double pt = std::max(std::hypot(px, py), 1e-12), slope = pz / pt;
    double way = std::abs(slope) > 1e-9 ? (std::copysign(caloHalfLength, slope) - z) / slope
                                        : std::numeric_limits<double>::infinity();
    const double turn = charge * field > 0 ? -1 : 1;
    const double r = pt * mmPerGeV / std::abs(field);
    const double cx = x - turn * r * py / pt, cy = y + turn * r * px / pt;
    const double start = std::atan2(y - cy, x - cx);
    way = std::min(way, arcToCylinder(cx, cy, r, start, turn));
    const bool reached = way <= pi * r;
    way = std::min(way, pi * r);
    const double atX = cx + r * std::cos(start + turn * way / r), atY = cy + r * std::sin(start + turn * way / r);
    const double rho = std::max(std::hypot(atX, atY), 1e-9);
    return {std::asinh((z + way * slope) / rho), std::atan2(atY, atX), reached};
  }

}  // namespace nanoforge

#endif

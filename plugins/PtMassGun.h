#ifndef PhysicsTools_NanoForge_PtMassGun_h
#define PhysicsTools_NanoForge_PtMassGun_h

// Kinematics of a particle gun that is flat in pt, eta, phi and mass, without any framework.
//
// With an acceptance per bin of (mass, pt), bins are drawn in inverse proportion to it, so that the events that pass
// the filters afterwards are flat. Every number comes from the caller's engine: the same seed gives the same events.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace nanoforge {

  using Interval = std::pair<double, double>;

  /// Ranges of a gun: GeV and radian.
  struct GunRanges {
    Interval pt, eta, phi, mass;
  };

  /// What is shot: GeV and radian.
  struct GunShot {
    double pt = 0, eta = 0, phi = 0, mass = 0;

    double px() const { return pt * std::cos(phi); }
    double py() const { return pt * std::sin(phi); }
    double pz() const { return pt * std::sinh(eta); }
    double energy() const { return std::hypot(pt * std::cosh(eta), mass); }

    /// The same mass with the opposite momentum: that of an antiparticle.
    GunShot opposite() const { return {pt, -eta, std::remainder(phi + M_PI, 2 * M_PI), mass}; }
  };

  /// Draws bins of (mass, pt) in inverse proportion to the acceptance of each.
  class Flattening {
  public:
    /// Edges of the bins, in GeV; acceptance[i * (pt bins) + j], 0 where nothing can pass: such bins are not drawn.
    Flattening(std::vector<double> massEdges, std::vector<double> ptEdges, const std::vector<double>& acceptance)
        : massEdges_(std::move(massEdges)), ptEdges_(std::move(ptEdges)) {
      if (massEdges_.size() < 2 || ptEdges_.size() < 2 ||
          acceptance.size() != (massEdges_.size() - 1) * (ptEdges_.size() - 1))
        throw std::invalid_argument("the flattening map needs one acceptance for each bin of mass and pt");
      if (!rising(massEdges_) || !rising(ptEdges_))
        throw std::invalid_argument("the edges of the flattening map must rise");
      double sum = 0;
      for (std::size_t bin = 0; bin < acceptance.size(); ++bin) {
        if (!(acceptance[bin] >= 0 && acceptance[bin] <= 1))
          throw std::invalid_argument("an acceptance of the flattening map is not between 0 and 1");
        sum += acceptance[bin] > 0 ? area(bin) / acceptance[bin] : 0;
        cumulative_.push_back(sum);
      }
      if (!(sum > 0))
        throw std::invalid_argument("the flattening map has no bin in which events pass");
    }

    Interval massRange() const { return {massEdges_.front(), massEdges_.back()}; }
    Interval ptRange() const { return {ptEdges_.front(), ptEdges_.back()}; }

    /// Mass and pt from three numbers that are flat between 0 and 1.
    std::pair<double, double> draw(double u, double v, double w) const {
      const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), u * cumulative_.back());
      const std::size_t bin = std::min<std::size_t>(found - cumulative_.begin(), cumulative_.size() - 1);
      const std::size_t i = bin / (ptEdges_.size() - 1), j = bin % (ptEdges_.size() - 1);
      return {massEdges_[i] + v * (massEdges_[i + 1] - massEdges_[i]),
              ptEdges_[j] + w * (ptEdges_[j + 1] - ptEdges_[j])};
    }

  private:
    /// A range may be a point: one bin.
    static bool rising(const std::vector<double>& edges) {
      const bool point = edges.size() == 2 && edges[0] == edges[1];
      return point || std::adjacent_find(edges.begin(), edges.end(), std::greater_equal<>()) == edges.end();
    }

    /// A range that is a point counts as a bin of width 1.
    double area(std::size_t bin) const {
      const std::size_t i = bin / (ptEdges_.size() - 1), j = bin % (ptEdges_.size() - 1);
      const double mass = massEdges_[i + 1] - massEdges_[i], pt = ptEdges_[j + 1] - ptEdges_[j];
      return (mass > 0 ? mass : 1) * (pt > 0 ? pt : 1);
    }

    std::vector<double> massEdges_, ptEdges_, cumulative_;
  };

  /// Draw a particle; flat() returns numbers between 0 and 1. Always the same number of calls for the same arguments.
  template <typename Flat>
  GunShot shoot(const GunRanges& ranges, const Flattening* flattening, Flat&& flat) {
    const auto within = [&](const Interval& range) { return range.first + flat() * (range.second - range.first); };
    GunShot shot;
    shot.eta = within(ranges.eta);
    shot.phi = within(ranges.phi);
    if (flattening) {
      const double u = flat(), v = flat(), w = flat();
      std::tie(shot.mass, shot.pt) = flattening->draw(u, v, w);
    } else {
      shot.mass = within(ranges.mass);
      shot.pt = within(ranges.pt);
    }
    return shot;
  }

}  // namespace nanoforge

#endif

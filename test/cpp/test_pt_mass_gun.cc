// The gun without Pythia: momenta, numbers drawn, and the flattening map.

#include "../../plugins/PtMassGun.h"
#include "check.h"

using nanoforge::Flattening;
using nanoforge::GunShot;

namespace {

  bool near(double a, double b) { return std::abs(a - b) < 1e-9 * std::max(1., std::abs(b)); }

  void momentaFit() {
    const GunShot shot{50, -1.5, 2, 8};
    CHECK(near(std::hypot(shot.px(), shot.py()), 50));
    CHECK(near(std::asinh(shot.pz() / 50), -1.5));
    CHECK(near(std::atan2(shot.py(), shot.px()), 2));
    const double p2 = shot.px() * shot.px() + shot.py() * shot.py() + shot.pz() * shot.pz();
    CHECK(near(std::sqrt(shot.energy() * shot.energy() - p2), 8));
    const GunShot other = shot.opposite();
    CHECK(near(other.px(), -shot.px()) && near(other.py(), -shot.py()) && near(other.pz(), -shot.pz()));
    CHECK(near(other.energy(), shot.energy()) && other.mass == 8 && std::abs(other.phi) <= M_PI);
  }

  void theNumbersDrawnDoNotDependOnThem() {
    int calls = 0;
    double next = 0;
    const auto flat = [&] {
      ++calls;
      return next = std::fmod(next + 0.37, 1);
    };
    const Flattening map({0, 1, 2}, {0, 10}, {0.5, 1});
    for (int i = 1; i <= 100; ++i) {
      nanoforge::shoot({{20, 50}, {-1, 1}, {0, 1}, {1, 2}}, nullptr, flat);
      CHECK(calls == 4 * i);
    }
    calls = 0;
    for (int i = 1; i <= 100; ++i) {
      nanoforge::shoot({{0, 10}, {-1, 1}, {0, 1}, {0, 2}}, &map, flat);
      CHECK(calls == 5 * i);
    }
  }

  void binsThatNothingPassesAreNotDrawn() {
    const Flattening map({0, 1, 2}, {0, 10, 30}, {0, 0.5, 0, 1});
    for (double u : {0., 0.3, 0.66, 0.67, 0.9, std::nextafter(1., 0.), 1.})
      CHECK(map.draw(u, 0.5, 0.5).second == 20);
    CHECK(map.draw(0.66, 0.5, 0).first == 0.5 && map.draw(0.67, 0.5, 0).first == 1.5);
  }

  void aPointIsOneBin() {
    const Flattening map({5, 5}, {20, 40}, {0.5});
    CHECK(map.draw(0.5, 0.5, 0.25) == std::make_pair(5., 25.));
    CHECK(map.massRange() == nanoforge::Interval(5, 5) && map.ptRange() == nanoforge::Interval(20, 40));
  }

  void mistakesAreNamed() {
    CHECK_THROWS(Flattening({0, 1}, {0, 1, 2}, {1}), "one acceptance for each bin");
    CHECK_THROWS(Flattening({0}, {0, 1}, {}), "one acceptance for each bin");
    CHECK_THROWS(Flattening({1, 0}, {0, 1}, {1}), "must rise");
    CHECK_THROWS(Flattening({0, 1, 1}, {0, 1}, {1, 1}), "must rise");
    CHECK_THROWS(Flattening({0, 1}, {0, 1}, {1.5}), "not between 0 and 1");
    CHECK_THROWS(Flattening({0, 1}, {0, 1}, {std::nan("")}), "not between 0 and 1");
    CHECK_THROWS(Flattening({0, 1}, {0, 1}, {0}), "no bin in which events pass");
  }

}  // namespace

int main() {
  momentaFit();
  theNumbersDrawnDoNotDependOnThem();
  binsThatNothingPassesAreNotDrawn();
  aPointIsOneBin();
  mistakesAreNamed();
  return check::failures;
}

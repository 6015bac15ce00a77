// The rules of GenDecay.h on decays that are made by hand.

#include "../../plugins/GenDecay.h"
#include "check.h"
#include "records.h"

using nanoforge::DecayCuts;
using nanoforge::DecaySelector;
using records::Particles;

namespace {

  struct Leg {
    int id;
    double pt, eta, phi;
  };

  void add(Particles& event, const Leg& leg, std::vector<int> mothers) {
    const double pt = leg.pt;
    event.push_back({leg.id, pt * cos(leg.phi), pt * sin(leg.phi), pt * sinh(leg.eta), pt * cosh(leg.eta), mothers});
  }

  /// A mother, a copy of it, and the legs as daughters of the copy.
  Particles decay(int mother, const std::vector<Leg>& legs) {
    Particles event{{mother, 0, 0, 0, 125, {}}, {mother, 1, 0, 0, 125, {0}}};
    for (const Leg& leg : legs)
      add(event, leg, {1});
    return event;
  }

  DecayCuts of(int mother, std::vector<int> daughters) {
    DecayCuts cuts;
    cuts.mother = mother;
    cuts.daughters = daughters;
    return cuts;
  }

  std::size_t number(const DecayCuts& cuts, const Particles& event) {
    const DecaySelector select(cuts);
    const std::size_t found = select(nanoforge::fromCandidates(event)).size();
    CHECK(select(nanoforge::fromHepMC(records::HepMCEvent(event))).size() == found);
    return found;
  }

  const std::vector<Leg> kTaus{{15, 30, 0, 0}, {-15, 25, 0, 3}};

  void anglesAreWrapped() {
    CHECK(std::abs(nanoforge::deltaPhi(3.1, -3.1) - (6.2 - 2 * M_PI)) < 1e-12);
    CHECK(std::abs(nanoforge::deltaPhi(-3.1, 3.1) - (2 * M_PI - 6.2)) < 1e-12);
    CHECK(std::abs(nanoforge::deltaPhi(1, 1 + 6 * M_PI)) < 1e-12);
    CHECK(std::abs(nanoforge::deltaR(1, 3.1, 2, -3.1) - std::hypot(1, 2 * M_PI - 6.2)) < 1e-12);
    DecayCuts cuts = of(25, {15, 15});
    cuts.deltaR = {0, 0.5};
    CHECK(number(cuts, decay(25, {{15, 30, 0, 3.1}, {-15, 30, 0, -3.1}})) == 1);
    CHECK(number(cuts, decay(25, {{15, 30, 0, 0}, {-15, 30, 0.6, 0}})) == 0);
    cuts.deltaR = {0.5, 9};
    CHECK(number(cuts, decay(25, {{15, 30, 0, 3.1}, {-15, 30, 0, -3.1}})) == 0);
  }

  void eachLegIsCut() {
    DecayCuts cuts = of(25, {15, 15});
    cuts.minPt = 20;
    CHECK(number(cuts, decay(25, kTaus)) == 1);
    CHECK(number(cuts, decay(25, {{15, 30, 0, 0}, {-15, 19, 0, 3}})) == 0);
    CHECK(number(cuts, decay(25, {{15, 19, 0, 0}, {-15, 30, 0, 3}})) == 0);
    cuts.maxAbsEta = 2.4;
    CHECK(number(cuts, decay(25, {{15, 30, 2.3, 0}, {-15, 25, -2.3, 3}})) == 1);
    CHECK(number(cuts, decay(25, {{15, 30, 2.5, 0}, {-15, 25, 0, 3}})) == 0);
    CHECK(number(cuts, decay(25, {{15, 30, -2.5, 0}, {-15, 25, 0, 3}})) == 0);
    CHECK(number(cuts, decay(25, {{15, 30, 0, 0}, {-15, 25, -2.5, 3}})) == 0);
    CHECK(number(cuts, decay(25, {{15, 30, 0, 0}, {-15, 25, 2.5, 3}})) == 0);
  }

  void theMassIsThatOfAllLegs() {
    DecayCuts cuts = of(25, {15, 15});
    cuts.mass = {59.9, 60.1};
    CHECK(number(cuts, decay(25, {{15, 30, 0, 0}, {-15, 30, 0, M_PI}})) == 1);
    cuts.mass = {60.1, 99};
    CHECK(number(cuts, decay(25, {{15, 30, 0, 0}, {-15, 30, 0, M_PI}})) == 0);
    DecayCuts three = of(15, {211, 211, 211});
    three.mass = {89.9, 90.1};
    const double third = 2 * M_PI / 3;
    CHECK(number(three, decay(15, {{211, 30, 0, 0}, {-211, 30, 0, third}, {211, 30, 0, -third}})) == 1);
  }

  void legsComeInAnyOrderAndJustTheWantedOnes() {
    const DecayCuts cuts = of(-24, {-15, 16});
    CHECK(number(cuts, decay(24, {{16, 30, 0, 0}, {-15, 30, 0, 2}})) == 1);
    CHECK(number(cuts, decay(24, {{-15, 30, 0, 0}, {16, 30, 0, 2}, {22, 5, 0, 0}})) == 1);
    CHECK(number(cuts, decay(24, {{-15, 30, 0, 0}})) == 0);
    CHECK(number(cuts, decay(24, {{-15, 30, 0, 0}, {16, 30, 0, 2}, {16, 30, 0, 1}})) == 0);
    CHECK(number(cuts, decay(24, {{-13, 30, 0, 0}, {14, 30, 0, 2}})) == 0);
    CHECK(number(cuts, decay(23, {{16, 30, 0, 0}, {-15, 30, 0, 2}})) == 0);
    CHECK(number(of(36, {22, 22}), decay(36, {{22, 30, 0, 0}, {22, 30, 0, 2}})) == 1);
    CHECK(number(of(15, {211, 211, 211}),
                 decay(15, {{211, 30, 0, 0}, {-211, 9, 0, 2}, {211, 3, 0, 1}, {16, 1, 0, 0}})) == 1);
  }

  void eachPairOfThreeLegsIsClose() {
    DecayCuts cuts = of(15, {211, 211, 211});
    cuts.deltaR = {0, 0.5};
    CHECK(number(cuts, decay(15, {{211, 30, 0, 0}, {-211, 9, 0, 0.4}, {211, 3, 0, 0.2}})) == 1);
    CHECK(number(cuts, decay(15, {{211, 30, 0, 0}, {-211, 9, 0, 0.4}, {211, 3, 0, -0.2}})) == 0);
    CHECK(number(cuts, decay(15, {{211, 30, 0, 0}, {-211, 9, 0, 0.4}, {211, 3, 0, 0.8}})) == 0);
  }

  void copiesAfterRadiationCount() {
    Particles event = decay(25, {{15, 30, 0, 0}, {-15, 25, 0, 3}});
    add(event, {15, 12, 0, 0.1}, {2});
    add(event, {22, 18, 0, 0}, {2});
    add(event, {15, 11, 0, 0.1}, {4});
    DecayCuts cuts = of(25, {15, 15});
    CHECK(number(cuts, event) == 1);
    cuts.minPt = 11.5;
    CHECK(number(cuts, event) == 0);  // the last copy has 11 GeV, the first one had 30
    DecayCuts singles = of(0, {15});
    CHECK(number(singles, event) == 2);
    singles.minPt = 11.5;
    CHECK(number(singles, event) == 1);
    CHECK(number(of(0, {15, 22}), event) == 3);
    Particles before{{25, 0, 0, 0, 125, {}}, {25, 0, 0, 0, 125, {0}}};
    add(before, {15, 30, 0, 0}, {0});  // not of the last copy
    add(before, {-15, 30, 0, 2}, {0});
    CHECK(number(of(25, {15, 15}), before) == 0);
  }

  void thePairIsCounted() {
    Particles event = decay(6, {{24, 30, 0, 0}, {5, 25, 0, 3}});
    add(event, {-6, 30, 0, 0}, {});
    add(event, {-24, 30, 0, 0}, {4});
    add(event, {-5, 30, 0, 0}, {4});
    DecayCuts cuts = of(6, {5, 24});
    CHECK(number(cuts, event) == 2);
    cuts.count = 2;
    CHECK(DecaySelector(cuts).pass(nanoforge::fromCandidates(event)));
    cuts.minPt = 27;
    CHECK(!DecaySelector(cuts).pass(nanoforge::fromCandidates(event)));
  }

  void oddHistoriesDoNoHarm() {
    Particles circle{{25, 0, 0, 0, 1, {}}, {15, 9, 0, 0, 9, {0, 2}}, {15, 9, 0, 0, 9, {1}}, {-15, 9, 0, 0, 9, {0}}};
    CHECK(number(of(25, {15, 15}), circle) == 0);
    CHECK(number(of(0, {15}), circle) == 1);
    const Particles itself{{15, 9, 0, 0, 9, {0}}};
    CHECK(number(of(0, {15}), itself) == 1);
    const Particles elsewhere{{15, 9, 0, 0, 9, {7}}};  // a mother that the collection does not hold
    CHECK(DecaySelector(of(0, {15}))(nanoforge::fromCandidates(elsewhere)).size() == 1);
    CHECK(number(of(0, {15}), {}) == 0);
    const Particles along{{15, 0, 0, 9, 9, {}}};
    DecayCuts central = of(0, {15});
    central.maxAbsEta = 5;
    CHECK(number(central, along) == 0);
  }

}  // namespace

int main() {
  anglesAreWrapped();
  eachLegIsCut();
  theMassIsThatOfAllLegs();
  legsComeInAnyOrderAndJustTheWantedOnes();
  eachPairOfThreeLegsIsClose();
  copiesAfterRadiationCount();
  thePairIsCounted();
  oddHistoriesDoNoHarm();
  return check::failures;
}

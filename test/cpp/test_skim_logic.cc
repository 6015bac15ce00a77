// Cuts on numbers of objects, in groups.

#include <thread>

#include "../../plugins/SkimLogic.h"
#include "check.h"

using nanoforge::CountCut;
using nanoforge::SkimLogic;

namespace {

  const std::vector<CountCut> kCuts{{"electron", 1}, {"muon", 1}, {"jets", 2, 4}};

  void cutsInNoGroupAllHaveToPass() {
    const SkimLogic logic(kCuts, {});
    CHECK(logic.pass({1, 1, 2}));
    CHECK(logic.pass({3, 1, 4}));
    CHECK(!logic.pass({0, 1, 2}));
    CHECK(!logic.pass({1, 1, 1}));
    CHECK(!logic.pass({1, 1, 5}));
    CHECK(logic.seen() == 5 && logic.kept() == 2);
    CHECK(logic.passed(0) == 4 && logic.passed(1) == 5 && logic.passed(2) == 3);
  }

  void oneOfAGroupIsEnough() {
    const SkimLogic logic(kCuts, {{"lepton", true, {"electron", "muon"}}});
    CHECK(logic.pass({1, 0, 2}));
    CHECK(logic.pass({0, 1, 2}));
    CHECK(!logic.pass({0, 0, 2}));
    CHECK(!logic.pass({1, 1, 0}));  // the cut that is in no group
  }

  void groupsAreAllRequired() {
    const SkimLogic logic(kCuts,
                          {{"lepton", true, {"electron", "muon"}}, {"electron channel", false, {"electron", "jets"}}});
    CHECK(logic.pass({1, 0, 2}));
    CHECK(!logic.pass({0, 1, 2}));
    CHECK(!logic.pass({1, 1, 9}));
  }

  void withoutCutsAllEventsPass() {
    const SkimLogic logic({}, {});
    CHECK(logic.pass({}) && logic.seen() == 1 && logic.kept() == 1);
  }

  void nothingIsAVetoByItsMaximum() {
    const SkimLogic veto({{"no muons", 0, 0}}, {});
    CHECK(veto.pass({0}) && !veto.pass({1}));
  }

  void mistakesAreNamed() {
    CHECK_THROWS(SkimLogic({{"a", 3, 2}}, {}), "a: min is above max");
    CHECK_THROWS(SkimLogic({{"a"}, {"b"}, {"a"}}, {}), "two cuts are called a");
    CHECK_THROWS(SkimLogic({{"a"}}, {{"g", true, {"b"}}}), "group g: there is no cut b");
    CHECK_THROWS(SkimLogic({{"a"}}, {{"g", true, {}}}), "group g has no cuts");
    CHECK_THROWS(SkimLogic(kCuts, {}).pass({1}), "");
  }

  void streamsShareTheCounts() {
    const SkimLogic logic(kCuts, {});
    std::vector<std::thread> streams;
    for (int i = 0; i < 4; ++i)
      streams.emplace_back([&logic] {
        for (unsigned int event = 0; event < 1000; ++event)
          logic.pass({event % 2, 1, 2});
      });
    for (std::thread& stream : streams)
      stream.join();
    CHECK(logic.seen() == 4000 && logic.kept() == 2000 && logic.passed(0) == 2000 && logic.passed(1) == 4000);
  }

}  // namespace

int main() {
  cutsInNoGroupAllHaveToPass();
  oneOfAGroupIsEnough();
  groupsAreAllRequired();
  withoutCutsAllEventsPass();
  nothingIsAVetoByItsMaximum();
  mistakesAreNamed();
  streamsShareTheCounts();
  return check::failures;
}

// From tables to the inputs of a model, and from its scores to columns.

#include "../../plugins/ScoreInputs.h"
#include "check.h"
#include "tables.h"

using nanoforge::Branches;
using nanoforge::Feed;
using nanoforge::ScoreInput;
using nanoforge::ScoreInputs;
using Kind = nanoforge::ScoreInput::Kind;

namespace {

  const nanoforge::EventIdentity kEvent{1, 2, 3};
  const FlatTable kJets{"Jet", false, 2, {{"pt", {50, 30}}, {"pt_raw", {45, 28}}}};
  const FlatTable kMoreJets{"Jet", false, 2, {{"btag", {0.1, 0.9}}}};
  const FlatTable kNoMuons{"Muon", false, 0, {{"pt", {}}}};
  const FlatTable kMet{"MET", true, 1, {{"pt", {70}}}};
  const FlatTable kWeight{"genWeight", true, 1, {{"", {-2}}}};
  const FlatTable kLoose{"", true, 1, {{"rho", {12.5}}}};
  const FlatTable kPrefiring{"L1PreFiringWeight", true, 1, {{"Nom", {0.95}}}};

  Branches<FlatTable> branches() {
    return {{&kJets, &kMoreJets, &kNoMuons, &kMet, &kWeight, &kLoose, &kPrefiring},
            {{"run", 1}, {"HLT_IsoMu24", 1}, {"L1PreFiringWeight_Nom", 0}}};
  }

  std::vector<float> value(const std::string& branch) { return branches()(branch); }

  void branchesHaveTheNamesOfNanoAOD() {
    CHECK((value("Jet_pt") == std::vector<float>{50, 30}));
    CHECK((value("Jet_pt_raw") == std::vector<float>{45, 28}));
    CHECK((value("Jet_btag") == std::vector<float>{0.1f, 0.9f}));
    CHECK(value("Muon_pt").empty());
    CHECK((value("MET_pt") == std::vector<float>{70}));
    CHECK((value("genWeight") == std::vector<float>{-2}));
    CHECK((value("rho") == std::vector<float>{12.5}));
    CHECK((value("nJet") == std::vector<float>{2}));
    CHECK((value("nMuon") == std::vector<float>{0}));
    CHECK((value("run") == std::vector<float>{1}));
    CHECK((value("HLT_IsoMu24") == std::vector<float>{1}));
    CHECK((value("L1PreFiringWeight_Nom") == std::vector<float>{0.95f}));  // a table goes before a bit
    CHECK_THROWS(value("Jet_phi"), "no table has the branch Jet_phi");
    CHECK_THROWS(value("Jetspt"), "no table has the branch Jetspt");
    CHECK_THROWS(value("nElectron"), "no table has the branch nElectron");
    CHECK_THROWS(value("nMET"), "no table has the branch nMET");
    CHECK_THROWS(value(""), "no table has the branch ");
  }

  void inputsHaveTheShapesOfTheGraph() {
    const ScoreInputs inputs({{"Jet_pt", Kind::object, "Jet"},
                              {"Muon_pt", Kind::object, "Muon"},
                              {"MET_pt", Kind::event, ""},
                              {"fold", Kind::fold, ""}},
                             3,
                             7);
    ScoreInputs::Columns columns;
    const Feed feed = inputs(branches(), kEvent, columns);
    CHECK((feed.names == std::vector<std::string>{"Jet_pt", "Muon_pt", "MET_pt", "fold"}));
    CHECK((feed.shapes == std::vector<std::vector<std::int64_t>>{{1, 2}, {1, 0}, {1}, {1}}));
    CHECK((feed.values[0] == std::vector<float>{50, 30} && feed.values[1].empty()));
    CHECK(feed.values[3][0] == nanoforge::foldOf(kEvent, 7, 3));
  }

  void columnsThatMoveAreFoundAgain() {
    const ScoreInputs inputs(
        {{"Jet_pt", Kind::object, "Jet"}, {"genWeight", Kind::event, ""}, {"rho", Kind::event, ""}}, 1, 1);
    const FlatTable turned{"Jet", false, 1, {{"pt_raw", {45}}, {"pt", {50}}}};
    const FlatTable shorter{"Jet", false, 1, {{"pt", {20}}}};
    ScoreInputs::Columns columns;
    const auto values = [&](const FlatTable& jets, bool first) {
      const std::vector<const FlatTable*> tables = first ? std::vector<const FlatTable*>{&jets, &kWeight, &kLoose}
                                                         : std::vector<const FlatTable*>{&kLoose, &jets, &kWeight};
      return inputs(Branches<FlatTable>(tables, {}), kEvent, columns).values;
    };
    const std::vector<std::vector<float>> expected{{50, 30}, {-2}, {12.5}};
    CHECK(values(kJets, true) == expected);
    CHECK(columns[0].table == 0 && columns[0].column == 0 && columns[1].table == 1 && columns[2].table == 2);
    CHECK(values(kJets, true) == expected);
    CHECK((values(turned, true)[0] == std::vector<float>{50}) && columns[0].column == 1);
    CHECK((values(shorter, true)[0] == std::vector<float>{20}));
    CHECK(values(kJets, false) == expected);
    CHECK_THROWS(values(FlatTable{"Jet", false, 0, {}}, true), "no table has the branch Jet_pt");
  }

  void inputsThatDoNotFitAreNamed() {
    ScoreInputs::Columns columns;
    const auto feed = [&columns](const ScoreInput& input) { ScoreInputs({input}, 1, 1)(branches(), kEvent, columns); };
    CHECK_THROWS(feed({"Jet_pt", Kind::event, ""}), "Jet_pt is no value of the event");
    CHECK_THROWS(feed({"MET_pt", Kind::object, "Jet"}), "MET_pt is no column of Jet");
    CHECK_THROWS(feed({"Tau_pt", Kind::object, "Tau"}), "no table has the branch Tau_pt");
    CHECK_THROWS(feed({"Jet_pt", Kind::object, "Tau"}), "no table is called Tau");
    CHECK_THROWS(ScoreInputs({}, 0, 1), "folds has to be 1 or more");
    CHECK_THROWS(nanoforge::inputKind("jet"), "event, object or fold");
    CHECK(nanoforge::inputKind("event") == Kind::event && nanoforge::inputKind("object") == Kind::object &&
          nanoforge::inputKind("fold") == Kind::fold);
  }

  void bitsOfTriggersAreNamedAsInNanoAOD() {
    CHECK(nanoforge::triggerBranch("HLT_IsoMu24_v17") == "HLT_IsoMu24");
    CHECK(nanoforge::triggerBranch("L1_SingleMu22_v1") == "L1_SingleMu22");
    CHECK(nanoforge::triggerBranch("HLT_Ele32_WPTight_Gsf") == "HLT_Ele32_WPTight_Gsf");
    CHECK(nanoforge::triggerBranch("Flag_eeBadScFilter_v2") == "Flag_eeBadScFilter_v2");
    const ScoreInputs inputs(
        {{"HLT_IsoMu24", Kind::event, ""}, {"MET_pt", Kind::event, ""}, {"Flag_a", Kind::event, ""}}, 1, 1);
    CHECK((inputs.triggerBranches() == std::vector<std::string>{"HLT_IsoMu24", "Flag_a"}));
  }

  void scoresOfRejectedRowsAreFilled() {
    const auto columns = nanoforge::scoreColumns({0.1f, 0.9f, 0.2f, 0.8f, 0.3f, 0.7f}, {1, 0, 1}, 2, -1);
    CHECK((columns == std::vector<std::vector<float>>{{0.1f, -1, 0.3f}, {0.9f, -1, 0.7f}}));
    CHECK((nanoforge::scoreColumns({}, {}, 2, -1) == std::vector<std::vector<float>>(2)));
    CHECK_THROWS(nanoforge::scoreColumns({0.1f}, {1}, 2, -1), "another number of scores");
  }

}  // namespace

int main() {
  branchesHaveTheNamesOfNanoAOD();
  inputsHaveTheShapesOfTheGraph();
  columnsThatMoveAreFoundAgain();
  inputsThatDoNotFitAreNamed();
  bitsOfTriggersAreNamedAsInNanoAOD();
  scoresOfRejectedRowsAreFilled();
  return check::failures;
}

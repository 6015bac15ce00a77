/** \class OnnxScoreTableProducer
 *
 * Scores events or objects with a model of `nanoforge export`, from the tables that the same job writes to NanoAOD: the
 * model sees just what a reader of the file will see. The scores are a table of the event, or an extension of the table
 * of the objects.
 */

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "DataFormats/Common/interface/TriggerResults.h"
#include "DataFormats/NanoAOD/interface/FlatTable.h"
#include "FWCore/Common/interface/TriggerNames.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/stream/EDProducer.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/EmptyGroupDescription.h"
#include "FWCore/ParameterSet/interface/FileInPath.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/InputTag.h"
#include "PhysicsTools/ONNXRuntime/interface/ONNXRuntime.h"

#include "FilterModule.h"
#include "ScoreInputs.h"

class OnnxScoreTableProducer : public edm::stream::EDProducer<edm::GlobalCache<cms::Ort::ONNXRuntime>> {
public:
  OnnxScoreTableProducer(const edm::ParameterSet& config, const cms::Ort::ONNXRuntime* model);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);
  static std::unique_ptr<cms::Ort::ONNXRuntime> initializeGlobalCache(const edm::ParameterSet& config);
  static void globalEndJob(const cms::Ort::ONNXRuntime*) {}

private:
  using Table = nanoaod::FlatTable;

  void produce(edm::Event& event, const edm::EventSetup&) override;
  std::map<std::string, float> values(const edm::Event& event) const;
  std::unique_ptr<Table> scored(const nanoforge::Branches<Table>& branches, const nanoforge::EventIdentity& id);

  const std::string name_, row_;
  const std::vector<std::string> outputs_;
  const float fill_;
  const nanoforge::ScoreInputs inputs_;
  nanoforge::ScoreInputs::Columns columns_;  // where those of the last event were
  const std::vector<std::string> triggerBranches_;
  std::vector<edm::EDGetTokenT<Table>> tables_;
  std::vector<edm::EDGetTokenT<edm::TriggerResults>> triggers_;
};

namespace {
  nanoforge::ScoreInputs scoreInputs(const edm::ParameterSet& config) {
    std::vector<nanoforge::ScoreInput> inputs;
    for (const auto& input : config.getParameter<std::vector<edm::ParameterSet>>("inputs"))
      inputs.push_back({input.getParameter<std::string>("name"),
                        nanoforge::inputKind(input.getParameter<std::string>("kind")),
                        input.getParameter<std::string>("collection")});
    return {std::move(inputs),
            config.getParameter<unsigned int>("folds"),
            config.getParameter<unsigned long long>("foldSeed")};
  }

  using Arrays = std::vector<std::vector<float>>;

  template <typename Model>
  auto run(const Model& model,
           nanoforge::Feed& feed,
           int) -> decltype(model.run(feed.names, feed.values, feed.shapes, feed.names, 1)) {
    return model.run(feed.names, feed.values, feed.shapes, {"scores", "selected"}, 1);
  }

  /// In 10_6_X, which builds the other modules for Run 2, cms::Ort::ONNXRuntime takes no shapes.
  template <typename Model>
  Arrays run(const Model&, nanoforge::Feed&, long) {
    throw cms::Exception("OnnxScoreTableProducer")
        << "this release is too old: its models have inputs of fixed lengths";
  }
}  // namespace

OnnxScoreTableProducer::OnnxScoreTableProducer(const edm::ParameterSet& config, const cms::Ort::ONNXRuntime*)
    : name_(config.getParameter<std::string>("name")),
      row_(config.getParameter<std::string>("row")),
      outputs_(config.getParameter<std::vector<std::string>>("outputs")),
      fill_(config.getParameter<double>("fill")),
      inputs_(nanoforge::configured("OnnxScoreTableProducer", [&config] { return scoreInputs(config); })),
      triggerBranches_(inputs_.triggerBranches()) {
  for (const auto& tag : config.getParameter<std::vector<edm::InputTag>>("tables"))
    tables_.push_back(consumes<Table>(tag));
  for (const auto& tag : config.getParameter<std::vector<edm::InputTag>>("triggers"))
    triggers_.push_back(consumes<edm::TriggerResults>(tag));
  produces<Table>();
}

std::unique_ptr<cms::Ort::ONNXRuntime> OnnxScoreTableProducer::initializeGlobalCache(const edm::ParameterSet& config) {
  return std::make_unique<cms::Ort::ONNXRuntime>(config.getParameter<edm::FileInPath>("model").fullPath());
}

void OnnxScoreTableProducer::produce(edm::Event& event, const edm::EventSetup&) {
  std::vector<const Table*> tables;
  for (const auto& token : tables_)
    tables.push_back(&event.get(token));
  try {
    const nanoforge::Branches<Table> branches(std::move(tables), values(event));
    event.put(scored(branches, {event.id().run(), event.id().luminosityBlock(), event.id().event()}));
  } catch (const std::logic_error& error) {
    throw cms::Exception("OnnxScoreTableProducer") << name_ << ": " << error.what();
  }
}

/// What is in no table: the identity of the event, and trigger bits; one that a run's menu lacks is 0, as in NanoAOD.
std::map<std::string, float> OnnxScoreTableProducer::values(const edm::Event& event) const {
  const edm::EventID id = event.id();
  std::map<std::string, float> found{
      {"run", id.run()}, {"luminosityBlock", id.luminosityBlock()}, {"event", id.event()}};
  if (!triggers_.empty())
    for (const std::string& branch : triggerBranches_)
      found[branch] = 0;
  for (const auto& token : triggers_) {
    const auto results = event.getHandle(token);
    if (!results.isValid())
      continue;
    const auto& stored = results->getTriggerNames();
    const auto& names = stored.empty() ? event.triggerNames(*results).triggerNames() : stored;
    for (unsigned int i = 0; i < results->size(); ++i) {
      const auto branch = found.find(nanoforge::triggerBranch(names[i]));
      if (branch != found.end() && results->accept(i))
        branch->second = 1;
    }
  }
  return found;
}

std::unique_ptr<nanoaod::FlatTable> OnnxScoreTableProducer::scored(const nanoforge::Branches<Table>& branches,
                                                                   const nanoforge::EventIdentity& id) {
  nanoforge::Feed feed = inputs_(branches, id, columns_);
  const Arrays found = run(*globalCache(), feed, 0);
  const auto columns = nanoforge::scoreColumns(found.at(0), found.at(1), outputs_.size(), fill_);
  const bool ofEvent = row_ == "event";
  const std::size_t rows = found[1].size();
  if (rows != (ofEvent ? 1 : branches.rows(row_)))
    throw std::length_error("the model gives another number of rows than " + row_ + " has");
  auto table = std::make_unique<Table>(rows, ofEvent ? name_ : row_, ofEvent, !ofEvent);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string doc = "score '" + outputs_[i] + "' of the model " + name_;
    table->template addColumn<float>(ofEvent ? outputs_[i] : name_ + "_" + outputs_[i], columns[i], doc);
  }
  return table;
}

void OnnxScoreTableProducer::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription input;
  input.add<std::string>("name")->setComment("of the branch, e.g. Jet_pt");
  input.ifValue(edm::ParameterDescription<std::string>("kind", "event", true),
                "event" >> edm::EmptyGroupDescription() or "object" >> edm::EmptyGroupDescription() or
                    "fold" >> edm::EmptyGroupDescription());
  input.add<std::string>("collection", "")->setComment("of an object, e.g. Jet");

  edm::ParameterSetDescription desc;
  desc.add<edm::FileInPath>("model")->setComment("model.onnx of `nanoforge export`");
  desc.add<std::string>("name")->setComment("of the model: branches are called <name>_<output>");
  desc.add<std::string>("row", "event")->setComment("event, or the table whose objects are scored");
  desc.add<std::vector<std::string>>("outputs")->setComment("names of the scores, in the order of the model");
  desc.add<std::vector<edm::InputTag>>("tables")->setComment("where the branches of the inputs are");
  desc.add<std::vector<edm::InputTag>>("triggers", {})
      ->setComment("edm::TriggerResults, for inputs as HLT_IsoMu24 or Flag_goodVertices");
  desc.addVPSet("inputs", input)->setComment("as in model.json");
  desc.add<double>("fill", -1.)->setComment("score of what the selection rejects");
  desc.add<unsigned int>("folds", 1)->setComment("number of models, one of which is chosen by the input of kind fold");
  desc.add<unsigned long long>("foldSeed", 1)->setComment("split.seed of the analysis file");
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(OnnxScoreTableProducer);

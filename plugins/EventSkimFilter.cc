/** \class EventSkimFilter
 *
 * Keeps events by the numbers of objects that pass string cuts, of any number of collections, in groups of which one or
 * all cuts have to pass. How many events did is in a GenFilterInfo of the luminosity section; at the end of the job the
 * filter says how many passed each cut.
 */

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CommonTools/Utils/interface/StringCutObjectSelector.h"
#include "DataFormats/Candidate/interface/Candidate.h"
#include "DataFormats/Common/interface/View.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/LuminosityBlock.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/global/EDFilter.h"
#include "FWCore/MessageLogger/interface/MessageLogger.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/InputTag.h"

#include "FilterModule.h"
#include "SkimLogic.h"

namespace {
  /// The cuts of one stream: their parsed form is not shared between threads. They may call methods of derived classes.
  using Selectors = std::vector<StringCutObjectSelector<reco::Candidate, true>>;
}  // namespace

class EventSkimFilter : public edm::global::EDFilter<edm::StreamCache<Selectors>,
                                                     edm::LuminosityBlockCache<nanoforge::PassCounter>,
                                                     edm::EndLuminosityBlockProducer> {
public:
  explicit EventSkimFilter(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  std::unique_ptr<Selectors> beginStream(edm::StreamID) const override;
  bool filter(edm::StreamID stream, edm::Event& event, const edm::EventSetup&) const override;
  std::shared_ptr<nanoforge::PassCounter> globalBeginLuminosityBlock(const edm::LuminosityBlock&,
                                                                     const edm::EventSetup&) const override;
  void globalEndLuminosityBlock(const edm::LuminosityBlock&, const edm::EventSetup&) const override {}
  void globalEndLuminosityBlockProduce(edm::LuminosityBlock& section, const edm::EventSetup&) const override;
  void endJob() override;

  std::vector<edm::EDGetTokenT<edm::View<reco::Candidate>>> objects_;
  std::vector<std::string> selections_;
  std::unique_ptr<nanoforge::SkimLogic> logic_;
  edm::EDGetTokenT<GenEventInfoProduct> weights_;
};

EventSkimFilter::EventSkimFilter(const edm::ParameterSet& config) {
  std::vector<nanoforge::CountCut> cuts;
  for (const auto& cut : config.getParameter<std::vector<edm::ParameterSet>>("cuts")) {
    objects_.push_back(consumes<edm::View<reco::Candidate>>(cut.getParameter<edm::InputTag>("src")));
    selections_.push_back(cut.getParameter<std::string>("cut"));
    cuts.push_back({cut.getParameter<std::string>("name"),
                    cut.getParameter<unsigned int>("min"),
                    cut.getParameter<unsigned int>("max")});
  }
  std::vector<nanoforge::CutGroup> groups;
  for (const auto& group : config.getParameter<std::vector<edm::ParameterSet>>("groups"))
    groups.push_back({group.getParameter<std::string>("name"),
                      group.getParameter<bool>("any"),
                      group.getParameter<std::vector<std::string>>("cuts")});
  logic_ = nanoforge::configured("EventSkimFilter",
                                 [&] { return std::make_unique<nanoforge::SkimLogic>(std::move(cuts), groups); });
  const auto weights = config.getParameter<edm::InputTag>("weights");
  if (!weights.label().empty())
    weights_ = consumes<GenEventInfoProduct>(weights);
  produces<GenFilterInfo, edm::Transition::EndLuminosityBlock>();
}

std::unique_ptr<Selectors> EventSkimFilter::beginStream(edm::StreamID) const {
  auto selectors = std::make_unique<Selectors>();
  for (const auto& selection : selections_)
    nanoforge::configured("EventSkimFilter", [&] { selectors->emplace_back(selection); });
  return selectors;
}

bool EventSkimFilter::filter(edm::StreamID stream, edm::Event& event, const edm::EventSetup&) const {
  const Selectors& selectors = *streamCache(stream);
  std::vector<unsigned int> numbers(objects_.size());
  for (std::size_t i = 0; i < objects_.size(); ++i)
    for (const auto& object : event.get(objects_[i]))
      numbers[i] += selectors[i](object);
  const bool pass = logic_->pass(numbers);
  luminosityBlockCache(event.getLuminosityBlock().index())->count(pass, nanoforge::eventWeight(event, weights_));
  return pass;
}

std::shared_ptr<nanoforge::PassCounter> EventSkimFilter::globalBeginLuminosityBlock(const edm::LuminosityBlock&,
                                                                                    const edm::EventSetup&) const {
  return std::make_shared<nanoforge::PassCounter>();
}

void EventSkimFilter::globalEndLuminosityBlockProduce(edm::LuminosityBlock& section, const edm::EventSetup&) const {
  section.put(nanoforge::filterInfo(*luminosityBlockCache(section.index())));
}

void EventSkimFilter::endJob() {
  edm::LogPrint log("EventSkimFilter");
  log << moduleDescription().moduleLabel() << ": kept " << logic_->kept() << " of " << logic_->seen() << " events";
  for (std::size_t i = 0; i < logic_->cuts().size(); ++i)
    log << "\n  " << logic_->cuts()[i].name << ": " << logic_->passed(i) << " pass";
}

void EventSkimFilter::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription cut;
  cut.add<std::string>("name");
  cut.add<edm::InputTag>("src");
  cut.add<std::string>("cut", "")->setComment("as of StringCutObjectSelector, e.g. 'pt > 20 && abs(eta) < 2.4'");
  cut.add<unsigned int>("min", 1);
  cut.add<unsigned int>("max", std::numeric_limits<unsigned int>::max());

  edm::ParameterSetDescription group;
  group.add<std::string>("name");
  group.add<bool>("any", false)->setComment("one of the cuts is enough");
  group.add<std::vector<std::string>>("cuts");

  edm::ParameterSetDescription desc;
  desc.addVPSet("cuts", cut, {})->setComment("numbers of objects that an event must have");
  desc.addVPSet("groups", group, {})->setComment("an event passes with all groups; a cut in no group has to pass");
  desc.add<edm::InputTag>("weights", edm::InputTag())->setComment("generator, for the sums of weights; none for data");
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(EventSkimFilter);

/** \class SimAcceptanceFilter
 *
 * Keeps simulated events with a number of decays (chosen as by GenDecayFilter) each leg of which deposits energy in the
 * calorimeters: what misses the detector goes no further than the simulation. How many did is in a GenFilterInfo of the
 * luminosity section.
 */

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "DataFormats/DetId/interface/DetId.h"
#include "DataFormats/HepMCCandidate/interface/GenParticle.h"
#include "DataFormats/HepMCCandidate/interface/GenParticleFwd.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/EventSetup.h"
#include "FWCore/Framework/interface/LuminosityBlock.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/global/EDFilter.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/EDMException.h"
#include "FWCore/Utilities/interface/ESGetToken.h"
#include "FWCore/Utilities/interface/InputTag.h"
#include "Geometry/CaloGeometry/interface/CaloGeometry.h"
#include "Geometry/HcalCommonData/interface/HcalDDDRecConstants.h"
#include "Geometry/HcalCommonData/interface/HcalHitRelabeller.h"
#include "Geometry/Records/interface/CaloGeometryRecord.h"
#include "Geometry/Records/interface/HcalRecNumberingRecord.h"
#include "SimDataFormats/CaloHit/interface/PCaloHit.h"
#include "SimDataFormats/CaloHit/interface/PCaloHitContainer.h"

#include "FilterModule.h"
#include "GenDecayParameters.h"
#include "SimAcceptance.h"

class SimAcceptanceFilter
    : public edm::global::EDFilter<edm::LuminosityBlockCache<nanoforge::PassCounter>, edm::EndLuminosityBlockProducer> {
public:
  explicit SimAcceptanceFilter(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  using Tokens = std::vector<edm::EDGetTokenT<edm::PCaloHitContainer>>;

  using Counter = nanoforge::PassCounter;

  bool filter(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const override;
  bool accepts(const edm::Event& event, const edm::EventSetup& setup) const;
  std::shared_ptr<Counter> globalBeginLuminosityBlock(const edm::LuminosityBlock&,
                                                      const edm::EventSetup&) const override;
  void globalEndLuminosityBlock(const edm::LuminosityBlock&, const edm::EventSetup&) const override {}
  void globalEndLuminosityBlockProduce(edm::LuminosityBlock& section, const edm::EventSetup&) const override;
  Tokens tokens(const std::vector<edm::InputTag>& tags, double threshold);
  std::vector<nanoforge::Deposit> deposits(const edm::Event& event,
                                           const Tokens& tokens,
                                           const CaloGeometry& geometry,
                                           const HcalDDDRecConstants* numbering) const;

  const nanoforge::DecayCuts cuts_;
  const nanoforge::DecaySelector select_;
  const nanoforge::AcceptanceCuts acceptance_;
  const bool hcalTestNumbering_;
  const edm::EDGetTokenT<reco::GenParticleCollection> particles_;
  const Tokens ecalHits_, hcalHits_;
  const edm::ESGetToken<CaloGeometry, CaloGeometryRecord> geometry_;
  edm::ESGetToken<HcalDDDRecConstants, HcalRecNumberingRecord> numbering_;  // only of hits with Geant's numbers
  const edm::EDGetTokenT<GenEventInfoProduct> weights_;
};

SimAcceptanceFilter::SimAcceptanceFilter(const edm::ParameterSet& config)
    : cuts_(nanoforge::decayCuts(config)),
      select_(nanoforge::configured("SimAcceptanceFilter", [&] { return nanoforge::DecaySelector(cuts_); })),
      acceptance_{config.getParameter<double>("minEcalEnergy"),
                  config.getParameter<double>("minHcalEnergy"),
                  config.getParameter<double>("hitDeltaR")},
      hcalTestNumbering_(acceptance_.minHcalEnergy > 0 && config.getParameter<bool>("hcalTestNumbering")),
      particles_(consumes<reco::GenParticleCollection>(config.getParameter<edm::InputTag>("src"))),
      ecalHits_(tokens(config.getParameter<std::vector<edm::InputTag>>("ecalHits"), acceptance_.minEcalEnergy)),
      hcalHits_(tokens(config.getParameter<std::vector<edm::InputTag>>("hcalHits"), acceptance_.minHcalEnergy)),
      geometry_(esConsumes<CaloGeometry, CaloGeometryRecord>()),
      weights_(consumes<GenEventInfoProduct>(config.getParameter<edm::InputTag>("weights"))) {
  if (hcalTestNumbering_)
    numbering_ = esConsumes<HcalDDDRecConstants, HcalRecNumberingRecord>();
  produces<GenFilterInfo, edm::Transition::EndLuminosityBlock>();
  if (acceptance_.minEcalEnergy <= 0 && acceptance_.minHcalEnergy <= 0)
    throw edm::Exception(edm::errors::Configuration) << "give minEcalEnergy or minHcalEnergy: nothing is required";
}

/// Hits that no threshold asks for are not read.
SimAcceptanceFilter::Tokens SimAcceptanceFilter::tokens(const std::vector<edm::InputTag>& tags, double threshold) {
  Tokens found;
  if (threshold > 0)
    for (const auto& tag : tags)
      found.push_back(consumes<edm::PCaloHitContainer>(tag));
  return found;
}

std::vector<nanoforge::Deposit> SimAcceptanceFilter::deposits(const edm::Event& event,
                                                              const Tokens& tokens,
                                                              const CaloGeometry& geometry,
                                                              const HcalDDDRecConstants* numbering) const {
  std::vector<nanoforge::Deposit> found;
  for (const auto& token : tokens) {
    for (const PCaloHit& hit : event.get(token)) {
      const DetId id = numbering ? HcalHitRelabeller::relabel(hit.id(), numbering) : DetId(hit.id());
      if (!geometry.present(id))
        continue;
      const GlobalPoint position = geometry.getPosition(id);
      found.push_back({position.eta(), position.phi(), hit.energy()});
    }
  }
  return found;
}

bool SimAcceptanceFilter::filter(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const {
  const bool pass = accepts(event, setup);
  luminosityBlockCache(event.getLuminosityBlock().index())->count(pass, nanoforge::eventWeight(event, weights_));
  return pass;
}

bool SimAcceptanceFilter::accepts(const edm::Event& event, const edm::EventSetup& setup) const {
  const nanoforge::GenEvent particles = nanoforge::fromCandidates(event.get(particles_));
  const auto decays = select_(particles);
  if (decays.size() < cuts_.count)
    return false;
  const auto& geometry = setup.getData(geometry_);
  const auto* numbering = hcalTestNumbering_ ? &setup.getData(numbering_) : nullptr;
  const auto ecal = deposits(event, ecalHits_, geometry, nullptr);
  const auto hcal = deposits(event, hcalHits_, geometry, numbering);
  const auto accepted = std::count_if(decays.begin(), decays.end(), [&](const nanoforge::Legs& legs) {
    return nanoforge::deposits(particles, legs, ecal, hcal, acceptance_);
  });
  return accepted >= static_cast<long>(cuts_.count);
}

std::shared_ptr<nanoforge::PassCounter> SimAcceptanceFilter::globalBeginLuminosityBlock(const edm::LuminosityBlock&,
                                                                                        const edm::EventSetup&) const {
  return std::make_shared<Counter>();
}

void SimAcceptanceFilter::globalEndLuminosityBlockProduce(edm::LuminosityBlock& section, const edm::EventSetup&) const {
  section.put(nanoforge::filterInfo(*luminosityBlockCache(section.index())));
}

void SimAcceptanceFilter::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<edm::InputTag>("src", edm::InputTag("genParticles"));
  nanoforge::describeDecayCuts(desc);
  desc.add<std::vector<edm::InputTag>>(
      "ecalHits", {edm::InputTag("g4SimHits", "EcalHitsEB"), edm::InputTag("g4SimHits", "EcalHitsEE")});
  desc.add<std::vector<edm::InputTag>>("hcalHits", {edm::InputTag("g4SimHits", "HcalHits")});
  desc.add<bool>("hcalTestNumbering", true)->setComment("the ids of HcalHits are those of Geant (since Run 2)");
  desc.add<double>("minEcalEnergy", 0.)->setComment("of each leg in the ECAL, GeV; 0: not looked at");
  desc.add<double>("minHcalEnergy", 0.)->setComment("of each leg in the HCAL (what Geant deposits there), GeV");
  desc.add<double>("hitDeltaR", 0.3)->setComment("of a cell to the direction in which the leg is produced");
  desc.add<edm::InputTag>("weights", edm::InputTag("generator"))->setComment("of the events, for the sums of weights");
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(SimAcceptanceFilter);

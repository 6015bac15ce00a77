/** \class CaloSeedTableProducer
 *
 * The hottest tower of the HCAL in the 7 x 7 about each jet, all depths summed: the middle of its image. An extension of
 * the table of jets, with a row for every jet; whether a crop fits into the grid is a column, and no jet is dropped.
 */

#include <memory>
#include <string>
#include <vector>

#include "DataFormats/Candidate/interface/Candidate.h"
#include "DataFormats/Common/interface/View.h"
#include "DataFormats/HcalDetId/interface/HcalDetId.h"
#include "DataFormats/HcalRecHit/interface/HBHERecHit.h"
#include "DataFormats/HcalRecHit/interface/HcalRecHitCollections.h"
#include "DataFormats/NanoAOD/interface/FlatTable.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/global/EDProducer.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/InputTag.h"

#include "CaloGrid.h"

class CaloSeedTableProducer : public edm::global::EDProducer<> {
public:
  explicit CaloSeedTableProducer(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  void produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const override;

  const std::string name_;
  const unsigned int cropRows_;
  const edm::EDGetTokenT<edm::View<reco::Candidate>> jets_;
  const edm::EDGetTokenT<HBHERecHitCollection> hits_;
};

CaloSeedTableProducer::CaloSeedTableProducer(const edm::ParameterSet& config)
    : name_(config.getParameter<std::string>("name")),
      cropRows_(config.getParameter<unsigned int>("cropRows")),
      jets_(consumes<edm::View<reco::Candidate>>(config.getParameter<edm::InputTag>("src"))),
      hits_(consumes<HBHERecHitCollection>(config.getParameter<edm::InputTag>("hits"))) {
  produces<nanoaod::FlatTable>();
}

void CaloSeedTableProducer::produce(edm::StreamID, edm::Event& event, const edm::EventSetup&) const {
  std::vector<nanoforge::Tower> towers;
  for (const HBHERecHit& hit : event.get(hits_))
    towers.push_back({HcalDetId(hit.id()).ieta(), HcalDetId(hit.id()).iphi(), hit.energy()});
  std::vector<int> ieta, iphi;
  std::vector<float> energy;
  std::vector<bool> complete;
  const auto& jets = event.get(jets_);
  for (const auto& jet : jets) {
    const nanoforge::Tower seed = nanoforge::hottestTower(towers, jet.eta(), jet.phi());
    ieta.push_back(seed.ieta);
    iphi.push_back(seed.iphi);
    energy.push_back(seed.energy);
    complete.push_back(nanoforge::cropComplete(seed, cropRows_));
  }
  auto table = std::make_unique<nanoaod::FlatTable>(jets.size(), name_, false, true);
  table->addColumn<int>("seedIeta", ieta, "ieta of the hottest HCAL tower in the 7 x 7 about the jet");
  table->addColumn<int>("seedIphi", iphi, "iphi of the hottest HCAL tower in the 7 x 7 about the jet");
  table->addColumn<float>("seedEnergy", energy, "its energy, all depths, in GeV");
  table->addColumn<bool>("cropComplete", complete, "the crop about it lies within the grid of 280 rows");
  event.put(std::move(table));
}

void CaloSeedTableProducer::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<std::string>("name", "Jet")->setComment("the table that is extended");
  desc.add<edm::InputTag>("src")->setComment("the jets of that table, in its order");
  desc.add<edm::InputTag>("hits", edm::InputTag("reducedHcalRecHits", "hbhereco"));
  desc.add<unsigned int>("cropRows", 125)->setComment("rows of a crop of the grid");
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(CaloSeedTableProducer);

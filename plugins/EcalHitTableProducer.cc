/** \class EcalHitTableProducer
 *
 * The crystals of the ECAL, barrel and endcaps, as one table: names and columns are those of the embedded chain. Flags
 * remove spikes and what is out of time.
 */

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "DataFormats/DetId/interface/DetId.h"
#include "DataFormats/EcalDetId/interface/EBDetId.h"
#include "DataFormats/EcalDetId/interface/EcalSubdetector.h"
#include "DataFormats/EcalRecHit/interface/EcalRecHit.h"
#include "DataFormats/EcalRecHit/interface/EcalRecHitCollections.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/EventSetup.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/global/EDProducer.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/ESGetToken.h"
#include "FWCore/Utilities/interface/InputTag.h"
#include "Geometry/CaloGeometry/interface/CaloGeometry.h"
#include "Geometry/Records/interface/CaloGeometryRecord.h"

#include "CaloGrid.h"
#include "CaloHits.h"

class EcalHitTableProducer : public edm::global::EDProducer<> {
public:
  explicit EcalHitTableProducer(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  void produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const override;
  bool good(const EcalRecHit& hit) const;

  const std::string name_;
  const double minBarrel_, minEndcap_, deltaR_;
  const std::vector<int> excludedFlags_;
  std::vector<edm::EDGetTokenT<EcalRecHitCollection>> hits_;
  edm::EDGetTokenT<nanoforge::Jets> jets_;
  const edm::ESGetToken<CaloGeometry, CaloGeometryRecord> geometry_;
};

EcalHitTableProducer::EcalHitTableProducer(const edm::ParameterSet& config)
    : name_(config.getParameter<std::string>("name")),
      minBarrel_(config.getParameter<double>("minEnergyBarrel")),
      minEndcap_(config.getParameter<double>("minEnergyEndcap")),
      deltaR_(config.getParameter<double>("deltaR")),
      excludedFlags_(config.getParameter<std::vector<int>>("excludedFlags")),
      geometry_(esConsumes<CaloGeometry, CaloGeometryRecord>()) {
  for (const auto& tag : config.getParameter<std::vector<edm::InputTag>>("src"))
    hits_.push_back(consumes<EcalRecHitCollection>(tag));
  const auto jets = config.getParameter<edm::InputTag>("jets");
  if (!jets.label().empty())
    jets_ = consumes<nanoforge::Jets>(jets);
  produces<nanoaod::FlatTable>();
}

bool EcalHitTableProducer::good(const EcalRecHit& hit) const {
  const bool barrel = hit.id().subdetId() == EcalBarrel;
  for (const int flag : excludedFlags_)
    if (hit.checkFlag(flag))
      return false;
  return hit.energy() > (barrel ? minBarrel_ : minEndcap_);
}

void EcalHitTableProducer::produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const {
  const auto& geometry = setup.getData(geometry_);
  const auto near = nanoforge::nearJets(event, jets_, deltaR_);
  nanoforge::HitColumns columns;
  std::vector<int> ieta, iphi, row, column;
  for (const auto& token : hits_) {
    for (const EcalRecHit& hit : event.get(token)) {
      if (!good(hit) || !geometry.present(hit.id()))
        continue;
      const GlobalPoint position = geometry.getPosition(hit.id());
      if (!near(position.eta(), position.phi()))
        continue;
      columns.add(position.eta(), position.phi(), hit.energy());
      const bool barrel = hit.id().subdetId() == EcalBarrel;
      const EBDetId id = barrel ? EBDetId(hit.id()) : EBDetId();
      ieta.push_back(barrel ? id.ieta() : 0);
      iphi.push_back(barrel ? id.iphi() : 0);
      row.push_back(barrel ? nanoforge::barrelRow(id.ieta()) : nanoforge::gridRow(position.eta()));
      column.push_back(barrel ? id.iphi() - 1 : nanoforge::gridColumn(position.phi()));
    }
  }
  auto table = columns.table(name_);
  table->addColumn<int>("ieta", ieta, "ieta of the crystal in the barrel, 0 in the endcaps");
  table->addColumn<int>("iphi", iphi, "iphi of the crystal in the barrel, 0 in the endcaps");
  table->addColumn<int>("row", row, "row of the grid over barrel and endcaps, 0 to 279 in eta");
  table->addColumn<int>("column", column, "column of the grid, 0 to 359 in phi, that of iphi 1 first");
  event.put(std::move(table));
}

void EcalHitTableProducer::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<std::string>("name", "EcalHit");
  desc.add<std::vector<edm::InputTag>>("src",
                                       {edm::InputTag("reducedEcalRecHitsEB"), edm::InputTag("reducedEcalRecHitsEE")});
  desc.add<double>("minEnergyBarrel", 0.05)->setComment("GeV");
  desc.add<double>("minEnergyEndcap", 0.1)->setComment("GeV");
  desc.add<std::vector<int>>("excludedFlags", {2, 5, 14, 15})
      ->setComment("of EcalRecHit: out of time, poorly calibrated, spikes");
  nanoforge::describeNearJets(desc);
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(EcalHitTableProducer);

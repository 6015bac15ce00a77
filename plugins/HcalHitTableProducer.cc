/** \class HcalHitTableProducer
 *
 * The cells of the HCAL's barrel and endcaps as a table, each depth for itself: names and columns are those of the
 * embedded chain.
 */

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "DataFormats/HcalDetId/interface/HcalDetId.h"
#include "DataFormats/HcalRecHit/interface/HBHERecHit.h"
#include "DataFormats/HcalRecHit/interface/HcalRecHitCollections.h"
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

#include "CaloHits.h"

class HcalHitTableProducer : public edm::global::EDProducer<> {
public:
  explicit HcalHitTableProducer(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  void produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const override;

  const std::string name_;
  const double minEnergy_, deltaR_;
  const edm::EDGetTokenT<HBHERecHitCollection> hits_;
  edm::EDGetTokenT<nanoforge::Jets> jets_;
  const edm::ESGetToken<CaloGeometry, CaloGeometryRecord> geometry_;
};

HcalHitTableProducer::HcalHitTableProducer(const edm::ParameterSet& config)
    : name_(config.getParameter<std::string>("name")),
      minEnergy_(config.getParameter<double>("minEnergy")),
      deltaR_(config.getParameter<double>("deltaR")),
      hits_(consumes<HBHERecHitCollection>(config.getParameter<edm::InputTag>("src"))),
      geometry_(esConsumes<CaloGeometry, CaloGeometryRecord>()) {
  const auto jets = config.getParameter<edm::InputTag>("jets");
  if (!jets.label().empty())
    jets_ = consumes<nanoforge::Jets>(jets);
  produces<nanoaod::FlatTable>();
}

void HcalHitTableProducer::produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const {
  const auto& geometry = setup.getData(geometry_);
  const auto near = nanoforge::nearJets(event, jets_, deltaR_);
  nanoforge::HitColumns columns;
  std::vector<int> ieta, iphi;
  std::vector<std::uint8_t> depth;
  for (const HBHERecHit& hit : event.get(hits_)) {
    const HcalDetId id = hit.id();
    if (hit.energy() <= minEnergy_ || !geometry.present(id))
      continue;
    const GlobalPoint position = geometry.getPosition(id);
    if (!near(position.eta(), position.phi()))
      continue;
    columns.add(position.eta(), position.phi(), hit.energy());
    ieta.push_back(id.ieta());
    iphi.push_back(id.iphi());
    depth.push_back(id.depth());
  }
  auto table = columns.table(name_);
  table->addColumn<int>("ieta", ieta, "ieta of the tower");
  table->addColumn<int>("iphi", iphi, "iphi of the tower, odd above ieta 20");
  table->addColumn<std::uint8_t>("depth", depth, "depth");
  event.put(std::move(table));
}

void HcalHitTableProducer::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<std::string>("name", "HcalHit");
  desc.add<edm::InputTag>("src", edm::InputTag("reducedHcalRecHits", "hbhereco"));
  desc.add<double>("minEnergy", 0.2)->setComment("of a cell, GeV");
  nanoforge::describeNearJets(desc);
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(HcalHitTableProducer);

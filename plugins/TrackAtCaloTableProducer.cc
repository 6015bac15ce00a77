/** \class TrackAtCaloTableProducer
 *
 * Tracks where they arrive at the calorimeters, in a table with the columns of the embedded chain's PFCands. They are
 * followed in a uniform field, that at the origin.
 */

#include <memory>
#include <string>
#include <vector>

#include "DataFormats/GeometryVector/interface/GlobalPoint.h"
#include "DataFormats/NanoAOD/interface/FlatTable.h"
#include "DataFormats/TrackReco/interface/Track.h"
#include "DataFormats/TrackReco/interface/TrackFwd.h"
#include "DataFormats/VertexReco/interface/Vertex.h"
#include "DataFormats/VertexReco/interface/VertexFwd.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/EventSetup.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/global/EDProducer.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/ESGetToken.h"
#include "FWCore/Utilities/interface/InputTag.h"
#include "MagneticField/Engine/interface/MagneticField.h"
#include "MagneticField/Records/interface/IdealMagneticFieldRecord.h"

#include "CaloPath.h"

class TrackAtCaloTableProducer : public edm::global::EDProducer<> {
public:
  explicit TrackAtCaloTableProducer(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  void produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const override;

  const std::string name_;
  const double minPt_;
  const bool highPurity_;
  const edm::EDGetTokenT<reco::TrackCollection> tracks_;
  const edm::EDGetTokenT<reco::VertexCollection> vertices_;
  const edm::ESGetToken<MagneticField, IdealMagneticFieldRecord> field_;
};

TrackAtCaloTableProducer::TrackAtCaloTableProducer(const edm::ParameterSet& config)
    : name_(config.getParameter<std::string>("name")),
      minPt_(config.getParameter<double>("minPt")),
      highPurity_(config.getParameter<bool>("highPurity")),
      tracks_(consumes<reco::TrackCollection>(config.getParameter<edm::InputTag>("src"))),
      vertices_(consumes<reco::VertexCollection>(config.getParameter<edm::InputTag>("vertices"))),
      field_(esConsumes<MagneticField, IdealMagneticFieldRecord>()) {
  produces<nanoaod::FlatTable>();
}

void TrackAtCaloTableProducer::produce(edm::StreamID, edm::Event& event, const edm::EventSetup& setup) const {
  const double field = setup.getData(field_).inTesla(GlobalPoint(0, 0, 0)).z();
  const auto& vertices = event.get(vertices_);
  std::vector<float> pt, eta, phi, d0, d0Err, dz, dzErr, etaCalo, phiCalo;
  std::vector<int> charge;
  for (const reco::Track& track : event.get(tracks_)) {
    if (track.pt() < minPt_ || vertices.empty() || (highPurity_ && !track.quality(reco::TrackBase::highPurity)))
      continue;
    const auto at = nanoforge::atCalorimeter(
        track.px(), track.py(), track.pz(), track.charge(), 10 * track.vx(), 10 * track.vy(), 10 * track.vz(), field);
    if (!at.reached)
      continue;
    pt.push_back(track.pt());
    eta.push_back(track.eta());
    phi.push_back(track.phi());
    charge.push_back(track.charge());
    d0.push_back(track.dxy(vertices.front().position()));
    d0Err.push_back(track.dxyError());
    dz.push_back(track.dz(vertices.front().position()));
    dzErr.push_back(track.dzError());
    etaCalo.push_back(at.eta);
    phiCalo.push_back(at.phi);
  }
  auto table = std::make_unique<nanoaod::FlatTable>(pt.size(), name_, false);
  table->addColumn<float>("pt", pt, "pt");
  table->addColumn<float>("eta", eta, "eta");
  table->addColumn<float>("phi", phi, "phi");
  table->addColumn<int>("charge", charge, "electric charge");
  table->addColumn<float>("d0", d0, "d0 wrt PV, in cm");
  table->addColumn<float>("d0Err", d0Err, "d0 error, in cm");
  table->addColumn<float>("dz", dz, "dz wrt PV, in cm");
  table->addColumn<float>("dzErr", dzErr, "dz error, in cm");
  table->addColumn<float>("etaCalo", etaCalo, "eta on the inner face of the calorimeters, from the detector's centre");
  table->addColumn<float>("phiCalo", phiCalo, "phi on the inner face of the calorimeters");
  event.put(std::move(table));
}

void TrackAtCaloTableProducer::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<std::string>("name", "CaloTrack");
  desc.add<edm::InputTag>("src", edm::InputTag("generalTracks"));
  desc.add<edm::InputTag>("vertices", edm::InputTag("offlinePrimaryVertices"))
      ->setComment("an event without any has no tracks in the table");
  desc.add<double>("minPt", 0.5)->setComment("GeV");
  desc.add<bool>("highPurity", true);
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(TrackAtCaloTableProducer);

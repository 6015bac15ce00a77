#ifndef PhysicsTools_NanoForge_CaloHits_h
#define PhysicsTools_NanoForge_CaloHits_h

// What the tables of hits share: their columns, and the choice of hits near jets.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "DataFormats/Candidate/interface/Candidate.h"
#include "DataFormats/Common/interface/View.h"
#include "DataFormats/NanoAOD/interface/FlatTable.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/InputTag.h"

#include "GenDecay.h"

namespace nanoforge {

  /// Directions near which hits are kept; all hits where no jets are given.
  class NearJets {
  public:
    NearJets(bool given, double radius) : all_(!given), radius_(radius) {}
    void add(double eta, double phi) { axes_.emplace_back(eta, phi); }
    bool operator()(double eta, double phi) const {
      if (all_)
        return true;
      for (const auto& axis : axes_)
        if (deltaR(axis.first, axis.second, eta, phi) < radius_)
          return true;
      return false;
    }

  private:
    bool all_;
    double radius_;
    std::vector<std::pair<double, double>> axes_;
  };

  using Jets = edm::View<reco::Candidate>;

  inline NearJets nearJets(const edm::Event& event, const edm::EDGetTokenT<Jets>& token, double radius) {
    NearJets near(!token.isUninitialized(), radius);
    if (!token.isUninitialized())
      for (const auto& jet : event.get(token))
        near.add(jet.eta(), jet.phi());
    return near;
  }

  inline void describeNearJets(edm::ParameterSetDescription& desc) {
    desc.add<edm::InputTag>("jets", edm::InputTag())->setComment("only hits near these are kept; without, all are");
    desc.add<double>("deltaR", 0.8)->setComment("largest distance to a jet");
  }

  /// Positions and energies, the first columns of every table of hits.
  struct HitColumns {
    std::vector<float> eta, phi, energy;

    void add(double atEta, double atPhi, double deposited) {
      eta.push_back(atEta);
      phi.push_back(atPhi);
      energy.push_back(deposited);
    }

    std::unique_ptr<nanoaod::FlatTable> table(const std::string& name) const {
      auto table = std::make_unique<nanoaod::FlatTable>(eta.size(), name, false);
      table->addColumn<float>("eta", eta, "eta of the cell's middle, seen from the detector's centre");
      table->addColumn<float>("phi", phi, "phi of the cell's middle");
      table->addColumn<float>("energy", energy, "energy, in GeV");
      return table;
    }
  };

}  // namespace nanoforge

#endif

#ifndef PhysicsTools_NanoForge_GenDecayParameters_h
#define PhysicsTools_NanoForge_GenDecayParameters_h

// The parameters of a DecaySelector, which GenDecayFilter and SimAcceptanceFilter have in common.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/EDMException.h"

#include "GenDecay.h"

namespace nanoforge {

  inline std::optional<std::pair<double, double>> range(const edm::ParameterSet& config, const std::string& name) {
    const auto edges = config.getParameter<std::vector<double>>(name);
    if (edges.empty())
      return std::nullopt;
    if (edges.size() != 2 || edges[0] > edges[1])
      throw edm::Exception(edm::errors::Configuration) << name << " has to be empty or [from, to]";
    return std::make_pair(edges[0], edges[1]);
  }

  inline DecayCuts decayCuts(const edm::ParameterSet& config) {
    DecayCuts cuts;
    cuts.mother = config.getParameter<int>("mother");
    cuts.daughters = config.getParameter<std::vector<int>>("daughters");
    cuts.minPt = config.getParameter<double>("minPt");
    const double maxAbsEta = config.getParameter<double>("maxAbsEta");
    if (maxAbsEta >= 0)
      cuts.maxAbsEta = maxAbsEta;
    cuts.deltaR = range(config, "deltaR");
    cuts.mass = range(config, "mass");
    cuts.count = config.getParameter<unsigned int>("count");
    if (cuts.daughters.empty())
      throw edm::Exception(edm::errors::Configuration) << "daughters: give the PDG ids of the legs";
    if (cuts.count == 0)
      throw edm::Exception(edm::errors::Configuration) << "count has to be 1 or more: with 0 every event passes";
    if ((cuts.deltaR || cuts.mass) && (cuts.mother == 0 || cuts.daughters.size() < 2))
      throw edm::Exception(edm::errors::Configuration) << "deltaR and mass need a mother and at least two daughters";
    return cuts;
  }

  inline void describeDecayCuts(edm::ParameterSetDescription& desc) {
    desc.add<int>("mother", 0)->setComment("PDG id of the mother, of either sign; 0: single particles are counted");
    desc.add<std::vector<int>>("daughters", {})->setComment("PDG ids of the legs, of either sign, in any order");
    desc.add<double>("minPt", 0.)->setComment("of each leg, GeV");
    desc.add<double>("maxAbsEta", -1.)->setComment("of each leg; negative: not cut");
    desc.add<std::vector<double>>("deltaR", {})->setComment("[from, to] of each pair of legs; empty: not cut");
    desc.add<std::vector<double>>("mass", {})->setComment("[from, to] of all legs together, GeV; empty: not cut");
    desc.add<unsigned int>("count", 1)->setComment("so many decays (or particles) at least");
  }

}  // namespace nanoforge

#endif

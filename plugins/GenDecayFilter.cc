/** \class GenDecayFilter
 *
 * Keeps events with a number of decays of a mother to given daughters, each of which meets the cuts; the rules are in
 * GenDecay.h. Reads reco::GenParticles, or, right after the generator, the HepMC event.
 */

#include <atomic>
#include <string>

#include "DataFormats/HepMCCandidate/interface/GenParticle.h"
#include "DataFormats/HepMCCandidate/interface/GenParticleFwd.h"
#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/Framework/interface/global/EDFilter.h"
#include "FWCore/MessageLogger/interface/MessageLogger.h"
#include "FWCore/ParameterSet/interface/ConfigurationDescriptions.h"
#include "FWCore/ParameterSet/interface/EmptyGroupDescription.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/ParameterSet/interface/ParameterSetDescription.h"
#include "FWCore/Utilities/interface/InputTag.h"
#include "SimDataFormats/GeneratorProducts/interface/HepMCProduct.h"

#include "FilterModule.h"
#include "GenDecayParameters.h"

class GenDecayFilter : public edm::global::EDFilter<> {
public:
  explicit GenDecayFilter(const edm::ParameterSet& config);
  static void fillDescriptions(edm::ConfigurationDescriptions& descriptions);

private:
  bool filter(edm::StreamID, edm::Event& event, const edm::EventSetup&) const override;
  void endJob() override;

  const nanoforge::DecaySelector select_;
  const bool readsHepMC_;
  edm::EDGetTokenT<reco::GenParticleCollection> particles_;
  edm::EDGetTokenT<edm::HepMCProduct> hepMC_;
  mutable std::atomic<unsigned long long> seen_{0}, passed_{0};
};

GenDecayFilter::GenDecayFilter(const edm::ParameterSet& config)
    : select_(nanoforge::configured("GenDecayFilter",
                                    [&] { return nanoforge::DecaySelector(nanoforge::decayCuts(config)); })),
      readsHepMC_(config.getParameter<std::string>("format") == "HepMC") {
  const auto src = config.getParameter<edm::InputTag>("src");
  if (readsHepMC_)
    hepMC_ = consumes<edm::HepMCProduct>(src);
  else
    particles_ = consumes<reco::GenParticleCollection>(src);
}

bool GenDecayFilter::filter(edm::StreamID, edm::Event& event, const edm::EventSetup&) const {
  const nanoforge::GenEvent particles = readsHepMC_ ? nanoforge::fromHepMC(event.get(hepMC_).getHepMCData())
                                                    : nanoforge::fromCandidates(event.get(particles_));
  const bool pass = select_.pass(particles);
  ++seen_;
  passed_ += pass;
  return pass;
}

void GenDecayFilter::endJob() {
  edm::LogPrint("GenDecayFilter") << moduleDescription().moduleLabel() << ": " << passed_ << " of " << seen_
                                  << " events passed";
}

void GenDecayFilter::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<edm::InputTag>("src", edm::InputTag("genParticles"))
      ->setComment("genParticles, or with format HepMC e.g. generator:unsmeared");
  desc.ifValue(edm::ParameterDescription<std::string>("format", "GenParticle", true),
               "GenParticle" >> edm::EmptyGroupDescription() or "HepMC" >> edm::EmptyGroupDescription());
  nanoforge::describeDecayCuts(desc);
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(GenDecayFilter);

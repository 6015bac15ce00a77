// The modules in a job of one module: scram b runtests.

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if __has_include("catch2/catch_all.hpp")
#include "catch2/catch_all.hpp"
#else
#define CATCH_CONFIG_MAIN
#include "catch.hpp"
#endif

#include "DataFormats/HepMCCandidate/interface/GenParticle.h"
#include "DataFormats/HepMCCandidate/interface/GenParticleFwd.h"
#include "FWCore/TestProcessor/interface/TestProcessor.h"
#include "FWCore/Utilities/interface/Exception.h"
#include "SimDataFormats/GeneratorProducts/interface/GenFilterInfo.h"
#include "SimDataFormats/GeneratorProducts/interface/HepMCProduct.h"

using edm::test::TestProcessor;

namespace {

  std::string configuration(const std::string& module) {
    return "from FWCore.TestProcessor.TestProcess import *\n"
           "import FWCore.ParameterSet.Config as cms\n"
           "process = TestProcess()\n"
           "process.toTest = " +
           module + "\nprocess.moduleToTest(process.toTest)\n";
  }

  const std::string kGenDecay =
      "cms.EDFilter('GenDecayFilter', mother = cms.int32(25), daughters = cms.vint32(15, 15), minPt = cms.double(20), "
      "maxAbsEta = cms.double(2.4)";

  struct Leg {
    int id;
    double pt, eta, phi;
  };

  /// A Higgs boson and the daughters that it has.
  std::unique_ptr<reco::GenParticleCollection> genParticles(const std::vector<Leg>& legs) {
    auto particles = std::make_unique<reco::GenParticleCollection>();
    particles->emplace_back(0, reco::Candidate::LorentzVector(0, 0, 0, 125), reco::Candidate::Point(), 25, 62, true);
    for (const Leg& leg : legs) {
      const reco::Candidate::PolarLorentzVector p4(leg.pt, leg.eta, leg.phi, 1.777);
      particles->emplace_back(0, reco::Candidate::LorentzVector(p4), reco::Candidate::Point(), leg.id, 2, true);
    }
    for (std::size_t i = 1; i < particles->size(); ++i)
      (*particles)[i].addMother(reco::GenParticleRef(particles.get(), 0));
    return particles;
  }

  std::unique_ptr<edm::HepMCProduct> hepMC(const std::vector<Leg>& legs) {
    auto* event = new HepMC::GenEvent();
    auto* vertex = new HepMC::GenVertex();
    vertex->add_particle_in(new HepMC::GenParticle(HepMC::FourVector(0, 0, 0, 125), 25, 62));
    for (const Leg& leg : legs) {
      const double px = leg.pt * std::cos(leg.phi), py = leg.pt * std::sin(leg.phi), pz = leg.pt * std::sinh(leg.eta);
      vertex->add_particle_out(
          new HepMC::GenParticle(HepMC::FourVector(px, py, pz, leg.pt * std::cosh(leg.eta)), leg.id, 2));
    }
    event->add_vertex(vertex);
    auto product = std::make_unique<edm::HepMCProduct>();
    product->addHepMCData(event);
    return product;
  }

  const std::vector<Leg> kGood{{15, 30, 2, 0}, {-15, 25, -2, 3}};
  const std::vector<std::vector<Leg>> kBad{
      {{15, 30, 2, 0}, {-15, 19, -2, 3}}, {{15, 30, -2.5, 0}, {-15, 25, 0, 3}}, {{15, 30, 0, 0}}, {}};

  void goesThroughAJobWithoutEvents(const std::string& module) {
    const TestProcessor::Config config(configuration(module));
    REQUIRE_NOTHROW(TestProcessor(config));
    REQUIRE_NOTHROW(TestProcessor(config).testBeginAndEndJobOnly());
    REQUIRE_NOTHROW(TestProcessor(config).testRunWithNoLuminosityBlocks());
    REQUIRE_NOTHROW(TestProcessor(config).testLuminosityBlockWithNoEvents());
  }

  void isRefused(const std::string& module) {
    REQUIRE_THROWS_AS(TestProcessor(TestProcessor::Config(configuration(module))), cms::Exception);
  }

}  // namespace

TEST_CASE("GenDecayFilter", "[NanoForge]") {
  SECTION("no events") { goesThroughAJobWithoutEvents(kGenDecay + ")"); }

  SECTION("genParticles") {
    TestProcessor::Config config(configuration(kGenDecay + ")"));
    const auto token = config.produces<reco::GenParticleCollection>("genParticles");
    TestProcessor tester(config);
    REQUIRE(tester.test(std::make_pair(token, genParticles(kGood))).modulePassed());
    for (const auto& legs : kBad)
      REQUIRE_FALSE(tester.test(std::make_pair(token, genParticles(legs))).modulePassed());
  }

  SECTION("HepMC") {
    TestProcessor::Config config(
        configuration(kGenDecay + ", format = cms.string('HepMC'), src = cms.InputTag('generator', 'unsmeared'))"));
    const auto token = config.produces<edm::HepMCProduct>("generator", "unsmeared");
    TestProcessor tester(config);
    REQUIRE(tester.test(std::make_pair(token, hepMC(kGood))).modulePassed());
    for (const auto& legs : kBad)
      REQUIRE_FALSE(tester.test(std::make_pair(token, hepMC(legs))).modulePassed());
  }

  SECTION("no product") {
    TestProcessor tester(TestProcessor::Config(configuration(kGenDecay + ")")));
    REQUIRE_THROWS_AS(tester.test(), cms::Exception);
  }

  SECTION("mistakes") {
    isRefused("cms.EDFilter('GenDecayFilter')");
    isRefused(kGenDecay + ", count = cms.uint32(0))");
    isRefused(kGenDecay + ", deltaR = cms.vdouble(1))");
    isRefused(kGenDecay + ", mass = cms.vdouble(2, 1))");
    isRefused(kGenDecay + ", format = cms.string('LHE'))");
    isRefused(kGenDecay + ", maxEta = cms.double(2))");
  }
}

TEST_CASE("EventSkimFilter", "[NanoForge]") {
  const std::string module =
      "cms.EDFilter('EventSkimFilter', cuts = cms.VPSet("
      "cms.PSet(name = cms.string('taus'), src = cms.InputTag('objects'), cut = cms.string('abs(pdgId) == 15 && pt > "
      "20'), min = cms.uint32(2)),"
      "cms.PSet(name = cms.string('higgs'), src = cms.InputTag('objects'), cut = cms.string('pdgId == 25'))),";

  SECTION("no events") { goesThroughAJobWithoutEvents(module + "groups = cms.VPSet())"); }

  SECTION("all cuts, and one of them") {
    const std::string none = "groups = cms.VPSet())";
    const std::string one =
        "groups = cms.VPSet(cms.PSet(name = cms.string('one'), any = cms.bool(True), cuts = cms.vstring('taus', "
        "'higgs'))))";
    for (const std::string& groups : {none, one}) {
      TestProcessor::Config config(configuration(module + groups));
      const auto token = config.produces<reco::GenParticleCollection>("objects");
      TestProcessor tester(config);
      REQUIRE(tester.test(std::make_pair(token, genParticles(kGood))).modulePassed());
      REQUIRE(tester.test(std::make_pair(token, genParticles({{15, 30, 0, 0}}))).modulePassed() == (groups == one));
      const auto section = tester.testEndLuminosityBlock();
      const auto counts = section.get<GenFilterInfo>();
      REQUIRE(counts->numEventsTotal() == 2);
      REQUIRE(counts->numEventsPassed() == (groups == one ? 2 : 1));
    }
  }

  SECTION("mistakes") {
    isRefused(module + "groups = cms.VPSet(cms.PSet(name = cms.string('g'), cuts = cms.vstring('muons'))))");
  }
}

TEST_CASE("SimAcceptanceFilter", "[NanoForge]") {
  const std::string module =
      "cms.EDFilter('SimAcceptanceFilter', mother = cms.int32(36), daughters = cms.vint32(11, 11)";
  SECTION("no events") { goesThroughAJobWithoutEvents(module + ", minEcalEnergy = cms.double(1))"); }
  SECTION("mistakes") { isRefused(module + ")"); }
}

TEST_CASE("OnnxScoreTableProducer", "[NanoForge]") {
  isRefused(
      "cms.EDProducer('OnnxScoreTableProducer', model = cms.FileInPath('PhysicsTools/NanoForge/data/missing.onnx'), "
      "name = cms.string('a'), outputs = cms.vstring('b'), tables = cms.VInputTag(), inputs = cms.VPSet())");
}

TEST_CASE("Pythia8PtMassGun", "[NanoForge]") {
  const std::string module =
      "cms.EDFilter('Pythia8PtMassGun', maxEventsToPrint = cms.untracked.int32(0), "
      "pythiaPylistVerbosity = cms.untracked.int32(0), pythiaHepMCVerbosity = cms.untracked.bool(False), "
      "PythiaParameters = cms.PSet(settings = cms.vstring('36:oneChannel = 1 1.0 101 11 -11'), "
      "parameterSets = cms.vstring('settings')), PGunParameters = cms.PSet(ParticleID = cms.vint32(36), "
      "MinPt = cms.double(20), MaxPt = cms.double(40), MinEta = cms.double(-2), MaxEta = cms.double(2), "
      "MinPhi = cms.double(-3), MaxPhi = cms.double(3), MinMass = cms.double(0.5), MaxMass = cms.double(1.5), "
      "AddAntiParticle = cms.bool(True)))\n"
      "process.RandomNumberGeneratorService = cms.Service('RandomNumberGeneratorService', "
      "toTest = cms.PSet(initialSeed = cms.untracked.uint32(7), engineName = cms.untracked.string('MixMaxRng')))";

  std::vector<std::vector<double>> runs;
  for (int run = 0; run < 2; ++run) {
    TestProcessor tester(TestProcessor::Config(configuration(module)));
    std::vector<double> masses;
    for (int i = 0; i < 20; ++i) {
      const auto event = tester.test();
      REQUIRE(event.modulePassed());
      const HepMC::GenEvent* record = event.get<edm::HepMCProduct>("unsmeared")->GetEvent();
      double px = 0, pz = 0;
      for (auto it = record->particles_begin(); it != record->particles_end(); ++it) {
        if ((*it)->pdg_id() != 36)
          continue;
        const auto& p4 = (*it)->momentum();
        REQUIRE(p4.perp() > 19.99);
        REQUIRE(p4.perp() < 40.01);
        REQUIRE(p4.m() > 0.49);
        REQUIRE(p4.m() < 1.51);
        masses.push_back(p4.m());
        px += p4.px();
        pz += p4.pz();
      }
      REQUIRE(std::abs(px) < 1e-6);
      REQUIRE(std::abs(pz) < 1e-6);
    }
    REQUIRE(masses.size() == 40);
    runs.push_back(masses);
  }
  REQUIRE(runs[0] == runs[1]);  // the seed decides
  REQUIRE(runs[0].front() != runs[0].back());
}

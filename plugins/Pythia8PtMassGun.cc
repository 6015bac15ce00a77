/** \class Pythia8PtMassGun
 *
 * Shoots particles flat in pt, eta, phi and mass, with their antiparticles if wanted, and lets Pythia decay them. With
 * a Flatten map the events that pass the filters behind it are flat in mass and pt. All random numbers come from the
 * RandomNumberGeneratorService.
 */

#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "FWCore/Framework/interface/MakerMacros.h"
#include "FWCore/ParameterSet/interface/ParameterSet.h"
#include "FWCore/Utilities/interface/EDMException.h"
#include "GeneratorInterface/Core/interface/GeneratorFilter.h"
#include "GeneratorInterface/ExternalDecays/interface/ExternalDecayDriver.h"
#include "GeneratorInterface/Pythia8Interface/interface/Py8GunBase.h"

#include "FilterModule.h"
#include "PtMassGun.h"

namespace gen {

  class Py8PtMassGun : public Py8GunBase {
  public:
    explicit Py8PtMassGun(const edm::ParameterSet& config);
    ~Py8PtMassGun() override = default;

    bool generatePartonsAndHadronize() override;
    const char* classname() const override { return "Py8PtMassGun"; }

  private:
    void flatten(const edm::ParameterSet& map);
    void append(int pdgId, const nanoforge::GunShot& shot);

    nanoforge::GunRanges ranges_;
    bool addAntiParticle_;
    std::unique_ptr<nanoforge::Flattening> flattening_;
  };

  Py8PtMassGun::Py8PtMassGun(const edm::ParameterSet& config) : Py8GunBase(config) {
    const auto gun = config.getParameter<edm::ParameterSet>("PGunParameters");
    const auto range = [&gun](const std::string& what) {
      const nanoforge::Interval found(gun.getParameter<double>("Min" + what), gun.getParameter<double>("Max" + what));
      if (found.first > found.second)
        throw edm::Exception(edm::errors::Configuration) << "Min" << what << " is above Max" << what;
      return found;
    };
    ranges_ = {range("Pt"), range("Eta"), range("Phi"), range("Mass")};
    if (ranges_.pt.first < 0 || ranges_.mass.first < 0)
      throw edm::Exception(edm::errors::Configuration) << "MinPt and MinMass cannot be negative";
    addAntiParticle_ = gun.getParameter<bool>("AddAntiParticle");
    for (int pdgId : fPartIDs)
      if (std::abs(pdgId) <= 6 || pdgId == 21)
        throw edm::Exception(edm::errors::Configuration)
            << "ParticleID " << pdgId << ": quarks and gluons have no mass to be chosen; use Pythia8PtGun";
    if (gun.exists("Flatten"))
      flatten(gun.getParameter<edm::ParameterSet>("Flatten"));
  }

  /// Read the map by which the first particle is drawn.
  void Py8PtMassGun::flatten(const edm::ParameterSet& map) {
    flattening_ = nanoforge::configured("Pythia8PtMassGun", [&map] {
      return std::make_unique<nanoforge::Flattening>(map.getParameter<std::vector<double>>("MassEdges"),
                                                     map.getParameter<std::vector<double>>("PtEdges"),
                                                     map.getParameter<std::vector<double>>("Acceptance"));
    });
    if (flattening_->massRange() != ranges_.mass || flattening_->ptRange() != ranges_.pt)
      throw edm::Exception(edm::errors::Configuration)
          << "MassEdges and PtEdges must begin and end where MinMass, MaxMass, MinPt and MaxPt say";
  }

  bool Py8PtMassGun::generatePartonsAndHadronize() {
    fMasterGen->event.reset();
    const auto flat = [this]() { return randomEngine().flat(); };
    for (std::size_t i = 0; i < fPartIDs.size(); ++i) {
      const auto shot = nanoforge::shoot(ranges_, i == 0 ? flattening_.get() : nullptr, flat);
      append(fPartIDs[i], shot);
      if (addAntiParticle_)
        append(fMasterGen->particleData.isParticle(-fPartIDs[i]) ? -fPartIDs[i] : fPartIDs[i], shot.opposite());
    }
    if (!fMasterGen->next())
      return false;
    evtGenDecay();
    event() = std::make_unique<HepMC::GenEvent>();
    return toHepMC.fill_next_event(fMasterGen->event, event().get());
  }

  /// Put a particle into Pythia's event, with a lifetime of its own.
  void Py8PtMassGun::append(int pdgId, const nanoforge::GunShot& shot) {
    auto& event = fMasterGen->event;
    auto& particle = event[event.append(pdgId, 1, 0, 0, shot.px(), shot.py(), shot.pz(), shot.energy(), shot.mass)];
    particle.tau(-particle.tau0() * std::log(randomEngine().flat()));
  }

}  // namespace gen

using Pythia8PtMassGun = edm::GeneratorFilter<gen::Py8PtMassGun, gen::ExternalDecayDriver>;
DEFINE_FWK_MODULE(Pythia8PtMassGun);

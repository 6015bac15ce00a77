#ifndef PhysicsTools_NanoForge_FilterModule_h
#define PhysicsTools_NanoForge_FilterModule_h

// What the modules have in common: mistakes in a configuration, and the efficiency of a filter as a product of the
// luminosity section, which merges like those of the generator's filters.

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "FWCore/Framework/interface/Event.h"
#include "FWCore/Utilities/interface/EDGetToken.h"
#include "FWCore/Utilities/interface/EDMException.h"
#include "FWCore/Utilities/interface/Exception.h"
#include "SimDataFormats/GeneratorProducts/interface/GenEventInfoProduct.h"
#include "SimDataFormats/GeneratorProducts/interface/GenFilterInfo.h"

#include "PassCounter.h"

namespace nanoforge {

  /// Return what a function makes of parameters; what it throws becomes an error of the configuration.
  template <typename Make>
  auto configured(const std::string& module, Make&& make) -> decltype(make()) {
    try {
      return std::forward<Make>(make)();
    } catch (const cms::Exception&) {
      throw;
    } catch (const std::exception& error) {
      throw edm::Exception(edm::errors::Configuration) << module << ": " << error.what();
    }
  }

  /// The generator's weight of an event; 1 where no product is named, as for collision data.
  inline double eventWeight(const edm::Event& event, const edm::EDGetTokenT<GenEventInfoProduct>& weights) {
    return weights.isUninitialized() ? 1. : event.get(weights).weight();
  }

  inline std::unique_ptr<GenFilterInfo> filterInfo(const PassCounter& counter) {
    const WeightSums &passed = counter.passed(), &total = counter.total();
    return std::make_unique<GenFilterInfo>(passed.positive,
                                           passed.negative,
                                           total.positive,
                                           total.negative,
                                           passed.weights,
                                           passed.squares,
                                           total.weights,
                                           total.squares);
  }

}  // namespace nanoforge

#endif

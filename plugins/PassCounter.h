#ifndef PhysicsTools_NanoForge_PassCounter_h
#define PhysicsTools_NanoForge_PassCounter_h

// The events of a luminosity section and those that pass a filter, with their weights, without any framework.

#include <atomic>

namespace nanoforge {

  /// Numbers of events by the sign of their weight, sums of weights and of their squares; filled by several threads.
  struct WeightSums {
    std::atomic<unsigned int> positive{0}, negative{0};
    std::atomic<double> weights{0}, squares{0};

    void add(double weight) {
      ++(weight > 0 ? positive : negative);
      add(weights, weight);
      add(squares, weight * weight);
    }

  private:
    static void add(std::atomic<double>& sum, double value) {
      double before = sum;
      while (!sum.compare_exchange_weak(before, before + value)) {
      }
    }
  };

  class PassCounter {
  public:
    void count(bool pass, double weight) const {
      total_.add(weight);
      if (pass)
        passed_.add(weight);
    }

    const WeightSums& total() const { return total_; }
    const WeightSums& passed() const { return passed_; }

  private:
    mutable WeightSums total_, passed_;
  };

}  // namespace nanoforge

#endif

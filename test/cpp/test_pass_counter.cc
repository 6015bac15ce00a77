// Events of a luminosity section, and those that pass.

#include <thread>
#include <vector>

#include "../../plugins/PassCounter.h"
#include "check.h"

namespace {

  void weightsOfBothSignsAreCountedApart() {
    const nanoforge::PassCounter counter;
    counter.count(true, 2);
    counter.count(false, 3);
    counter.count(true, -0.5);
    counter.count(false, -1);
    CHECK(counter.total().positive == 2 && counter.total().negative == 2);
    CHECK(counter.total().weights == 3.5 && counter.total().squares == 14.25);
    CHECK(counter.passed().positive == 1 && counter.passed().negative == 1);
    CHECK(counter.passed().weights == 1.5 && counter.passed().squares == 4.25);
  }

  void threadsLoseNothing() {
    const nanoforge::PassCounter counter;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&counter] {
        for (int event = 0; event < 10000; ++event)
          counter.count(event % 4 == 0, 0.5);
      });
    for (auto& thread : threads)
      thread.join();
    CHECK(counter.total().positive == 40000 && counter.total().weights == 20000);
    CHECK(counter.passed().positive == 10000 && counter.passed().squares == 2500);
  }

}  // namespace

int main() {
  weightsOfBothSignsAreCountedApart();
  threadsLoseNothing();
  return check::failures;
}

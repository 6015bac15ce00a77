#ifndef PhysicsTools_NanoForge_SkimLogic_h
#define PhysicsTools_NanoForge_SkimLogic_h

// Cuts on numbers of objects, and groups of them, without any framework.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nanoforge {

  /// From min to max objects.
  struct CountCut {
    std::string name;
    unsigned int min = 1;
    unsigned int max = std::numeric_limits<unsigned int>::max();

    bool pass(unsigned int number) const { return min <= number && number <= max; }
  };

  /// Cuts by their names, one or all of which have to pass.
  struct CutGroup {
    std::string name;
    bool any = false;
    std::vector<std::string> cuts;
  };

  /// Cuts in groups. An event passes with all groups; cuts that are in no group have to pass, too.
  class SkimLogic {
  public:
    SkimLogic(std::vector<CountCut> cuts, const std::vector<CutGroup>& groups)
        : cuts_(std::move(cuts)), passed_(cuts_.size()) {
      for (std::size_t i = 0; i < cuts_.size(); ++i) {
        if (cuts_[i].min > cuts_[i].max)
          throw std::invalid_argument(cuts_[i].name + ": min is above max");
        if (place(cuts_[i].name) != i)
          throw std::invalid_argument("two cuts are called " + cuts_[i].name);
      }
      std::vector<bool> grouped(cuts_.size());
      for (const CutGroup& group : groups) {
        Group found{group.any, {}};
        for (const std::string& name : group.cuts) {
          const std::size_t i = place(name);
          if (i == cuts_.size())
            throw std::invalid_argument("group " + group.name + ": there is no cut " + name);
          found.cuts.push_back(i);
          grouped[i] = true;
        }
        if (found.cuts.empty())
          throw std::invalid_argument("group " + group.name + " has no cuts");
        groups_.push_back(std::move(found));
      }
      for (std::size_t i = 0; i < cuts_.size(); ++i)
        if (!grouped[i])
          groups_.push_back({false, {i}});
    }

    const std::vector<CountCut>& cuts() const { return cuts_; }

    /// Decide on an event by the number of objects of each cut, and count.
    bool pass(const std::vector<unsigned int>& numbers) const {
      ++seen_;
      std::vector<bool> good(cuts_.size());
      for (std::size_t i = 0; i < cuts_.size(); ++i) {
        good[i] = cuts_[i].pass(numbers.at(i));
        passed_[i] += good[i];
      }
      const auto isGood = [&good](std::size_t i) { return good[i]; };
      const bool all = std::all_of(groups_.begin(), groups_.end(), [&](const Group& group) {
        return group.any ? std::any_of(group.cuts.begin(), group.cuts.end(), isGood)
                         : std::all_of(group.cuts.begin(), group.cuts.end(), isGood);
      });
      kept_ += all;
      return all;
    }

    unsigned long long seen() const { return seen_; }
    unsigned long long kept() const { return kept_; }
    /// Events that pass a cut, whatever the others say.
    unsigned long long passed(std::size_t cut) const { return passed_[cut]; }

  private:
    struct Group {
      bool any;
      std::vector<std::size_t> cuts;
    };

    std::size_t place(const std::string& name) const {
      return std::find_if(cuts_.begin(), cuts_.end(), [&name](const CountCut& cut) { return cut.name == name; }) -
             cuts_.begin();
    }

    std::vector<CountCut> cuts_;
    std::vector<Group> groups_;
    mutable std::atomic<unsigned long long> seen_{0}, kept_{0};
    mutable std::vector<std::atomic<unsigned long long>> passed_;
  };

}  // namespace nanoforge

#endif

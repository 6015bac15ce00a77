#ifndef PhysicsTools_NanoForge_ScoreInputs_h
#define PhysicsTools_NanoForge_ScoreInputs_h

// From the tables of an event to the inputs of a model that `nanoforge export` wrote, without any framework.
//
// A table has the interface of nanoaod::FlatTable. Values are those that the output file will hold, rounding included.

#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nanoforge {

  /// run, luminosityBlock and event.
  struct EventIdentity {
    std::uint64_t run, luminosityBlock, event;
  };

  /// One input of the graph, as model.json describes it.
  struct ScoreInput {
    enum class Kind { event, object, fold };

    std::string name;
    Kind kind = Kind::event;
    /// Of an object's column, e.g. "Jet".
    std::string collection;
  };

  inline ScoreInput::Kind inputKind(const std::string& name) {
    if (name == "event")
      return ScoreInput::Kind::event;
    if (name == "object")
      return ScoreInput::Kind::object;
    if (name == "fold")
      return ScoreInput::Kind::fold;
    throw std::invalid_argument("the kind of an input is event, object or fold, and not " + name);
  }

  /// Names, values and shapes, as cms::Ort::ONNXRuntime::run takes them.
  struct Feed {
    std::vector<std::string> names;
    std::vector<std::vector<float>> values;
    std::vector<std::vector<std::int64_t>> shapes;
  };

  /// One step of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
  inline std::uint64_t mix(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  /// The fold of an event: the model that did not see it in the training (python/dataset/identity.py).
  inline unsigned int foldOf(const EventIdentity& id, std::uint64_t seed, unsigned int folds) {
    std::uint64_t hash = mix(seed);
    for (const std::uint64_t value : {id.run, id.luminosityBlock, id.event})
      hash = mix(hash ^ value);
    return mix(hash ^ 0x464F4C44) % folds;
  }

  /// The branch of a path of edm::TriggerResults, as NanoAOD names it: triggers without their version.
  inline std::string triggerBranch(const std::string& path) {
    const bool isTrigger = path.compare(0, 3, "HLT") == 0 || path.compare(0, 2, "L1") == 0;
    return isTrigger ? path.substr(0, path.rfind("_v")) : path;
  }

  /// Whether NanoAOD makes a branch of this name from edm::TriggerResults, unless a table has it.
  inline bool isTriggerBranch(const std::string& branch) {
    return branch.compare(0, 3, "HLT") == 0 || branch.compare(0, 2, "L1") == 0 || branch.compare(0, 4, "Flag") == 0;
  }

  /// Where a branch is among the tables of an event; the tables of a job have the same columns in every event.
  struct ColumnPlace {
    static constexpr int kNowhere = -1;

    int table = kNowhere, column = kNowhere;
  };

  /// Branches of one event by their names: columns and numbers of rows of tables, and single values from elsewhere.
  template <typename Table>
  class Branches {
  public:
    Branches(std::vector<const Table*> tables, std::map<std::string, float> values)
        : tables_(std::move(tables)), values_(std::move(values)) {}

    /// The number of objects of a collection.
    std::size_t rows(const std::string& collection) const {
      if (const Table* found = table(collection))
        return found->nRows();
      throw std::out_of_range("no table is called " + collection);
    }

    /// The values of a branch. Where it was found is kept, and looked at first in the next event.
    std::vector<float> operator()(const std::string& branch, ColumnPlace& last) const {
      if (!holds(last, branch))
        last = find(branch);
      if (last.table != ColumnPlace::kNowhere)
        return read(*tables_[last.table], last.column);
      const auto value = values_.find(branch);
      if (value != values_.end())
        return {value->second};
      if (!branch.empty() && branch[0] == 'n' && table(branch.substr(1)))
        return {static_cast<float>(rows(branch.substr(1)))};
      throw std::out_of_range("no table has the branch " + branch);
    }

    std::vector<float> operator()(const std::string& branch) const {
      ColumnPlace anywhere;
      return (*this)(branch, anywhere);
    }

  private:
    const Table* table(const std::string& collection) const {
      for (const Table* table : tables_)
        if (table->name() == collection && !table->singleton())
          return table;
      return nullptr;
    }

    ColumnPlace find(const std::string& branch) const {
      for (std::size_t i = 0; i < tables_.size(); ++i) {
        const int column = find(*tables_[i], branch);
        if (column >= 0)
          return {static_cast<int>(i), column};
      }
      return {};
    }

    /// Whether a branch is where it was in another event: one comparison, in place of one for every column.
    bool holds(const ColumnPlace& place, const std::string& branch) const {
      if (place.table < 0 || place.table >= static_cast<int>(tables_.size()))
        return false;
      const Table& table = *tables_[place.table];
      if (place.column >= static_cast<int>(table.nColumns()))
        return false;
      const std::string &name = table.name(), &column = table.columnName(place.column);
      const std::size_t joint = !name.empty() && !column.empty();  // the underscore
      return branch.size() == name.size() + joint + column.size() && branch.compare(0, name.size(), name) == 0 &&
             (!joint || branch[name.size()] == '_') && branch.compare(name.size() + joint, column.size(), column) == 0;
    }

    /// The column of a branch <table>_<column>, or of one that is called like its table or its column alone; else -1.
    static int find(const Table& table, const std::string& branch) {
      const std::string& name = table.name();
      if (name.empty())
        return table.columnIndex(branch);
      if (branch.compare(0, name.size(), name) != 0)
        return -1;
      if (branch.size() == name.size())
        return table.columnIndex("");
      return branch[name.size()] == '_' ? table.columnIndex(branch.substr(name.size() + 1)) : -1;
    }

    static std::vector<float> read(const Table& table, int column) {
      std::vector<float> values(table.nRows());
      for (std::size_t row = 0; row < values.size(); ++row)
        values[row] = table.getAnyValue(row, column);
      return values;
    }

    std::vector<const Table*> tables_;
    std::map<std::string, float> values_;
  };

  class ScoreInputs {
  public:
    /// Where the inputs were in the event before.
    using Columns = std::vector<ColumnPlace>;

    ScoreInputs(std::vector<ScoreInput> inputs, unsigned int folds, std::uint64_t foldSeed)
        : inputs_(std::move(inputs)), folds_(folds), foldSeed_(foldSeed) {
      if (folds_ == 0)
        throw std::invalid_argument("folds has to be 1 or more");
    }

    /// The inputs that NanoAOD takes from edm::TriggerResults, unless a table has them.
    std::vector<std::string> triggerBranches() const {
      std::vector<std::string> found;
      for (const ScoreInput& input : inputs_)
        if (isTriggerBranch(input.name))
          found.push_back(input.name);
      return found;
    }

    /// The inputs of one event: (1,) for values of the event, (1, n) for those of n objects.
    template <typename Table>
    Feed operator()(const Branches<Table>& branches, const EventIdentity& id, Columns& columns) const {
      Feed feed;
      columns.resize(inputs_.size());
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        const ScoreInput& input = inputs_[i];
        const bool isFold = input.kind == ScoreInput::Kind::fold, isObject = input.kind == ScoreInput::Kind::object;
        std::vector<float> values = isFold ? fold(id) : branches(input.name, columns[i]);
        const std::int64_t size = values.size();
        if (values.size() != (isObject ? branches.rows(input.collection) : 1))
          throw std::out_of_range(input.name +
                                  (isObject ? " is no column of " + input.collection : " is no value of the event"));
        feed.names.push_back(input.name);
        feed.shapes.push_back(isObject ? std::vector<std::int64_t>{1, size} : std::vector<std::int64_t>{1});
        feed.values.push_back(std::move(values));
      }
      return feed;
    }

  private:
    std::vector<float> fold(const EventIdentity& id) const {
      return {static_cast<float>(foldOf(id, foldSeed_, folds_))};
    }

    std::vector<ScoreInput> inputs_;
    unsigned int folds_;
    std::uint64_t foldSeed_;
  };

  /// Scores of the rows by output, (C, rows); a row that the selection rejects gets the fill value.
  inline std::vector<std::vector<float>> scoreColumns(const std::vector<float>& scores,
                                                      const std::vector<float>& selected,
                                                      std::size_t outputs,
                                                      float fill) {
    if (scores.size() != selected.size() * outputs)
      throw std::length_error("the model gives another number of scores than the configuration says");
    std::vector<std::vector<float>> columns(outputs, std::vector<float>(selected.size(), fill));
    for (std::size_t row = 0; row < selected.size(); ++row)
      for (std::size_t output = 0; selected[row] != 0 && output < outputs; ++output)
        columns[output][row] = scores[row * outputs + output];
    return columns;
  }

}  // namespace nanoforge

#endif

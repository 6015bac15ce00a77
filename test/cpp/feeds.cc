// feeds < TABLES: writes the inputs of a model for each event, as OnnxScoreTableProducer builds them.
//
// TABLES is words: folds seed, number of inputs (name kind collection, - for none), number of values and events; then
// for each event run, luminosityBlock, event, the values (name value), number of tables; for each table name,
// singleton, rows, number of columns; for each column its name and values. Writes a line for each input: name, shape,
// values (in full).

#include <cmath>
#include <iomanip>
#include <iostream>
#include <limits>

#include "../../plugins/ScoreInputs.h"
#include "tables.h"

namespace {

  template <typename T>
  T next() {
    T value;
    std::cin >> value;
    return value;
  }

  std::string word() {
    const auto found = next<std::string>();
    return found == "-" ? "" : found;
  }

  double number() { return std::strtod(next<std::string>().c_str(), nullptr); }

  FlatTable table() {
    FlatTable found{word(), next<bool>(), next<unsigned int>(), {}};
    found.columns.resize(next<std::size_t>());
    for (auto& [name, values] : found.columns) {
      name = word();
      values.resize(found.size);
      for (double& value : values)
        value = number();
    }
    return found;
  }

  void write(const nanoforge::Feed& feed) {
    for (std::size_t i = 0; i < feed.names.size(); ++i) {
      std::cout << feed.names[i] << ' ' << feed.shapes[i].size();
      for (const auto size : feed.shapes[i])
        std::cout << ' ' << size;
      for (const float value : feed.values[i])
        std::cout << ' ' << value;
      std::cout << '\n';
    }
  }

}  // namespace

int main() {
  const auto folds = next<unsigned int>();
  const auto seed = next<std::uint64_t>();
  std::vector<nanoforge::ScoreInput> inputs(next<std::size_t>());
  for (auto& input : inputs)
    input = {word(), nanoforge::inputKind(word()), word()};
  const nanoforge::ScoreInputs build(inputs, folds, seed);
  nanoforge::ScoreInputs::Columns columns;
  const auto extra = next<std::size_t>(), events = next<std::size_t>();
  std::cout << std::setprecision(std::numeric_limits<float>::max_digits10);
  for (std::size_t event = 0; event < events; ++event) {
    const nanoforge::EventIdentity id{next<std::uint64_t>(), next<std::uint64_t>(), next<std::uint64_t>()};
    std::map<std::string, float> values;
    for (std::size_t i = 0; i < extra; ++i) {
      const std::string name = word();
      values[name] = number();
    }
    std::vector<FlatTable> tables(next<std::size_t>());
    std::vector<const FlatTable*> pointers;
    for (FlatTable& one : tables) {
      one = table();
      pointers.push_back(&one);
    }
    write(build(nanoforge::Branches<FlatTable>(pointers, values), id, columns));
  }
}

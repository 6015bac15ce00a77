#ifndef PhysicsTools_NanoForge_test_tables_h
#define PhysicsTools_NanoForge_test_tables_h

// A table with just those methods of nanoaod::FlatTable that plugins use.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

struct FlatTable {
  std::string title;
  bool single;
  unsigned int size;
  std::vector<std::pair<std::string, std::vector<double>>> columns;

  const std::string& name() const { return title; }
  bool singleton() const { return single; }
  unsigned int nRows() const { return size; }
  unsigned int nColumns() const { return columns.size(); }
  const std::string& columnName(unsigned int column) const { return columns[column].first; }
  double getAnyValue(unsigned int row, unsigned int column) const { return columns[column].second[row]; }
  int columnIndex(const std::string& column) const {
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (columns[i].first == column)
        return i;
    return -1;
  }
};

#endif

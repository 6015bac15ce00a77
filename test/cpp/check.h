#ifndef PhysicsTools_NanoForge_test_check_h
#define PhysicsTools_NanoForge_test_check_h

// Checks of the test programs: all are done, the ones that fail are named, and their number is the exit status.

#include <exception>
#include <iostream>
#include <string>

namespace check {

  inline int failures = 0;

  inline void that(bool good, const std::string& what, int line) {
    if (!good) {
      std::cerr << "line " << line << ": " << what << '\n';
      ++failures;
    }
  }

  /// The message of what a call throws; empty if it throws nothing.
  template <typename Call>
  std::string thrown(Call&& call) {
    try {
      call();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

}  // namespace check

#define CHECK(condition) check::that(condition, #condition, __LINE__)
#define CHECK_THROWS(call, message) \
  check::that(check::thrown([&] { call; }).find(message) != std::string::npos, #call " throws '" message "'", __LINE__)

#endif

// Where test files are: the repository's own, and the shared test data that a checkout may lack.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace sterna {

// A path inside the repository, e.g. source_path("tests/golden/data").
std::filesystem::path source_path(const std::string& relative);

// A path inside the shared test data ($STERNA_TESTDATA, or ../shared/testdata beside the repository); nothing when absent.
// A test without it says so: if (!path) GTEST_SKIP() << "no shared test data";
std::optional<std::filesystem::path> shared_testdata(const std::string& relative);

}  // namespace sterna

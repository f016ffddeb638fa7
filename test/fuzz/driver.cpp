// Calls a target with each file of a corpus, and with variations, which are equal in each run:
//   driver CORPUS [VARIATIONS]
#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

void call(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

std::string vary(std::string bytes, const std::vector<std::string>& corpus,
                 fuzz::Numbers& numbers) {
  for (std::uint64_t changes = 1 + numbers.below(4); changes > 0; --changes) {
    const auto at = [&] { return static_cast<std::size_t>(numbers.below(bytes.size() + 1)); };
    constexpr std::string_view likely(
        "\r\n\0 :;,=\"\\-%&/\x7f\xff\x80"
        "09afx",
        22);
    switch (numbers.below(6)) {
      case 0: bytes.insert(at(), 1, likely[numbers.below(likely.size())]); break;
      case 1: bytes.resize(at()); break;
      case 2:
        if (!bytes.empty()) bytes[at() % bytes.size()] = static_cast<char>(numbers.below(256));
        break;
      case 3: bytes.erase(at(), numbers.below(8)); break;
      case 4: {
        const std::size_t from = at();
        bytes.insert(at(), bytes.substr(from, numbers.below(32)));
        break;
      }
      default: {
        const std::string& other = corpus[numbers.below(corpus.size())];
        bytes = bytes.substr(0, at()) + other.substr(numbers.below(other.size() + 1));
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  const int variations = count > 2 ? std::atoi(arguments[2]) : 100;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[1]))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (corpus.empty()) return 2;
  call("");
  fuzz::Numbers numbers(corpus.size());
  for (const std::string& bytes : corpus) {
    call(bytes);
    for (int i = 0; i < variations; ++i) call(vary(bytes, corpus, numbers));
  }
  std::printf("%zu files, %d variations of each\n", corpus.size(), variations);
}

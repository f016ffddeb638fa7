// Fails a test case after which the main thread has other greenlets and stacks, or the process
// other open descriptors, than before. Included by main.cpp alone, except for leaks_on_purpose().
#pragma once

#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>

namespace support {

struct Holdings {
  long greenlets = 0;
  std::size_t stacks = 0;
  long descriptors = 0;

  // Returns the holdings of the calling thread, and of the process.
  static Holdings now() {
    fiber::getcurrent();  // takes back references from other threads
    long descriptors = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
      ++descriptors;
    return {fiber::detail::greenlet_thread().object_count(),
            fiber::core::thread_state().pool.census().in_use, descriptors};
  }
  bool operator==(const Holdings&) const = default;
};

struct LeakState {
  bool on_purpose = false;
  bool failed = false;
};
inline LeakState& leak_state() {
  static LeakState state;
  return state;
}

// Called in a test case that documents a leak: the case must leak then.
inline void leaks_on_purpose() { leak_state().on_purpose = true; }

// Returns true if a test case has left something behind; for the exit status.
inline bool leaks_found() { return leak_state().failed; }

class LeakListener : public doctest::IReporter {
 public:
  explicit LeakListener(const doctest::ContextOptions&) {}

  void test_case_start(const doctest::TestCaseData& test) override {
    test_ = &test;
    leak_state().on_purpose = false;
    before_ = Holdings::now();
  }
  void test_case_end(const doctest::CurrentTestCaseStats&) override {
    Holdings after = Holdings::now();
    if (leak_state().on_purpose) {
      if (after == before_) fail("was expected to leak and did not");
      return;
    }
    // Threads of the test may still be closing theirs.
    for (int i = 0; i < 200 && !(after == before_); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      after = Holdings::now();
    }
    compare("greenlets", before_.greenlets, after.greenlets);
    compare("stacks in use", static_cast<long>(before_.stacks), static_cast<long>(after.stacks));
    compare("open descriptors", before_.descriptors, after.descriptors);
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  void compare(const char* what, long before, long after) {
    if (before != after)
      fail("leaked: " + std::to_string(before) + " " + what + " before, " + std::to_string(after) +
           " after");
  }
  void fail(const std::string& what) {
    leak_state().failed = true;
    std::cerr << test_->m_file.c_str() << ":" << test_->m_line << ": TEST CASE: " << test_->m_name
              << "\n  " << what << std::endl;
  }

  const doctest::TestCaseData* test_ = nullptr;
  Holdings before_;
};

}  // namespace support

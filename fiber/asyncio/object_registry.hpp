// A loop's record of its futures, kept only in debug mode, for a trace, and in tests.
#pragma once

#include <fiber/asyncio/origin.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <cstdint>
#include <unordered_map>

namespace fiber::asyncio::detail {

class FutureBase;

class ObjectRegistry {
 public:
  struct Record {
    std::uint64_t number = 0;           ///< in the order of creation
    core::Owner<const Origin> created;  ///< in debug mode
    core::Owner<const Origin> cancelled;
  };

  Record& add(FutureBase* future) {
    Record& record = records_[future];
    record = Record();
    record.number = ++last_;
    return record;
  }
  void remove(FutureBase* future) noexcept { records_.erase(future); }
  /// Returns null if the future is not in the record.
  Record* find(const FutureBase* future) noexcept {
    const auto found = records_.find(const_cast<FutureBase*>(future));
    return found != records_.end() ? &found->second : nullptr;
  }
  const std::unordered_map<FutureBase*, Record>& records() const noexcept { return records_; }

 private:
  std::unordered_map<FutureBase*, Record> records_;
  std::uint64_t last_ = 0;
};

}  // namespace fiber::asyncio::detail

#include "works.hpp"

#include <fiber/greenlet.hpp>

#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fiber.hpp>

#include <stdexcept>
#include <vector>

namespace works {
namespace {

// The lower limit: the jump alone.
class RawPair {
 public:
  RawPair() : stack_(64 * 1024) {
    other_ = boost::context::detail::make_fcontext(
        stack_.data() + stack_.size(), stack_.size(), [](boost::context::detail::transfer_t from) {
          for (;;) from = boost::context::detail::jump_fcontext(from.fctx, nullptr);
        });
  }
  void round_trip() { other_ = boost::context::detail::jump_fcontext(other_, nullptr).fctx; }

 private:
  std::vector<char> stack_;
  boost::context::detail::fcontext_t other_;
};

}  // namespace

void add_switches() {
  add("switch one way", "raw Boost.Context", 2'000'000, [](long items) {
    RawPair pair;
    for (long i = 0; i < items; i += 2) pair.round_trip();
    return items;
  });
  add("switch one way", "Boost.Context fiber", 2'000'000, [](long items) {
    bool stop = false;
    boost::context::fiber other([&stop](boost::context::fiber&& from) {
      while (!stop) from = std::move(from).resume();
      return std::move(from);
    });
    for (long i = 0; i < items; i += 2) other = std::move(other).resume();
    stop = true;
    other = std::move(other).resume();
    return items;
  });
  add("switch one way", "fiber", 2'000'000, [](long items) {
    const fiber::greenlet other([] {
      const fiber::greenlet& main = fiber::getcurrent().parent();
      for (;;) main.switch_();
    });
    for (long i = 0; i < items; i += 2) other.switch_();
    return items;
  });
  add("switch one way with an int", "fiber", 2'000'000, [](long items) {
    const fiber::greenlet other([](int first) {
      const fiber::greenlet& main = fiber::getcurrent().parent();
      for (int at = first;;) at = main.switch_(at).as<int>();
    });
    for (long i = 0; i < items; i += 2) other.switch_(static_cast<int>(i));
    return items;
  });
  add("exception through a switch", "fiber", 20'000, [](long items) {
    const fiber::greenlet other([] {
      const fiber::greenlet& main = fiber::getcurrent().parent();
      for (;;) {
        try {
          main.switch_();
        } catch (const std::runtime_error&) {
        }
      }
    });
    other.switch_();
    for (long i = 0; i < items; ++i) other.throw_(std::runtime_error("x"));
    return items;
  });
  add("create, start, finish", "fiber", 200'000, [](long items) {
    for (long i = 0; i < items; ++i) fiber::greenlet([] {}).switch_();
    return items;
  });
  add("create, start, finish", "Boost.Context fiber", 200'000, [](long items) {
    for (long i = 0; i < items; ++i)
      boost::context::fiber([](boost::context::fiber&& from) { return std::move(from); }).resume();
    return items;
  });
  add("kill a suspended greenlet", "fiber", 50'000, [](long items) {
    for (long i = 0; i < items; ++i) {
      const fiber::greenlet victim([] { fiber::getcurrent().parent().switch_(); });
      victim.switch_();
    }
    return items;
  });
}

}  // namespace works

// Readiness of descriptors. The platform tells it (platform/poller.hpp). A descriptor is registered
// in one of four ways:
//  - handles, level-triggered, changed only when the wanted events change;
//  - a Watch, made once, edge-triggered: see watch.hpp;
//  - waits, each for one wake-up: armed once per wait, and safe when the descriptor is closed
//    without notice between two of them. A descriptor may have waits beside any of the others;
//  - steps, in the places of handles: edge-triggered, since a step's system call was made right
//    before and would have blocked. The registration outlives the step for the next one, until an
//    event comes that no step waits for.
//
// Other code may close a descriptor, and the number may be reused for another file, without notice.
// So the kernel, which knows files, is asked whenever a registration is added, and registrations
// have generations, which their events carry. A registration that outlives its number, because a
// duplicate keeps the file open, is found by its first event; see renew() for its removal. For a
// step that relies on a registration of an earlier one the kernel is asked when the loop has slept
// for a moment, or some iterations later: most steps have run by then.
#pragma once

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/descriptor_wait.hpp>
#include <fiber/asyncio/watch.hpp>
#include <fiber/platform/poller.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace fiber::asyncio::detail {

class FIBER_API Selector final : private platform::Wishes {
 public:
  /// Returns true for a descriptor that this library has for itself, as loops do: code that closes
  /// unknown descriptors (closefrom) should leave that descriptor open. From any thread.
  static bool is_own(int fd) noexcept;
  /// Returns the smallest such number that is at least `first`; -1 if there is none.
  static int next_own(int first) noexcept;
  /// Moves a poller's own descriptor from the number `fd` to another number, or gives another own
  /// descriptor up, of which closing() has told. To be called before `fd` becomes another file
  /// (dup2). Returns 0, or an errno if that fails. From any thread.
  static int make_way(int fd) noexcept;
  /// Makes all loops of this process leave the numbers below `first` to the program, as far as the
  /// limit of descriptors allows. From any thread.
  static void leave_below(int first) noexcept;

  Selector();
  Selector(const Selector&) = delete;
  Selector& operator=(const Selector&) = delete;
  ~Selector();
  /// Refuses additions and ignores removals from now on: the loop is being closed.
  void refuse() noexcept { open_ = false; }
  /// Closes all descriptors of the selector; wake() has no effect any more.
  void close() noexcept;

  /// Adds a handle. Level-triggered, as Python's: ready again in each iteration until the cause is
  /// gone. Replaces and cancels an earlier handle for the same event; both handles of a file that
  /// had this number before. Throws ValueError, OSError, RuntimeError for a descriptor that is
  /// watched.
  enum class For : bool { reading, writing };
  void add(int fd, For what, core::Ref<HandleObject> handle);
  /// Cancels the handle; returns false if there was none. Throws RuntimeError for a descriptor that
  /// is watched.
  bool remove(int fd, For what);
  /// Makes the reader of a descriptor of the library's own be called, for the last time, when other
  /// code has closed the descriptor, as far as that is noticed. Ends with the reader.
  void tell_of_loss(int fd) noexcept { interests_[static_cast<std::size_t>(fd)].tells = true; }
  bool has_reader(int fd) const noexcept {
    return fd >= 0 && static_cast<std::size_t>(fd) < interests_.size() &&
           interests_[static_cast<std::size_t>(fd)].reader.handle != nullptr;
  }

  /// Puts a step into the place of a handle, as add() does, until leave(); it is called for the
  /// first time by the next event. Throws as add().
  void add(DescriptorStep& step);
  /// Takes the step out of its place and out of the ready queue, where an entry with its claim
  /// stays.
  void leave(DescriptorStep& step) noexcept;
  /// Notes that the number may stand for another file soon, or already does: at the next addition
  /// the kernel is asked.
  void doubt(int fd) noexcept {
    if (static_cast<std::size_t>(fd) < interests_.size())
      interests_[static_cast<std::size_t>(fd)].trusted = false;
  }
  /// Returns whether ask() has anything to do.
  bool has_questions() const noexcept { return !unasked_.empty(); }
  /// Asks the kernel about the registrations that steps rely on. To be called before the loop
  /// waits for long, or gives way to a foreign one.
  void ask() noexcept;

  /// Adds a watch, which stays in the list of detach_all() until it is forgotten. Throws OSError,
  /// RuntimeError for a descriptor that is watched.
  void watch(Watch& watch, int fd);
  /// Throws RuntimeError if the descriptor is watched, or reserved by another owner than the one
  /// that acts. A watch whose number has been reused for another file is told.
  void refuse_watched(int fd);
  /// Keeps the descriptor's handles for a transport, their owner: add() and remove() refuse all
  /// others. Throws as refuse_watched(), std::bad_alloc.
  void reserve(int fd, const void* owner);
  /// Returns whether this owner still has the reservation, which ends when the number is known to
  /// stand for another file.
  bool is_reserved_by(int fd, const void* owner) const noexcept {
    return fd >= 0 && static_cast<std::size_t>(fd) < interests_.size() &&
           interests_[static_cast<std::size_t>(fd)].owner == owner;
  }
  /// Like is_reserved_by(), but asks the kernel too if the descriptor has a handle.
  bool is_still_reserved_by(int fd, const void* owner) noexcept;
  void end_reservation(int fd) noexcept {
    interests_[static_cast<std::size_t>(fd)].owner = nullptr;
  }
  /// While this object lives the owner acts.
  class Acting {
   public:
    Acting(Selector& selector, const void* owner) noexcept : selector_(selector) {
      selector_.acting_ = owner;
    }
    ~Acting() { selector_.acting_ = nullptr; }
    Acting(const Acting&) = delete;
    Acting& operator=(const Acting&) = delete;

   private:
    Selector& selector_;
  };
  /// Removes the registration, before the descriptor is closed. The watch is still told of the end
  /// of the loop. Returns false if the number has been reused for another file, or is free, and
  /// must not be closed.
  bool unwatch(Watch& watch) noexcept;
  void forget(Watch& watch) noexcept;
  /// Reports the watch readable in the next select, which will not wait.
  void again(Watch& watch) noexcept;
  void detach_all() noexcept;

  /// Wakes the waiter at the next event. Returns 0, or an errno if that is impossible (EPERM:
  /// always ready). Throws std::bad_alloc.
  int wait(DescriptorWait& wait);
  /// Removes the wait before it ends its life, woken or not.
  void leave(DescriptorWait& wait) noexcept;
  /// Returns the highest number of which closing() may have anything to do.
  unsigned highest() const noexcept { return static_cast<unsigned>(interests_.size()); }
  /// Returns true if closing() has anything to do.
  bool must_know_of_closing(int fd) const noexcept {
    if (static_cast<std::size_t>(fd) >= interests_.size()) return false;
    const Interest& its = interests_[static_cast<std::size_t>(fd)];
    return !its.waits.empty() || !its.woken.empty() || its.tells || its.reader.step != nullptr ||
           its.writer.step != nullptr || (its.watch == nullptr && (its.events & Events::edge) != 0);
  }
  /// Wakes the tasks that wait for the descriptor, with EBADF; those that were woken and have not
  /// gone on yet get it, too. To be called before the descriptor is closed.
  void closing(int fd) noexcept;

  /// A buffer that all transports read into before they know the receiver of the data: always warm.
  static constexpr std::size_t kScratchSize = 256 * 1024;  ///< as CPython: at most this per recv
  char* scratch() {
    if (scratch_ == nullptr) [[unlikely]]
      scratch_.reset(new char[kScratchSize]);
    return scratch_.get();
  }

  /// Returns true if nothing waits for a descriptor: a select could only wait.
  bool empty() const noexcept { return watched_ == 0; }
  /// Returns true if a watch is ready without a call of the kernel.
  bool ready() const noexcept { return !again_.empty(); }
  /// Returns a descriptor for foreign main loops: the same one as long as this lives, after
  /// add_timer().
  int fileno() const noexcept { return poller_->fileno(); }

  /// Waits for `timeout` nanoseconds at most (-1: for ever, 0: not at all), and queues handles that
  /// became ready: for each descriptor the reader first.
  void select(LoopObject& loop, std::int64_t timeout);
  /// Ends a select from another thread or a signal handler.
  void wake() noexcept { poller_->wake(); }

  /// For a foreign loop that waits for fileno(). After add_timer(), which throws OSError, and
  /// NotImplementedError where the platform has no such descriptor, select()
  /// always asks the kernel. set_timer() makes the descriptor readable at `when` on the clock of
  /// steady_clock; 0: now, INT64_MAX: only by watched descriptors.
  void add_timer();
  void set_timer(std::int64_t when) noexcept { poller_->set_timer(when); }

 private:
  using Events = platform::Events;
  /// Urgent data is asked for, too: a read stops before it, so that a short read does not mean that
  /// everything was read.
  static constexpr std::uint32_t kWatchEvents =
      Events::in | Events::out | Events::half_closed | Events::urgent | Events::edge;

  void check_open() const;
  /// The place of a reader or a writer: a handle or a step.
  struct Place {
    core::Ref<HandleObject> handle;
    DescriptorStep* step = nullptr;
    bool taken() const noexcept { return handle != nullptr || step != nullptr; }
  };
  struct Interest {
    Place reader;
    Place writer;
    std::uint32_t events = 0;      ///< the events that are reported at present
    std::uint32_t generation = 0;  ///< of its registration
    bool registered = false;       ///< the poller knows it, though it may report nothing any more
    bool counted = false;          ///< in `watched_`: somebody waits
    bool trusted = false;          ///< a step may rely on the registration for a while
    bool tells = false;            ///< the reader is called when the descriptor is lost
    Watch* watch = nullptr;
    const void* owner = nullptr;  ///< the one that may add and remove handles; null: anybody may
    core::List<DescriptorWait> waits;  ///< oldest first
    core::List<DescriptorWait> woken;  ///< their tasks have not gone on yet
    Place& place(bool writing) noexcept { return writing ? writer : reader; }
  };
  Interest& interest(int fd);
  Interest& open_interest(int fd);
  Interest& interest_for_adding(int fd);
  int add_to_poller(int fd, Interest& interest, std::uint32_t events) noexcept;
  int modify_in_poller(int fd, const Interest& interest, std::uint32_t events) noexcept;
  int remove_from_poller(int fd, Interest& interest) noexcept;
  std::uint32_t wanted(int fd) const noexcept override;
  void set_events(Interest& interest, std::uint32_t events) noexcept;
  void count(Interest& interest, bool watched) noexcept;
  static std::uint32_t all_wanted(const Interest& interest) noexcept;
  enum class Ask : std::uint8_t { if_needed, if_changed, always };
  int arm(int fd, Interest& interest, Ask ask = Ask::if_needed) noexcept;
  static void unlist(Interest& interest, DescriptorWait& wait) noexcept;
  static void forget_woken(Interest& interest) noexcept;
  static void wake_waits(Interest& interest, std::uint32_t ready, int error) noexcept;
  void update(int fd, Interest& interest, Ask ask);
  // --- steps ---
  void unlist(Place& place) noexcept;
  void note_asked(Interest& interest) noexcept;
  void drop_asked(Interest& interest) noexcept;
  static void queue(DescriptorStep& step) noexcept;
  void fail(Interest& interest, int error) noexcept;
  static void tell_reader(Interest& interest) noexcept;
  bool narrow(int fd, Interest& interest) noexcept;
  bool is_other_file(int fd, const Interest& interest) noexcept;
  bool is_still_its_file(int fd, Interest& interest) noexcept;
  /// Returns the key that a registration's events carry.
  static std::uint64_t key_of(int fd, std::uint32_t generation) noexcept {
    return std::uint64_t{generation} << 32U | static_cast<std::uint32_t>(fd);
  }
  void forked() noexcept;
  void drop_again(Watch& watch) noexcept;
  void register_all() noexcept;
  void renew() noexcept;
  void revive();
  void wait_failed(int error);
  void close_own() noexcept;

  bool open_ = true;
  std::unique_ptr<platform::Poller> poller_;
  bool has_timer_ = false;
  bool closed_ = false;
  std::size_t watched_ = 0;    ///< descriptors for which somebody waits
  std::size_t reporting_ = 0;  ///< descriptors of which the poller may report events
  std::uint32_t last_generation_ = 0;
  bool forked_ = false;  ///< in a child process, which has none of the registrations
  std::vector<Interest> interests_;
  const void* acting_ = nullptr;  ///< the owner that calls add() or remove()
  /// The watches to report, in the order in which they asked.
  core::List<Watch, Watch::AgainLinks> again_;
  std::vector<platform::Event> events_;
  core::List<DescriptorStep> unasked_;
  int selects_unasked_ = 0;  ///< since the list above was empty
  std::unique_ptr<char[]> scratch_;
  core::List<Watch, Watch::AllLinks> watches_;

  friend class Forking;
  struct AllLinks {
    static core::Links<Selector>& of(Selector& selector) noexcept { return selector.links_; }
  };
  core::Links<Selector> links_;  ///< in the list of all selectors of the process
};

}  // namespace fiber::asyncio::detail

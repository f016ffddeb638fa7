#include <fiber/http/body.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/failure.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <istream>
#include <limits>
#include <mutex>

namespace fiber::http {
namespace {

class PieceSource : public BodySource {
 public:
  explicit PieceSource(std::function<std::string()> next) : next_(std::move(next)) {}

  std::optional<std::uint64_t> size() const override { return std::nullopt; }
  std::size_t read(char* buffer, std::size_t room) override {
    if (taken_ == piece_.size() && !ended_) {
      begun_ = true;
      piece_ = next_();
      taken_ = 0;
      ended_ = piece_.empty();
    }
    const std::size_t size = piece_.copy(buffer, room, taken_);
    taken_ += size;
    return size;
  }
  bool rewind() override { return !begun_; }

 private:
  std::function<std::string()> next_;
  std::string piece_;
  std::size_t taken_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

class StreamSource : public BodySource {
 public:
  explicit StreamSource(std::shared_ptr<std::istream> stream) : stream_(std::move(stream)) {
    if (!*stream_) throw OSError("The stream to send is not open, or is at its end");
    start_ = stream_->tellg();
    if (start_ == std::istream::pos_type(-1) || !stream_->seekg(0, std::ios::end)) {
      stream_->clear();
      start_ = -1;
      return;
    }
    const auto end = stream_->tellg();
    stream_->seekg(start_);
    constexpr auto kLast = std::numeric_limits<std::streamoff>::max();
    if (end == std::istream::pos_type(kLast)) raise_os_error(EISDIR, "The stream to send");
    if (end >= start_ && !hides_size(end)) size_ = static_cast<std::uint64_t>(end - start_);
  }

  std::optional<std::uint64_t> size() const override { return size_; }
  bool blocks() const override { return true; }
  std::size_t read(char* buffer, std::size_t room) override {
    begun_ = true;
    stream_->read(buffer, static_cast<std::streamsize>(room));
    if (stream_->bad()) throw OSError("Reading the stream to send has failed");
    return static_cast<std::size_t>(stream_->gcount());
  }
  bool rewind() override {
    if (!begun_) return true;
    if (start_ == std::istream::pos_type(-1)) return false;
    stream_->clear();
    return static_cast<bool>(stream_->seekg(start_));
  }

 private:
  // Whether there are bytes beyond the end: files of /proc have no size, and devices none.
  bool hides_size(std::istream::pos_type end) {
    if (end != start_) return false;
    const bool hides = stream_->peek() != std::istream::traits_type::eof();
    stream_->clear();
    if (!hides) stream_->seekg(start_);
    return hides;
  }

  std::shared_ptr<std::istream> stream_;
  std::istream::pos_type start_ = -1;
  std::optional<std::uint64_t> size_;
  bool begun_ = false;
};

// A request that was given up may still be reading on another thread, perhaps forever, while the
// next request sends the same body. So the thread of that request must not wait for the mutex.
class InTurns : public BodySource {
 public:
  explicit InTurns(std::shared_ptr<BodySource> source) : source_(std::move(source)) {}

  std::optional<std::uint64_t> size() const override { return source_->size(); }
  bool blocks() const override { return true; }
  std::size_t read(char* buffer, std::size_t room) override {
    const std::lock_guard lock(mutex_);
    if (rewinds_late_.exchange(false) && !source_->rewind())
      throw Failure{Failure::Kind::unrewindable,
                    "Unable to rewind the request body, which an earlier request has read."};
    return source_->read(buffer, room);
  }
  bool rewind() override {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    rewinds_late_ = !lock;
    return !lock || source_->rewind();
  }

 private:
  std::mutex mutex_;  // for source_
  std::shared_ptr<BodySource> source_;
  std::atomic<bool> rewinds_late_ = false;
};

}  // namespace

BodySource::~BodySource() = default;

namespace detail {

std::shared_ptr<BodySource> source_of(std::function<std::string()> next) {
  return std::make_shared<PieceSource>(std::move(next));
}
std::shared_ptr<BodySource> source_of(std::shared_ptr<std::istream> stream) {
  if (!stream) return nullptr;  // Python: data=None
  return one_at_a_time(std::make_shared<StreamSource>(std::move(stream)));
}
std::shared_ptr<BodySource> one_at_a_time(std::shared_ptr<BodySource> source) {
  return std::make_shared<InTurns>(std::move(source));
}

}  // namespace detail

Body::Body(const Params& form)
    : bytes_(std::make_shared<const std::string>(urlencode(form))),
      form_(form),
      content_type_("application/x-www-form-urlencoded") {}

const std::string& Body::bytes() const noexcept {
  static const std::string none;
  return bytes_ ? *bytes_ : none;
}

}  // namespace fiber::http

#include <fiber/http/downloading.hpp>

#include <fiber/http/backoff.hpp>
#include <fiber/http/charset.hpp>
#include <fiber/http/text.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

namespace fiber::http {
namespace {

using Clock = std::chrono::steady_clock;

std::optional<std::uint64_t> number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_encoded(const Headers& headers) {
  const std::string coding = headers.get("Content-Encoding");
  return !coding.empty() && !equal_ignoring_case(strip(coding), "identity");
}

// Calls the progress function at the intervals that the options ask for.
class Teller {
 public:
  Teller(const DownloadOptions& options, std::uint64_t there) : options_(options) {
    now_.received = now_.resumed_at = there;
  }

  void restarted() { now_.received = now_.resumed_at = 0; }
  void total(std::optional<std::uint64_t> total) { now_.total = total; }
  void tell() const {
    if (options_.progress) options_.progress(now_);
  }
  void received(std::size_t bytes) {
    now_.received += bytes;
    since_ += bytes;
    const auto now = Clock::now();
    const Seconds time = now - then_;
    if (time < options_.progress_interval || time.count() <= 0) return;
    // The weight of earlier bytes falls to a third in three seconds.
    constexpr double memory = 3;
    const double rate = static_cast<double>(since_) / time.count();
    const double weight = std::exp(-time.count() / memory);
    now_.rate = now_.rate == 0 ? rate : now_.rate * weight + rate * (1 - weight);
    since_ = 0;
    then_ = now;
    tell();
  }
  const DownloadProgress& now() const noexcept { return now_; }

 private:
  const DownloadOptions& options_;
  DownloadProgress now_;
  std::uint64_t since_ = 0;  // bytes since `then_`
  Clock::time_point then_ = Clock::now();
};

class Fetch {
 public:
  Fetch(DownloadClient& client, const std::string& url, const DownloadOptions& options)
      : client_(client), url_(url), options_(options), file_(open()) {
    teller_.emplace(options_, file_->size());
    if (file_->info()) teller_->total(file_->info()->total);
  }
  DownloadResult run();

 private:
  enum class Next { body, again, done };

  std::shared_ptr<PartFile> open();
  void wait_after_failure();
  bool ask();
  Next look_at(const DownloadClient::Answer& answer);
  Next look_at_part(const Headers& headers);
  Next look_at_end(const Headers& headers);
  Next look_at_whole(const Headers& headers);
  Next from_the_beginning(const char* why);
  bool take_body();
  void restart(const std::optional<PartFile::Info>& info);
  [[noreturn]] void refuse(Failure::Kind kind, std::string text) {
    client_.refuse({kind, std::move(text), 0, url_});
    std::terminate();  // never reached: refuse() throws
  }
  // Refuses for a reason that no further attempt can change.
  [[noreturn]] void give_up(Failure::Kind kind, std::string text) {
    failures_ = options_.max_retries;
    refuse(kind, std::move(text));
  }
  void check_size(std::uint64_t size) {
    if (options_.max_size && size > *options_.max_size)
      give_up(Failure::Kind::too_large,
              "The file has more bytes than max_size=" + std::to_string(*options_.max_size));
  }

  DownloadClient& client_;
  // Copies: the progress function may change the caller's objects, even the function that is
  // running.
  const std::string url_;
  const DownloadOptions options_;
  // Shared: a cancelled step may still use the file on another thread.
  const std::shared_ptr<PartFile> file_;
  std::optional<Teller> teller_;
  std::optional<std::uint64_t> end_;  // the size of the file at the end of the current body
  std::uint64_t counted_at_ = 0;      // size of the file at the last failure
  int failures_ = 0;                  // in a row
  int restarts_ = 0;
  int requests_ = 0;
  bool may_change_ = false;  // the answer has a status that may change, such as 503
};

// Bytes that make an attempt count as progress.
constexpr std::uint64_t progress = 64 * 1024;

std::shared_ptr<PartFile> Fetch::open() {
  const auto place = std::make_shared<std::shared_ptr<PartFile>>();
  const std::string name = options_.name.empty() ? file_name_of(url_) : options_.name;
  client_.on_disk(
      [place, name, url = url_, directory = options_.directory, resume = options_.resume] {
        auto file = std::make_shared<PartFile>(directory, name, resume);
        if (file->info() && file->info()->url != url) file->restart(std::nullopt);
        *place = std::move(file);
      });
  return *place;
}

DownloadResult Fetch::run() {
  teller_->tell();
  counted_at_ = file_->size();
  for (;;) {
    bool failed = false;
    try {
      if (ask()) break;
    } catch (...) {
      client_.close();
      // After a cancelled step, the file belongs to the thread that still works on it.
      if (!std::exchange(may_change_, false) && !client_.may_be_mended()) throw;
      if (file_->size() >= counted_at_ + progress) failures_ = 0;
      if (failures_ >= options_.max_retries) throw;
      counted_at_ = file_->size();
      failed = true;
    }
    // Outside of the handler: code that handles an exception must not wait.
    if (failed) wait_after_failure();
  }
  DownloadResult result{file_->path(), file_->size(), teller_->now().resumed_at, requests_};
  client_.on_disk([file = file_, overwrite = options_.overwrite] { file->finish(overwrite); });
  teller_->total(result.size);
  teller_->tell();
  return result;
}

void Fetch::wait_after_failure() {
  constexpr Seconds longest = std::chrono::seconds(30);
  client_.pause(backoff_time(options_.retry_delay, failures_++, longest, options_.retry_jitter));
}

// Sends a request and reads its answer. Returns true if the file is complete.
bool Fetch::ask() {
  Headers fields{{"Accept-Encoding", "identity"}};
  if (file_->size() > 0 && !file_->info()) restart(std::nullopt);
  if (file_->size() > 0) {
    fields.set("Range", "bytes=" + std::to_string(file_->size()) + "-");
    fields.set("If-Range", file_->info()->validator);
  }
  ++requests_;
  const DownloadClient::Answer answer = client_.open(fields);
  switch (look_at(answer)) {
    case Next::done: client_.close(); return true;
    case Next::again: client_.close(); return false;
    case Next::body: break;
  }
  return take_body();
}

Fetch::Next Fetch::look_at(const DownloadClient::Answer& answer) {
  const bool asked_for_part = file_->size() > 0;
  switch (answer.status) {
    case 200:
    case 203: return look_at_whole(answer.headers);
    case 206:
      if (asked_for_part) return look_at_part(answer.headers);
      give_up(Failure::Kind::payload, "A part of the file, which was asked for as a whole");
    case 416:
      if (asked_for_part) return look_at_end(answer.headers);
      break;
    case 500:
    case 502:
    case 503:
    case 504: may_change_ = true; break;
    default: break;
  }
  constexpr int first_error = 400;
  if (answer.status >= first_error) client_.refuse_status();
  give_up(Failure::Kind::payload,
          "The server sent no file, but status " + std::to_string(answer.status));
}

Fetch::Next Fetch::look_at_part(const Headers& headers) {
  const PartFile::Info& info = *file_->info();
  const auto range = parse_content_range(headers.get("Content-Range"));
  if (is_encoded(headers) || !range || range->first != file_->size())
    return from_the_beginning("A part of the file that was not asked for");
  const std::string tag = headers.get("ETag");
  const bool other_tag = info.validator.starts_with('"') && !tag.empty() && tag != info.validator;
  const bool other_size = info.total && range->total && info.total != range->total;
  if (other_tag || other_size) return from_the_beginning("A part of another file");
  end_ = *range->last + 1;
  teller_->total(range->total ? range->total : info.total);
  check_size(teller_->now().total.value_or(*end_));
  return Next::body;
}

// Handles 416: no bytes follow the part that we have.
Fetch::Next Fetch::look_at_end(const Headers& headers) {
  const auto range = parse_content_range(headers.get("Content-Range"));
  const auto& total = file_->info()->total;
  const bool complete =
      range && range->total == file_->size() && (!total || *total == file_->size());
  if (!complete) return from_the_beginning("The server has no such part of the file");
  check_size(file_->size());
  return Next::done;
}

Fetch::Next Fetch::look_at_whole(const Headers& headers) {
  const bool encoded = is_encoded(headers);
  end_ = encoded ? std::nullopt : number(headers.get("Content-Length"));
  check_size(end_.value_or(0));
  const std::string validator = encoded ? "" : validator_of(headers);
  std::optional<PartFile::Info> info;
  if (!validator.empty()) info = PartFile::Info{url_, validator, end_};
  restart(info);
  teller_->total(end_);
  return Next::body;
}

Fetch::Next Fetch::from_the_beginning(const char* why) {
  if (++restarts_ > 2) give_up(Failure::Kind::payload, why);
  restart(std::nullopt);
  return Next::again;
}

void Fetch::restart(const std::optional<PartFile::Info>& info) {
  client_.on_disk([file = file_, info] { file->restart(info); });
  teller_->restarted();
}

bool Fetch::take_body() {
  const std::uint64_t begin = file_->size();
  for (;;) {
    const auto piece = std::make_shared<const std::string>(client_.next());
    if (piece->empty()) break;
    const std::uint64_t size = file_->size() + piece->size();
    check_size(size);
    if (end_ && size > *end_)
      refuse(Failure::Kind::payload, "The server sent more bytes than it announced");
    client_.on_disk([file = file_, piece] { file->write(*piece); });
    teller_->received(piece->size());
  }
  const std::uint64_t size = file_->size();
  if (end_ && size < *end_)
    refuse(Failure::Kind::payload, "The server sent fewer bytes than it announced");
  if (const auto total = teller_->now().total; total && size < *total) {
    if (size < begin + progress) refuse(Failure::Kind::payload, "The server sent too small a part");
    return false;
  }
  return true;
}

// Replaces characters that have a meaning in a path, or on a terminal.
std::string harmless(std::string name) {
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || c == '/' || c == '\\') c = '_';
  }
  if (name.starts_with('.')) name.front() = '_';
  return name;
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view field) {
  constexpr std::string_view unit = "bytes ";
  if (!equal_ignoring_case(field.substr(0, unit.size()), unit)) return std::nullopt;
  field.remove_prefix(unit.size());
  const auto slash = field.find('/');
  if (slash == field.npos) return std::nullopt;
  ContentRange range;
  const std::string_view place = field.substr(0, slash), total = field.substr(slash + 1);
  if (total != "*" && !(range.total = number(total))) return std::nullopt;
  if (place == "*") return range.total ? std::optional(range) : std::nullopt;
  const auto dash = std::min(place.find('-'), place.size());
  range.first = number(place.substr(0, dash));
  range.last = number(place.substr(std::min(dash + 1, place.size())));
  if (!range.first || !range.last || *range.last < *range.first ||
      *range.last == std::numeric_limits<std::uint64_t>::max() ||
      (range.total && *range.last >= *range.total))
    return std::nullopt;
  return range;
}

std::string validator_of(const Headers& headers) {
  if (equal_ignoring_case(strip(headers.get("Accept-Ranges")), "none")) return "";
  std::string tag = headers.get("ETag");
  if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"') return tag;
  // A file that changed in the second of the answer may change again within that second.
  const std::string date = headers.get("Last-Modified");
  return date == headers.get("Date") ? "" : date;
}

std::string file_name_of(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  if (const auto mark = url.find("://"); mark != url.npos) {
    url.remove_prefix(mark + 3);
    url.remove_prefix(std::min(url.find('/'), url.size()));
  }
  const auto slash = url.rfind('/');
  const std::string bytes = unquote_to_bytes(slash == url.npos ? url : url.substr(slash + 1));
  std::string name = harmless(decode(bytes, "utf-8"));
  constexpr std::size_t longest = 200;
  return name.empty() || name == "_" ? "download" : shortened(name, longest);
}

DownloadResult fetch_file(DownloadClient& client, const std::string& url,
                          const DownloadOptions& options) {
  if (!(options.retry_jitter >= 0)) throw ValueError("retry_jitter must not be negative");
  return Fetch(client, url, options).run();
}

}  // namespace fiber::http

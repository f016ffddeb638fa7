#include <fiber/http/form.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/random.hpp>

#include <algorithm>
#include <utility>

namespace fiber::http {
namespace {

class Chain : public BodySource {
 public:
  explicit Chain(std::vector<Body> parts) : parts_(std::move(parts)) {
    std::uint64_t sum = 0;
    for (const Body& part : parts_) {
      const auto size = size_of(part);
      if (!size) return;
      sum += *size;
    }
    size_ = sum;
  }

  std::optional<std::uint64_t> size() const override { return size_; }

  std::size_t read(char* buffer, std::size_t room) override {
    while (at_ < parts_.size()) {
      const Body& part = parts_[at_];
      const auto size = size_of(part);
      std::size_t given = room;
      if (size) given = static_cast<std::size_t>(std::min<std::uint64_t>(room, *size - taken_));
      if (given > 0)
        given = part.source() ? part.source()->read(buffer, given)
                              : part.bytes().copy(buffer, given, static_cast<std::size_t>(taken_));
      if (given > 0) {
        taken_ += given;
        return given;
      }
      if (size && taken_ < *size)
        throw OSError("A file to be sent ended after " + std::to_string(taken_) + " of " +
                      std::to_string(*size) + " bytes");
      ++at_;
      taken_ = 0;
    }
    return 0;
  }

  bool blocks() const override {
    return std::all_of(parts_.begin(), parts_.end(),
                       [](const Body& part) { return !part.source() || part.source()->blocks(); });
  }

  bool rewind() override {
    at_ = 0;
    taken_ = 0;
    return std::all_of(parts_.begin(), parts_.end(),
                       [](const Body& part) { return !part.source() || part.source()->rewind(); });
  }

 private:
  static std::optional<std::uint64_t> size_of(const Body& part) {
    if (part.source()) return part.source()->size();
    return part.bytes().size();
  }

  std::vector<Body> parts_;
  std::optional<std::uint64_t> size_;
  std::size_t at_ = 0;
  std::uint64_t taken_ = 0;  // bytes taken from this part
};

}  // namespace

MultipartWriter::MultipartWriter() : boundary_(random_hex(16)) {}

void MultipartWriter::add(std::string_view head, Body content) {
  text_.append("--").append(boundary_).append("\r\n").append(head).append("\r\n");
  if (content.source()) {
    parts_.emplace_back(std::exchange(text_, {}));
    parts_.push_back(std::move(content));
  } else {
    text_ += content.bytes();
  }
  text_ += "\r\n";
}

Body MultipartWriter::finish(const std::string& type) {
  text_.append("--").append(boundary_).append("--\r\n");
  const std::string content_type = type + "; boundary=" + boundary_;
  if (parts_.empty()) return Body(std::move(text_), content_type);
  parts_.emplace_back(std::move(text_));
  std::shared_ptr<BodySource> chain = std::make_shared<Chain>(std::move(parts_));
  // A chain that does not block is read on one thread, where a part of it may await.
  if (chain->blocks()) chain = detail::one_at_a_time(std::move(chain));
  return Body(std::move(chain), content_type);
}

std::string quoted_parameter(std::string_view name, std::string_view value) {
  std::string text(name);
  text += "=\"";
  for (const char c : value) {
    if (c == '\0')
      throw Failure{Failure::Kind::invalid_header,
                    "embedded null byte in the " + std::string(name) + " of a part"};
    if (c == '\n')
      text += "%0A";
    else if (c == '\r')
      text += "%0D";
    else if (c == '"')
      text += "%22";
    else
      text += c;
  }
  return text += '"';
}

}  // namespace fiber::http

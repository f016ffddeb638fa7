// Bodies of several parts, with the boundary "b": the parts do not depend on how the bytes arrive.
#include <fiber/aiohttp/multipart.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/exceptions.hpp>

#include "fuzz/fuzz.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace web = fiber::aiohttp::web;
using fiber::asyncio::await;

namespace {

class Source final : public web::detail::ByteSource {
 public:
  Source(std::string_view data, fuzz::Arrival arrival) : parts_(fuzz::split(data, arrival)) {}
  std::string next() override {
    return next_ < parts_.size() ? std::string(parts_[next_++]) : std::string();
  }
  bool ended() const noexcept override { return next_ == parts_.size(); }

 private:
  std::vector<std::string_view> parts_;
  std::size_t next_ = 0;
};

std::string tell(std::string_view data, fuzz::Arrival arrival) {
  Source source(data, arrival);
  const web::MultipartReader reader("multipart/form-data; boundary=b",
                                    std::make_shared<web::detail::ByteReader>(source));
  std::string told;
  try {
    for (int count = 0; auto part = await(reader.next()); ++count) {
      for (const auto& [name, value] : part->headers) {
        fuzz::require(fuzz::is_one_line(name) && value.find('\n') == value.npos,
                      "a line break in a field");
        told += name + ": " + value + "\n";
      }
      told += "(" + part->name + "|" + part->filename + "|" + part->content_type() + ")";
      std::string body;
      if (count % 3 == 0) body = await(part->read());
      if (count % 3 == 1)
        for (std::string line = await(part->readline()); !line.empty();
             line = await(part->readline()))
          body += line;
      if (count % 3 == 2)
        for (std::string piece = await(part->read_chunk(3)); !piece.empty();
             piece = await(part->read_chunk(3)))
          body += piece;
      told += "[" + body + "]\n";
    }
    return told + "end";
  } catch (const web::RequestPayloadError&) {
    return told + "RequestPayloadError";
  } catch (const fiber::ValueError&) {
    return told + "ValueError";
  }
}

void multipart(std::string_view data) {
  const std::string whole = tell(data, fuzz::Arrival::whole);
  fuzz::require_same(whole, tell(data, fuzz::Arrival::bytes), "parts by bytes");
  fuzz::require_same(whole, tell(data, fuzz::Arrival::pieces), "parts by pieces");
}

}  // namespace

FUZZ_TARGET(multipart)

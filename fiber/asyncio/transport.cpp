#include <fiber/asyncio/transport.hpp>

namespace fiber::asyncio {

namespace detail {

std::string joined(std::initializer_list<std::string_view> pieces) {
  std::size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  std::string all;
  all.reserve(size);
  for (const std::string_view piece : pieces) all += piece;
  return all;
}

}  // namespace detail

BaseTransport::BaseTransport(detail::AnyTransport& object) noexcept : object_(&object) {
  object_->keep();
}
BaseTransport::BaseTransport(const BaseTransport& other) noexcept : object_(other.object_) {
  if (object_ != nullptr) object_->keep();
}
// NOLINTNEXTLINE(bugprone-unhandled-self-assignment): keeps before it lets go
BaseTransport& BaseTransport::operator=(const BaseTransport& other) noexcept {
  if (other.object_ != nullptr) other.object_->keep();
  if (detail::AnyTransport* before = std::exchange(object_, other.object_)) before->let_go();
  return *this;
}
BaseTransport::~BaseTransport() {
  if (object_ != nullptr) object_->let_go();
}

void BaseTransport::set_protocol(std::shared_ptr<BaseProtocol> protocol) const {
  if (protocol == nullptr) throw TypeError("set_protocol() needs a protocol, not null");
  object().set_protocol(std::move(protocol));
}

void BaseTransport::refuse_null() {
  throw ValueError("this transport refers to nothing: it was default-constructed");
}
void BaseTransport::refuse_other() {
  throw NotImplementedError("this transport carries no stream of bytes");
}
void BaseTransport::refuse_direction(const char* what) {
  throw NotImplementedError(std::string("the pipe of this transport is ") + what);
}

}  // namespace fiber::asyncio

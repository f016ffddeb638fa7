// Makes the TLS layers of connections: asyncio knows a context as a LayerMaker.
#include <fiber/asyncio/transports.hpp>
#include <fiber/ssl/extra_info.hpp>
#include <fiber/ssl/sslproto.hpp>

#include <utility>

namespace fiber::ssl::detail {
namespace {

std::shared_ptr<SslObject> new_object(std::shared_ptr<ContextObject> context,
                                      const asyncio::detail::LayerArguments& arguments) {
  return std::make_shared<SslObject>(std::move(context), std::make_shared<Bytes>(),
                                     std::make_shared<Bytes>(), arguments.server_side,
                                     arguments.server_side ? "" : arguments.server_hostname);
}

struct Resuming final : asyncio::detail::LayerMaker {
  Resuming(std::shared_ptr<ContextObject> its_context, std::shared_ptr<SessionObject> its_session)
      : context(std::move(its_context)), session(std::move(its_session)) {}
  core::Owner<asyncio::detail::TransportLayer> make_layer(
      const asyncio::detail::LayerArguments& arguments) override {
    std::shared_ptr<SslObject> object = new_object(context, arguments);
    set_session(*object, *session);
    return core::make_owner<SslLayer>(std::move(object), arguments);
  }
  std::shared_ptr<ContextObject> context;
  std::shared_ptr<SessionObject> session;
};

}  // namespace

core::Owner<asyncio::detail::TransportLayer> ContextObject::make_layer(
    const asyncio::detail::LayerArguments& arguments) {
  return core::make_owner<SslLayer>(new_object(shared_from_this(), arguments), arguments);
}

std::optional<SSLObject> object_of(const asyncio::detail::TransportObject& transport) {
  const auto* layer = dynamic_cast<const SslLayer*>(transport.layer());
  if (layer == nullptr || layer->object() == nullptr) return std::nullopt;
  return SSLObject(layer->object());
}

std::optional<SSLContext> context_of(const asyncio::ssl_argument& argument) {
  if (!argument.is_context()) return std::nullopt;
  auto* object = dynamic_cast<ContextObject*>(&argument.maker(true));
  if (object == nullptr) return std::nullopt;
  return SSLContext(object->shared_from_this());
}

bool use_as_default() noexcept {
  asyncio::detail::set_default_layer_maker(
      [](bool check_hostname) -> std::shared_ptr<asyncio::detail::LayerMaker> {
        const SSLContext context = create_default_context();
        if (!check_hostname) context.check_hostname(false);
        return context.object();
      });
  return true;
}

}  // namespace fiber::ssl::detail

namespace fiber::ssl {

SSLContext::operator asyncio::ssl_argument() const { return asyncio::ssl_argument(object_); }

asyncio::ssl_argument SSLContext::resuming(const SSLSession& session) const {
  return asyncio::ssl_argument(std::make_shared<detail::Resuming>(object_, session.object()));
}

}  // namespace fiber::ssl

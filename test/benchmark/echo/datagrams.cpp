// The echo of datagrams on the library's datagram endpoint. It prints its port.
#include <fiber/asyncio.hpp>

#include <cstdio>

using namespace fiber;
using asyncio::await;

namespace {

class Echo final : public asyncio::DatagramProtocol {
 public:
  void connection_made(const asyncio::DatagramTransport& transport) override {
    transport_ = transport;
  }
  void datagram_received(std::string_view data, const asyncio::SocketAddress& from) override {
    transport_.sendto(data, from);
  }

 private:
  asyncio::DatagramTransport transport_;
};

}  // namespace

int main() {
  asyncio::run([] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    const asyncio::CreateDatagramEndpointOptions options{.local_addr = std::pair("127.0.0.1", 0)};
    const auto [transport, protocol] =
        await(loop.create_datagram_endpoint([] { return std::make_shared<Echo>(); }, options));
    std::printf("%d\n", transport.sockname().port());
    std::fflush(stdout);
    await(loop.create_future());
  });
}

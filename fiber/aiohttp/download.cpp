#include <fiber/aiohttp/download.hpp>

#include <fiber/aiohttp/exchange.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/downloading.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace fiber::aiohttp {
namespace {

using asyncio::await;

class Client final : public http::DownloadClient {
 public:
  Client(std::shared_ptr<detail::SessionCore> session, const std::string& url,
         RequestOptions options)
      : session_(std::move(session)), url_(url), options_(std::move(options)) {
    if (!options_.timeout)
      options_.timeout = ClientTimeout{.total = {}, .sock_read = std::chrono::minutes(1)};
    options_.raise_for_status = false;
  }

  Answer open(const http::Headers& fields) override {
    RequestOptions options = options_;
    options.headers.update(fields);
    response_ = session_->request("GET", url_, std::move(options));
    return {response_->status, response_->headers};
  }
  std::string next() override { return await(response_->content.readany()); }
  void close() noexcept override {
    if (response_) response_->release();
  }
  [[noreturn]] void refuse_status() override {
    throw ClientResponseError(response_->status, response_->reason, response_->url,
                              response_->headers);
  }
  [[noreturn]] void refuse(http::Failure failure) override { detail::raise(failure); }
  bool may_be_mended() noexcept override {
    if (session_->closed()) return false;
    try {
      throw;
    } catch (const ClientSSLError&) {
      return false;
    } catch (const ClientConnectionError&) {
      return true;
    } catch (const ClientPayloadError&) {
      return true;
    } catch (...) {
      return false;
    }
  }
  void pause(http::Seconds time) override { await(asyncio::sleep(time)); }
  void on_disk(std::function<void()> step) override {
    await(asyncio::get_running_loop().run_in_executor(nullptr, std::move(step)));
  }

 private:
  const std::shared_ptr<detail::SessionCore> session_;
  const std::string& url_;
  RequestOptions options_;
  std::optional<ClientResponse> response_;
};

}  // namespace

asyncio::Coroutine<DownloadResult> download(ClientSession& session, std::string url,
                                            DownloadOptions options, RequestOptions request) {
  return asyncio::Coroutine<DownloadResult>(
      [session = session.core(), url = std::move(url), options = std::move(options),
       request = std::move(request)]() mutable {
        Client client(std::move(session), url, std::move(request));
        return http::fetch_file(client, url, options);
      },
      "download");
}

}  // namespace fiber::aiohttp

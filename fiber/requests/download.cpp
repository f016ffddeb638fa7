#include <fiber/requests/download.hpp>

#include <fiber/http/downloading.hpp>
#include <fiber/requests/stream.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

namespace fiber::requests {
namespace {

class Client final : public http::DownloadClient {
 public:
  Client(Session& session, const std::string& url, Options options)
      : session_(session), url_(url), options_(std::move(options)) {
    if (!options_.timeout.connect && !options_.timeout.read)
      options_.timeout = Timeouts(std::chrono::minutes(1));
    options_.stream = true;
    options_.stream_to = nullptr;
  }

  Answer open(const http::Headers& fields) override {
    Options options = options_;
    options.headers.update(fields);
    response_ = session_.get(url_, std::move(options));
    body_.emplace(response_->iter_content(0));
    begun_ = false;
    return {response_->status_code, response_->headers};
  }
  std::string next() override {
    if (std::exchange(begun_, true))
      ++*at_;
    else
      at_.emplace(body_->begin());
    return *at_ == body_->end() ? std::string() : std::move(**at_);
  }
  void close() noexcept override {
    at_.reset();
    body_.reset();
    if (response_) response_->close();
  }
  [[noreturn]] void refuse_status() override {
    response_->raise_for_status();
    throw HTTPError("The server sent no file", nullptr);
  }
  [[noreturn]] void refuse(http::Failure failure) override { raise(failure); }
  bool may_be_mended() noexcept override {
    try {
      throw;
    } catch (const SSLError&) {
      return false;
    } catch (const ConnectionError&) {
      return true;
    } catch (const Timeout&) {
      return true;
    } catch (const ChunkedEncodingError&) {
      return true;
    } catch (...) {
      return false;
    }
  }
  void pause(http::Seconds time) override { std::this_thread::sleep_for(time); }
  void on_disk(std::function<void()> step) override { step(); }

 private:
  Session& session_;
  const std::string url_;
  Options options_;
  std::optional<Response> response_;
  std::optional<http::Chunks> body_;
  std::optional<http::Chunks::iterator> at_;
  bool begun_ = false;
};

}  // namespace

DownloadResult download(Session& session, const std::string& url, const DownloadOptions& options,
                        Options request) {
  Client client(session, url, std::move(request));
  return http::fetch_file(client, url, options);
}

DownloadResult download(const std::string& url, const DownloadOptions& options, Options request) {
  Session session;
  return download(session, url, options, std::move(request));
}

}  // namespace fiber::requests

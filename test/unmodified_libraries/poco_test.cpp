// Poco, unmodified, against nginx.
#include <Poco/Exception.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/StreamCopier.h>
#include <Poco/Version.h>

#include <doctest/doctest.h>

#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

std::string get(int port) {
  try {
    Poco::Net::HTTPClientSession session("127.0.0.1", static_cast<Poco::UInt16>(port));
    Poco::Net::HTTPRequest request("GET", "/page", "HTTP/1.1");
    session.sendRequest(request);
    Poco::Net::HTTPResponse response;
    std::istream& body = session.receiveResponse(response);
    std::string text;
    Poco::StreamCopier::copyToString(body, text);
    return text;
  } catch (const Poco::Exception& error) {
    throw Failure(error.displayText());
  }
}

}  // namespace

TEST_CASE("Poco: downloads") {
  const Nginx server;
  constexpr unsigned kVersion = POCO_VERSION;
  try_out({.library = "Poco",
           .version = std::to_string(kVersion >> 24) + "." + std::to_string(kVersion >> 16 & 0xff) +
                      "." + std::to_string(kVersion >> 8 & 0xff),
           .function = "_ZN4Poco3Net17HTTPClientSession11sendRequestERNS0_11HTTPRequestE",
           .server = "nginx",
           .port = server.port(),
           .call = get,
           .answer = std::string(Nginx::kPageSize, 'p')});
}

// auth=, proxies= and cert= of requests.

#include <fiber/http/hashes.hpp>
#include <fiber/requests.hpp>

#include "support/http_client.hpp"
#include "support/http_server.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace requests = fiber::requests;
using fiber::http::Hash;
using fiber::http::hexdigest;
using support::HttpServer;
using support::text_of;

namespace {

HttpServer::Canned challenge(const std::string& text) {
  return {"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: " + text +
              "\r\nContent-Length: 4\r\n\r\nwho?",
          {},
          0,
          true};
}
HttpServer::Canned fine() {
  return {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nin", {}, 0, true};
}

std::string field(const std::string& request, const std::string& name) {
  const auto at = request.find("\r\n" + name + ": ");
  if (at == request.npos) return "-";
  const auto begin = at + name.size() + 4;
  return request.substr(begin, request.find("\r\n", begin) - begin);
}

// Returns the value of `name="value"` in an answer to a challenge.
std::string part(const std::string& header, const std::string& name) {
  auto at = header.find(" " + name + "=");
  if (at == header.npos) return "-";
  at += name.size() + 2;
  if (header[at] != '"') return header.substr(at, header.find(',', at) - at);
  return header.substr(at + 1, header.find('"', at + 1) - at - 1);
}

}  // namespace

TEST_CASE("hashes are those of hashlib") {
  const std::string x(119, 'x');
  CHECK(hexdigest(Hash::md5, "") == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(hexdigest(Hash::md5, "abc") == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(hexdigest(Hash::sha1, "abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(hexdigest(Hash::sha256, "abc") ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hexdigest(Hash::sha512, "abc") ==
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  CHECK(hexdigest(Hash::sha512, x).size() == 128);
}

TEST_CASE("a digest challenge is answered, and the next request brings its answer along") {
  HttpServer server;
  const requests::HTTPDigestAuth auth("us er", "pass");
  server.answer_in_turn(
      "/in",
      {challenge("Digest realm=\"a, \\\"b\\\"\", nonce=\"n1\", qop=\"auth-int, auth\", opaque=o"),
       fine(), fine()});
  requests::Session session;
  session.auth = auth;
  const auto response = session.get(server.url("/in?q=1"));
  CHECK(response.content == "in");
  REQUIRE(response.history.size() == 1);
  CHECK(response.history[0].status_code == 401);
  CHECK(response.history[0].content == "who?");
  CHECK(field(server.received()[0], "Authorization") == "-");
  const std::string sent = field(server.received()[1], "Authorization");
  CHECK(response.request.headers["Authorization"] == sent);
  CHECK(
      sent.starts_with("Digest username=\"us er\", realm=\"a, \\\"b\\\"\", nonce=\"n1\", "
                       "uri=\"/in?q=1\", response=\""));
  CHECK(sent.find(", opaque=\"o\", qop=\"auth\", nc=00000001, cnonce=\"") != sent.npos);
  const std::string one = hexdigest(Hash::md5, "us er:a, \"b\":pass");
  const std::string two = hexdigest(Hash::md5, "GET:/in?q=1");
  CHECK(part(sent, "response") ==
        hexdigest(Hash::md5, one + ":n1:00000001:" + part(sent, "cnonce") + ":auth:" + two));

  CHECK(session.get(server.url("/in?q=1")).history.empty());
  CHECK(field(server.received()[2], "Authorization").find("nc=00000002") != std::string::npos);
  CHECK(server.connections() == 1);
}

TEST_CASE("the algorithms of Digest") {
  HttpServer server;
  const auto sent = [&](const std::string& text) {
    server.answer_in_turn("/in", {challenge(text), fine()});
    requests::post(server.url("/in"), {.data = "body", .auth = requests::HTTPDigestAuth("u", "p")});
    CHECK(server.received().back().ends_with("\r\n\r\nbody"));
    return field(server.received().back(), "Authorization");
  };
  const std::string plain = sent("digest realm=r, nonce=n");
  CHECK(part(plain, "response") == hexdigest(Hash::md5, hexdigest(Hash::md5, "u:r:p") + ":n:" +
                                                            hexdigest(Hash::md5, "POST:/in")));
  CHECK(part(plain, "qop") == "-");
  for (const auto& [name, hash] : std::vector<std::pair<std::string, Hash>>{
           {"SHA", Hash::sha1}, {"SHA-256", Hash::sha256}, {"sha-512", Hash::sha512}}) {
    const std::string header = sent("Digest realm=\"r\", nonce=\"n\", algorithm=" + name);
    CHECK(part(header, "algorithm") == name);
    CHECK(part(header, "response") ==
          hexdigest(hash, hexdigest(hash, "u:r:p") + ":n:" + hexdigest(hash, "POST:/in")));
  }
  const std::string session = sent("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=auth");
  const std::string one =
      hexdigest(Hash::md5, hexdigest(Hash::md5, "u:r:p") + ":n:" + part(session, "cnonce"));
  CHECK(part(session, "response") ==
        hexdigest(Hash::md5, one + ":n:00000001:" + part(session, "cnonce") +
                                 ":auth:" + hexdigest(Hash::md5, "POST:/in")));
  CHECK(
      sent("Basic realm=\"x\"\r\nWWW-Authenticate: Digest realm=r, nonce=n").starts_with("Digest"));
  CHECK(part(sent("Basic realm=\"a \\\" digest x\", Digest realm=r, nonce=n"), "nonce") == "n");
}

TEST_CASE(
    "a challenge that makes no sense is left unanswered, and a wrong answer is not repeated") {
  HttpServer server;
  for (const char* text :
       {"Digest", "Digest realm=\"r\"", "Digest nonce=\"n\"", "Basic realm=x",
        "Digest realm=r, nonce=n, algorithm=ROT13", "Digest realm=r, nonce=n, qop=auth-int",
        "Digest ,,=,\"", "digest \"=\\"}) {
    CAPTURE(text);
    server.answer_in_turn("/in", {challenge(text)});
    const int before = server.requests();
    CHECK(requests::get(server.url("/in"), {.auth = requests::HTTPDigestAuth("u", "p")})
              .status_code == 401);
    CHECK(server.requests() == before + 1);
  }
  server.answer_in_turn("/in", {challenge("Digest realm=r, nonce=n")});
  const int before = server.requests();
  CHECK(
      requests::get(server.url("/in"), {.auth = requests::HTTPDigestAuth("u", "p")}).status_code ==
      401);
  CHECK(server.requests() == before + 2);
}

TEST_CASE("no challenge of another origin is answered") {
  HttpServer from, to;
  from.answer_in_turn(
      "/from", {{"HTTP/1.1 302 R\r\nLocation: " + to.url("/in") + "\r\nContent-Length: 0\r\n\r\n",
                 {},
                 0,
                 true}});
  to.answer_in_turn("/in", {challenge("Digest realm=r, nonce=n")});
  CHECK(
      requests::get(from.url("/from"), {.auth = requests::HTTPDigestAuth("u", "p")}).status_code ==
      401);
  CHECK(to.requests() == 1);
}

TEST_CASE("user names stay within their quotes and their line") {
  HttpServer server;
  server.answer_in_turn("/in", {challenge("Digest realm=r, nonce=n"), fine()});
  CHECK(requests::get(server.url("/in"), {.auth = requests::HTTPDigestAuth("a\", x=\"b\\", "p")})
            .ok());
  CHECK(field(server.received().back(), "Authorization")
            .starts_with("Digest username=\"a\\\", x=\\\"b\\\\\", realm="));
  server.answer_in_turn("/in", {challenge("Digest realm=r, nonce=n"), fine()});
  CHECK_THROWS_AS(
      requests::get(server.url("/in"), {.auth = requests::HTTPDigestAuth("a\r\nX: 1", "p")}),
      requests::InvalidHeader);
}

TEST_CASE("auth may be any function, which sees the request as it will be") {
  HttpServer server;
  requests::PreparedRequest seen;
  const auto token = [&](requests::PreparedRequest& request) {
    seen = request;
    request.headers.set("X-Token", "t");
    request.url += "&signed=1";
  };
  const auto response =
      requests::post("http://u:p@127.0.0.1:" + std::to_string(server.port()) + "/echo",
                     {.params = {{"a", "b"}}, .data = requests::Params{{"c", "d"}}, .auth = token});
  CHECK(response.ok());
  CHECK(seen.method == "POST");
  CHECK(seen.url == server.url("/echo?a=b"));
  CHECK(seen.path_url() == "/echo?a=b");
  CHECK(seen.body.bytes() == "c=d");
  CHECK(seen.headers["content-type"] == "application/x-www-form-urlencoded");
  const std::string sent = server.received().back();
  CHECK(sent.starts_with("POST /echo?a=b&signed=1\r\n"));
  CHECK(field(sent, "X-Token") == "t");
  CHECK(field(sent, "Authorization") == "-");
  CHECK_THROWS_AS(requests::get(server.url("/echo"), {.auth =
                                                          [](requests::PreparedRequest& request) {
                                                            request.headers.set("X", "1\r\nY: 2");
                                                          }}),
                  requests::InvalidHeader);
  CHECK(requests::get(server.url("/echo"), {.auth = {"u", "p"}}).ok());
  CHECK(field(server.received().back(), "Authorization") == "Basic dTpw");
  CHECK(requests::get(server.url("/echo"), {.auth = requests::HTTPProxyAuth{"u", "p"}}).ok());
  CHECK(field(server.received().back(), "Proxy-Authorization") == "Basic dTpw");
}

TEST_CASE("an auth function may take itself away, and lives until it has returned") {
  HttpServer server;
  requests::Session session;
  auto alive = std::make_shared<int>();
  const std::weak_ptr<int> watched = alive;
  bool lived = false;
  session.auth = [&, alive = std::move(alive)](requests::PreparedRequest& request) {
    bool& result = lived;  // the references are members of the function
    const std::weak_ptr<int>& seen = watched;
    session.auth = {};
    result = !seen.expired();
    request.headers.set("X-Token", "t");
  };
  CHECK(session.get(server.url("/echo")).ok());
  CHECK(lived);
  CHECK(watched.expired());
  CHECK(field(server.received().back(), "X-Token") == "t");
  CHECK(session.get(server.url("/echo")).ok());
  CHECK(field(server.received().back(), "X-Token") == "-");
}

TEST_CASE("proxies= chooses the proxy by scheme and host, also for this machine") {
  HttpServer proxy, server;
  const std::string at = "127.0.0.1:" + std::to_string(proxy.port());
  const auto through = [&](requests::Params proxies) {
    const int before = proxy.requests();
    requests::get(server.url("/fixed"), {.proxies = std::move(proxies)});
    return proxy.requests() - before;
  };
  CHECK(through({{"http", "http://" + at}}) == 1);
  CHECK(proxy.received().back().starts_with("GET " + server.url("/fixed") + "\r\n"));
  CHECK(through({{"http", at}}) == 1);
  CHECK(through({{"all", at}}) == 1);
  CHECK(through({{"http://127.0.0.1", at}, {"http", ""}}) == 1);
  CHECK(through({{"all", at}, {"http", ""}}) == 0);
  CHECK(through({{"https", at}}) == 0);
  CHECK(through({{"http://example.com", at}}) == 0);
  CHECK(through({{"http", "http://u:p@" + at}}) == 1);
  CHECK(field(proxy.received().back(), "Proxy-Authorization") == "Basic dTpw");
  requests::Session session;
  session.proxies = {{"http", at}};
  const int before = proxy.requests();
  session.get(server.url("/fixed"));
  session.get(server.url("/fixed"), {.proxies = {{"http", ""}}});
  CHECK(proxy.requests() == before + 1);
  for (const char* bad : {"http://", "http://:3128", "http://u:p@/"})
    CHECK(text_of<requests::InvalidProxyURL>([&] {
            through({{"http", bad}});
          }) == "Please check proxy URL. It is malformed and could be missing the host.");
  CHECK_THROWS_AS(through({{"http", "127.0.0.1:" + std::to_string(HttpServer::unused_port())}}),
                  requests::ProxyError);
}

TEST_CASE("cert= names files that are there") {
  HttpServer server;
  CHECK(text_of<fiber::OSError>([&] {
          requests::get(server.url("/fixed"), {.cert = "/no/file"});
        }) == "Could not find the TLS certificate file, invalid path: /no/file");
  CHECK(text_of<fiber::OSError>([&] {
          requests::get(server.url("/fixed"), {.cert = {"/dev/null", "/no/key"}});
        }) == "Could not find the TLS key file, invalid path: /no/key");
  CHECK(server.requests() == 0);
  CHECK(requests::get(server.url("/fixed"), {.cert = "/dev/null"}).ok());
}

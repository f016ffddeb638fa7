// Runs the cases with the C++ clients fiber::requests and fiber::aiohttp; clients.py does that with
// Python's. Reads commands, one a line, whose arguments are "=" and hexadecimal digits, and writes
// the reports in that form, too.
//
//   request METHOD URL     begins a request, which the next lines describe
//   header, cookie, param, form NAME VALUE
//   file FIELD FILENAME BYTES TYPE             piece BYTES (of a body in chunks)
//   data BYTES             auth USER PASSWORD   environment NAME VALUE
//   redirects 0|1          max NUMBER             proxy URL
//   run requests|aiohttp   makes the requests in one session; writes for each
//     error NAME | status, reason, url, header NAME VALUE, body, text, history STATUS URL
//     cookie NAME VALUE    for each cookie that the session has then
//     end

#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/requests.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aiohttp = fiber::aiohttp;
namespace asyncio = fiber::asyncio;
namespace http = fiber::http;
namespace requests = fiber::requests;
using namespace std::chrono_literals;

namespace {

constexpr auto timeout = 5s;

std::string unhex(std::string_view text) {
  std::string bytes;
  if (text.starts_with('=')) text.remove_prefix(1);
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  return bytes;
}

std::string hex(std::string_view bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "=";  // so that an empty text is a word, too
  for (const unsigned char byte : bytes) (text += digits[byte >> 4]) += digits[byte & 15];
  return text;
}

void tell(std::string_view name, std::initializer_list<std::string_view> values) {
  std::cout << name;
  for (const std::string_view value : values) std::cout << ' ' << hex(value);
  std::cout << '\n';
}

struct Step {
  std::string method, url;
  http::Headers headers;
  http::Params cookies, params, form;
  std::string data;
  bool has_data = false;
  std::vector<std::vector<std::string>> files;
  std::vector<std::string> pieces;
  http::Params environment;
  std::optional<http::BasicAuth> auth;
  std::optional<bool> redirects;
  long max = -1;
  std::string proxy;

  http::Body body() const {
    if (!form.empty()) return form;
    if (!pieces.empty())
      return http::Body([left = pieces]() mutable -> std::string {
        if (left.empty()) return {};
        const std::string piece = left.front();
        left.erase(left.begin());
        return piece;
      });
    return has_data ? http::Body(data) : http::Body();
  }
};

// Sets the environment variables of a step; the destructor unsets them.
class Environment {
 public:
  explicit Environment(const http::Params& variables) : variables_(variables) {
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }

 private:
  const http::Params& variables_;
};

bool uses_environment(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(),
                     [](const Step& step) { return !step.environment.empty(); });
}

void tell_error(const std::exception_ptr& error) {
  const std::string text = fiber::repr(error);
  std::string name = text.substr(0, text.find('('));
  if (name == "TooManyRedirects") name += ": " + fiber::str(error);
  tell("error", {name});
}

template <class Response>
void tell_response(const Response& response, int status, const std::string& body,
                   const std::string& text) {
  tell("status", {std::to_string(status)});
  tell("reason", {response.reason});
  tell("url", {response.url});
  for (const auto& [name, value] : response.headers) tell("header", {name, value});
  tell("body", {body});
  tell("text", {text});
}

void tell_end(const http::Params& cookies) {
  for (const auto& [name, value] : cookies) tell("cookie", {name, value});
  std::cout << "end\n" << std::flush;
}

void run_requests(const std::vector<Step>& steps) {
  requests::Session session;
  session.trust_env = uses_environment(steps);
  for (const Step& step : steps) {
    const Environment environment(step.environment);
    try {
      session.max_redirects = step.max < 0 ? 30 : step.max;
      requests::Options options{.params = step.params,
                                .data = step.body(),
                                .headers = step.headers,
                                .cookies = step.cookies,
                                .timeout = timeout,
                                .allow_redirects = step.redirects};
      if (step.auth)
        options.auth = requests::HTTPBasicAuth{step.auth->username, step.auth->password};
      if (!step.proxy.empty()) options.proxies = {{"http", step.proxy}};
      for (const auto& file : step.files)
        options.files.emplace_back(file[0], requests::File(file[1], file[2], file[3]));
      const auto response = session.request(step.method, step.url, std::move(options));
      tell_response(response, response.status_code, response.content, response.text());
      for (const auto& before : response.history)
        tell("history", {std::to_string(before.status_code), before.url});
    } catch (...) {
      tell_error(std::current_exception());
    }
    tell_end(session.cookies());
  }
}

void run_aiohttp(const std::vector<Step>& steps) {
  asyncio::run([&] {
    aiohttp::SessionOptions settings{.trust_env = uses_environment(steps)};
    asyncio::with(aiohttp::ClientSession(settings), [&](aiohttp::ClientSession& session) {
      for (const Step& step : steps) {
        const Environment environment(step.environment);
        try {
          aiohttp::RequestOptions options{.params = step.params,
                                          .data = step.body(),
                                          .cookies = step.cookies,
                                          .headers = step.headers,
                                          .auth = step.auth,
                                          .allow_redirects = step.redirects,
                                          .timeout = aiohttp::ClientTimeout{.total = timeout}};
          if (step.max >= 0) options.max_redirects = step.max;
          options.proxy = step.proxy;
          if (!step.files.empty()) {
            aiohttp::FormData form(step.form);
            for (const auto& file : step.files)
              form.add_field(file[0], file[2], {.content_type = file[3], .filename = file[1]});
            options.data = form;
          }
          asyncio::with(session.request(step.method, step.url, std::move(options)),
                        [](aiohttp::ClientResponse& response) {
                          const std::string body = asyncio::await(response.read());
                          tell_response(response, response.status, body,
                                        asyncio::await(response.text()));
                          for (const auto& before : response.history)
                            tell("history", {std::to_string(before.status), before.url});
                        });
        } catch (...) {
          tell_error(std::current_exception());
        }
        tell_end(session.cookies());
      }
    });
  });
}

void add(std::vector<Step>& steps, const std::string& command, std::vector<std::string> values) {
  values.resize(4);
  const std::string &first = values[0], &second = values[1];
  if (command == "request") {
    steps.emplace_back();
    steps.back().method = first;
    steps.back().url = second;
    return;
  }
  Step& step = steps.back();
  if (command == "header") step.headers.add(first, second);
  if (command == "cookie") step.cookies.emplace_back(first, second);
  if (command == "param") step.params.emplace_back(first, second);
  if (command == "form") step.form.emplace_back(first, second);
  if (command == "file") step.files.push_back(values);
  if (command == "piece") step.pieces.push_back(first);
  if (command == "environment") step.environment.emplace_back(first, second);
  if (command == "data") {
    step.data = first;
    step.has_data = true;
  }
  if (command == "auth") step.auth = http::BasicAuth{first, second};
  if (command == "redirects") step.redirects = first == "1";
  if (command == "max") step.max = std::stol(first);
  if (command == "proxy") step.proxy = first;
}

}  // namespace

int main() {
  std::vector<Step> steps;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, word;
    words >> command;
    if (command != "run") {
      std::vector<std::string> values;
      while (words >> word) values.push_back(unhex(word));
      add(steps, command, std::move(values));
      continue;
    }
    words >> word;
    if (word == "requests")
      run_requests(steps);
    else
      run_aiohttp(steps);
    steps.clear();
  }
}

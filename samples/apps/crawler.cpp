// crawler: follows the links of a site, a few pages at a time; `crawler URL` crawls one.
//
// Without a URL it crawls a site of its own, served by its own loop.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>

#include <cstdlib>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using asyncio::await;

class Crawler {
 public:
  Crawler(aiohttp::ClientSession& session, std::string start)
      : session_(session),
        start_(std::move(start)),
        site_(start_.substr(0, start_.find('/', start_.find("//") + 2))) {
    find(start_);
  }

  // Crawls all pages, with so many at a time. Returns false if the first could not be had.
  bool run(int workers) {
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 0; i < workers; ++i)
        tasks.push_back(group.create_task([this] {
          for (;;) {
            visit(await(urls_.get()));
            urls_.task_done();
          }
        }));
      await(urls_.join());
      for (const auto& task : tasks) task.cancel();
    });
    return started_;
  }

  const std::map<std::string, std::string>& pages() const { return pages_; }

 private:
  void find(std::string url) {
    if (url.starts_with(site_) && pages_.emplace(url, "").second) urls_.put_nowait(std::move(url));
  }
  void visit(const std::string& url) {
    try {
      asyncio::with(session_.get(url), [&](auto& response) {
        const std::string text = await(response.text());
        pages_[url] =
            std::to_string(response.status) + ", " + std::to_string(text.size()) + " bytes";
        if (!response.ok()) return;
        if (url == start_) started_ = true;
        static const std::regex link("href=\"([^\"#]*)\"");
        for (std::sregex_iterator at(text.begin(), text.end(), link), end; at != end; ++at) {
          const std::string target = (*at)[1];
          find(target.starts_with('/') ? site_ + target : target);
        }
      });
    } catch (const std::exception& error) {
      pages_[url] = error.what();
    }
  }

  aiohttp::ClientSession& session_;
  std::string start_;
  bool started_ = false;
  std::string site_;
  asyncio::Queue<std::string> urls_;
  std::map<std::string, std::string> pages_;  // the result for each page
};

// Pages 1 to 7, each with links to the two that follow from it, and to one that is not there.
void serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer) {
  const std::string request = await(reader.readuntil("\r\n\r\n"));
  const int number = std::atoi(request.c_str() + request.find("/") + 1);
  std::string body = "not here";
  if (number >= 1 && number <= 7) {
    body = "page " + std::to_string(number);
    for (const int next : {2 * number, 2 * number + 1})
      body += " <a href=\"/" + std::to_string(next) + "\">next</a>";
    body += " <a href=\"http://elsewhere.invalid/\">elsewhere</a>";
  }
  const std::string status = body == "not here" ? "404 Not Found" : "200 OK";
  writer.write("HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\nConnection: close\r\n\r\n" + body);
  writer.close();
  await(writer.wait_closed());
}

bool crawl(const std::string& url, std::size_t hidden) {
  bool found_it = false;
  asyncio::with(aiohttp::ClientSession(), [&](auto& session) {
    Crawler crawler(session, url);
    found_it = crawler.run(4);
    for (const auto& [page, found] : crawler.pages()) print(page.substr(hidden), "->", found);
  });
  return found_it;
}

int main(int count, char** arguments) {
  try {
    return asyncio::run([&] {
      if (count > 1) return crawl(arguments[1], 0) ? 0 : 1;
      const asyncio::Server server = await(asyncio::start_server(serve, "127.0.0.1", 0));
      const std::string site = "http://127.0.0.1:" + std::to_string(server.sockets().at(0).port());
      const bool found = crawl(site + "/1", site.size());
      server.close();
      return found ? 0 : 1;
    });
  } catch (const std::exception& error) {
    std::cerr << "crawler: " << error.what() << '\n';
    return 1;
  } catch (const KeyboardInterrupt&) {
    return 130;
  }
}

// download_executor: six images at once, with blocking calls in the threads of the loop's pool.
//
//   async def download_image(url):
//       print("start", name_of(url))
//       loop = asyncio.get_event_loop()
//       response = await loop.run_in_executor(None, requests.get, url)
//       with open(os.path.join(images_dir, name_of(url)), "wb") as file:
//           file.write(response.content)
//   new_loop = asyncio.new_event_loop()
//   asyncio.set_event_loop(new_loop)
//   tasks = [asyncio.ensure_future(download_image(url)) for url in url_list]
//   loop = asyncio.get_event_loop()
//   loop.run_until_complete(asyncio.wait(tasks))
#include <fiber/asyncio.hpp>
#include <fiber/concurrent/thread.hpp>
#include <fiber/requests/download.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "support/download.hpp"

using namespace fiber;
using asyncio::await;
using concurrent::futures::ThreadPoolExecutor;
using concurrent::futures::ThreadPoolOptions;

int main(int argc, char** argv) {
  Downloads downloads(argc, argv);

  auto download_image = asyncio::async([&](Image image) {
    downloads.start(image);
    auto loop = asyncio::get_event_loop();
    try {
      await(loop.run_in_executor(nullptr, [url = image.url, options = downloads.options(image)] {
        requests::download(url, options);
      }));
      downloads.saved(image);
    } catch (const requests::HTTPError& error) {
      downloads.failed(image, "status " + std::to_string(error.response()->status_code));
    } catch (const std::exception& error) {
      downloads.failed(image, error.what());
    }
  });

  return downloads.run([&] {
    auto new_loop = asyncio::new_event_loop();
    asyncio::set_event_loop(new_loop);
    // A thread for each image; by default there are a few more than processors.
    const int threads = std::clamp(static_cast<int>(downloads.images().size()), 1, 32);
    new_loop.set_default_executor(
        std::make_shared<ThreadPoolExecutor>(ThreadPoolOptions{.max_workers = threads}));
    std::vector<asyncio::Task<void>> tasks;
    for (const Image& image : downloads.images())
      tasks.push_back(asyncio::ensure_future(download_image(image)));
    auto loop = asyncio::get_event_loop();
    loop.run_until_complete(asyncio::wait(tasks));
  });
}

// download_aiohttp: six images at once, all in one thread, on the loop.
//
//   async def download_image(url, session):
//       print("start", name_of(url))
//       async with session.get(url) as response:
//           if response.status != 200:
//               print(response.status, url)
//               return
//           with open(os.path.join(images_dir, name_of(url)), "wb") as file:
//               file.write(await response.read())
//   async def main(url_list):
//       async with aiohttp.ClientSession() as session:
//           tasks = [download_image(url, session) for url in url_list]
//           await asyncio.gather(*tasks)
//   asyncio.run(main(url_list))
#include <fiber/aiohttp/download.hpp>
#include <fiber/asyncio.hpp>

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "support/download.hpp"

using namespace fiber;
using asyncio::await;

int main(int argc, char** argv) {
  Downloads downloads(argc, argv);

  auto download_image = asyncio::async([&](Image image, aiohttp::ClientSession& session) {
    downloads.start(image);
    try {
      await(aiohttp::download(session, image.url, downloads.options(image)));
      downloads.saved(image);
    } catch (const aiohttp::ClientResponseError& error) {
      downloads.failed(image, "status " + std::to_string(error.status()));
    } catch (const std::exception& error) {
      downloads.failed(image, error.what());
    }
  });

  return downloads.run([&] {
    asyncio::run([&] {
      asyncio::with(aiohttp::ClientSession(), [&](aiohttp::ClientSession& session) {
        std::vector<asyncio::Coroutine<void>> tasks;
        for (const Image& image : downloads.images())
          tasks.push_back(download_image(image, std::ref(session)));
        await(asyncio::gather(tasks));
      });
    });
  });
}

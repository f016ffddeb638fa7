// download_requests: six images, one after another, with blocking calls.
//
//   def download_image(url):
//       print("start", name_of(url))
//       response = requests.get(url)
//       with open(os.path.join(images_dir, name_of(url)), "wb") as file:
//           file.write(response.content)
//   for url in url_list:
//       download_image(url)
#include <fiber/requests.hpp>

#include <exception>
#include <string>

#include "support/download.hpp"

using namespace fiber;

void download_image(Downloads& downloads, const Image& image) {
  downloads.start(image);
  try {
    auto response = requests::get(image.url);
    if (response.status_code != 200)
      return downloads.failed(image, "status " + std::to_string(response.status_code));
    downloads.save(image, response.content);
  } catch (const std::exception& error) {
    downloads.failed(image, error.what());
  }
}

int main(int argc, char** argv) {
  Downloads downloads(argc, argv);
  return downloads.run([&] {
    for (const Image& image : downloads.images()) download_image(downloads, image);
  });
}

// download_requests: six images, one after another, with blocking calls.
//
//   def download_image(url):
//       print("start", name_of(url))
//       response = requests.get(url)
//       with open(os.path.join(images_dir, name_of(url)), "wb") as file:
//           file.write(response.content)
//   for url in url_list:
//       download_image(url)
#include <fiber/requests/download.hpp>

#include <exception>
#include <string>

#include "support/download.hpp"

using namespace fiber;

void download_image(Downloads& downloads, const Image& image) {
  downloads.start(image);
  try {
    requests::download(image.url, downloads.options(image));
    downloads.saved(image);
  } catch (const requests::HTTPError& error) {
    downloads.failed(image, "status " + std::to_string(error.response()->status_code));
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

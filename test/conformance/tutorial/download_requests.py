# download_requests: six pictures, one after another, with blocking calls.
# transcript: arguments --output {tmp}/images
# transcript: stdout directory made .*images
# transcript: stdout elapsed [0-9.]+
from _pictures import download, get, name_of, save


def download_image(url, directory):
    print("start", name_of(url))
    save(directory, url, get(url))


with download() as (urls, directory):
    for url in urls:
        download_image(url, directory)

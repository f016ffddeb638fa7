// Reads at random offsets by aiofiles, in tasks that have a file each. FIBER_AIOFILES chooses
// io_uring or the executor. Prints nanoseconds per read.
//
//   files_fiber FILE BYTES READS TASKS
#include "random.hpp"

#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <string>
#include <vector>

using namespace fiber;
using asyncio::await;

int main(int argc, char** argv) {
  const files::Arguments its = files::arguments(argc, argv);
  const auto read = [&its](int which) {
    files::Offsets offsets(its, which);
    const aiofiles::File file = await(aiofiles::open(its.path, "rb", {.buffering = 0}));
    std::string buffer(its.bytes, '\0');
    for (long left = its.reads / its.at_a_time; left > 0; --left) {
      await(file.seek(offsets.next()));
      await(file.readinto(buffer));
    }
  };
  files::measure(its, [&] {
    asyncio::run([&] {
      std::vector<asyncio::Task<>> tasks;
      for (int i = 0; i < its.at_a_time; ++i)
        tasks.push_back(asyncio::create_task([&read, i] { read(i); }));
      await(asyncio::gather(tasks));
    });
  });
}

// Files on disks: reading, writing, and waiting until the disk has what was written.
//
// The kernel serves most reads from memory. So a read only tries first (RWF_NOWAIT), which is as
// cheap as the read. The part that must come from the disk is read while the task waits: by
// io_uring if the program uses aiofiles, else by a thread of the loop's executor. A write goes to
// memory as well, unless it is large or the file is to be written at once (O_SYNC, O_DIRECT): then
// a thread makes the write, as a whole, for others may append to the file. fsync is never quick.
//
// These calls cannot be cut short: the kernel uses the caller's memory, and a program that was
// told of a failed write does not expect that the data is written later. The task is cancelled
// afterwards.
#pragma once

#include <fiber/monkey/waiting.hpp>

#include <cstddef>

#include <sys/types.h>
#include <sys/uio.h>

namespace fiber::monkey::detail {

// In place of an offset: the current position of the file, which then moves on.
inline constexpr off64_t kPosition = -1;

// Whether the descriptor is a file or a disk.
bool is_on_disk(mode_t mode) noexcept;

// Read into the buffers of `vectors`, or write from them, at an offset. They return libc's results.
ssize_t read_file_at(int fd, const iovec* vectors, int count, off64_t offset) noexcept;
ssize_t write_file_at(int fd, const iovec* vectors, int count, off64_t offset) noexcept;

// The replacements of readv and writev.
ssize_t read_vectors(int fd, const iovec* vectors, int count) noexcept;
ssize_t write_vectors(int fd, const iovec* vectors, int count) noexcept;

}  // namespace fiber::monkey::detail

// Stacks of greenlets, suspended and running, under the names of Python's `traceback` module.
//
//   fiber::traceback::print_stack(g);
//
//   Stack of <greenlet at 0x55… 'g' suspended active started> (most recent call last):
//     File "/usr/bin/app", in fiber::detail::GreenletThread::entry(void*)+0x9d [0x55…]
//     File "/usr/bin/app", in read_line(Connection&)+0x21 [0x55…]
//     File "/usr/bin/app", in wait_for_data()+0x1b [0x55…]
//
// A suspended greenlet's stack is read in place: there is no switch, and nothing of it changes.
// Functions that the compiler inlined do not show. Names come from symbol tables, which `strip`
// removes; `addr2line -e FILE` says the source line of an address. Pending and dead greenlets have
// no frames.
//
// Throws ValueError for a null handle and for a greenlet that another thread could run meanwhile.
// Suspended greenlets have frames on x86-64, 64-bit ARM, POWER, RISC-V and s390x alone.
#pragma once

#include <fiber/config.hpp>
#include <fiber/greenlet.hpp>

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

namespace fiber::traceback {

/// One frame.
struct FrameSummary {
  const void* address = nullptr;  ///< where the frame goes on
  std::string name = {};          ///< of the function, demangled; "" if it has no symbol
  std::size_t offset = 0;         ///< bytes from the start of the function, else of the file
  std::string filename = {};      ///< of the program or the shared object; "" if unknown
};

/// Returns the addresses at which the greenlet's frames go on, innermost first: quick, and for any
/// later symbolizer. Python: traceback.walk_stack(g.gr_frame).
FIBER_API std::vector<const void*> walk_stack(const greenlet& g);

/// Returns the frames with their names, outermost first. Python:
/// traceback.extract_stack(g.gr_frame).
FIBER_API std::vector<FrameSummary> extract_stack(const greenlet& g);

/// Returns names for addresses from walk_stack(), in this process: outermost first.
FIBER_API std::vector<FrameSummary> extract(const std::vector<const void*>& addresses);

/// Returns a line for each frame, without line ends. Python: traceback.format_list.
FIBER_API std::vector<std::string> format_list(const std::vector<FrameSummary>& frames);

/// Formats the stack of a greenlet. Python: traceback.format_stack(g.gr_frame).
FIBER_API std::vector<std::string> format_stack(const greenlet& g);

/// Writes the greenlet's repr and its frames, to stderr if no stream is given. Python:
/// traceback.print_stack(g.gr_frame).
FIBER_API void print_stack(const greenlet& g);
FIBER_API void print_stack(const greenlet& g, std::ostream& out);

}  // namespace fiber::traceback

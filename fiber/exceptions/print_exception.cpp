// Exceptions as Python's traceback module prints them.
#include <fiber/exceptions.hpp>

#include <iostream>
#include <utility>
#include <vector>

namespace fiber {
namespace {

constexpr std::size_t kMostWidth = 15;  // Python's max_group_width
constexpr std::size_t kMostDepth = 10;  // Python's max_group_depth
constexpr std::size_t kMostCauses = 1000;

// Returns the exception from which `error` was thrown; null if there is none.
std::exception_ptr cause_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::nested_exception& e) {
    return e.nested_ptr();
  } catch (...) {
    return nullptr;
  }
}

// Returns the group to which `error` points, which keeps it; null if it is no group.
const detail::CompoundException* group_in(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const detail::CompoundException& group) {
    return &group;
  } catch (...) {
    return nullptr;
  }
}

std::string line_of(const std::exception_ptr& error) {
  const std::string text = str(error);
  return type_name(error) + (text.empty() ? "" : ": " + text) + "\n";
}

class Printer {
 public:
  void print(const std::exception_ptr& error) {
    std::vector<std::exception_ptr> chain{error};
    while (chain.size() < kMostCauses)
      if (std::exception_ptr cause = cause_of(chain.back()))
        chain.push_back(std::move(cause));
      else
        break;
    for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
      if (at != chain.rbegin())
        emit("\nThe above exception was the direct cause of the following exception:\n\n");
      if (const detail::CompoundException* group = group_in(*at))
        print_group(*at, *group);
      else
        emit(line_of(*at));
    }
  }

  std::string text;

 private:
  void print_group(const std::exception_ptr& error, const detail::CompoundException& group) {
    if (depth_ > kMostDepth) {
      emit("... (max_group_depth is " + std::to_string(kMostDepth) + ")\n");
      return;
    }
    const bool outermost = depth_ == 0;
    if (outermost) ++depth_;
    emit(line_of(error));
    const std::size_t count = group.exceptions().size();
    const std::size_t shown = count <= kMostWidth ? count : kMostWidth + 1;
    to_be_closed_ = false;
    for (std::size_t i = 0; i < shown; ++i) {
      const bool last = i + 1 == shown;
      if (last) to_be_closed_ = true;  // a nested group may close it
      const bool cut = i >= kMostWidth;
      text += indent() + (i == 0 ? "+-" : "  ") + "+---------------- " +
              (cut ? "..." : std::to_string(i + 1)) + " ----------------\n";
      ++depth_;
      if (cut) {
        const std::size_t more = count - kMostWidth;
        emit("and " + std::to_string(more) + " more exception" + (more > 1 ? "s" : "") + "\n");
      } else {
        print(group.exceptions()[i]);
      }
      if (last && std::exchange(to_be_closed_, false))
        text += indent() + "+------------------------------------\n";
      --depth_;
    }
    if (outermost) depth_ = 0;
  }

  std::string indent() const { return std::string(2 * depth_, ' '); }

  // Writes each line of a text, inside the tree.
  void emit(const std::string& lines) {
    for (std::size_t at = 0; at < lines.size();) {
      std::size_t end = lines.find('\n', at);
      end = end == std::string::npos ? lines.size() : end + 1;
      text += indent() + (depth_ != 0 ? "| " : "");
      text.append(lines, at, end - at);
      at = end;
    }
  }

  std::size_t depth_ = 0;
  bool to_be_closed_ = false;
};

}  // namespace

std::string format_exception(const std::exception_ptr& error) {
  if (!error) return "NoneType: None\n";
  Printer printer;
  printer.print(error);
  return std::move(printer.text);
}

void print_exception(const std::exception_ptr& error) { print_exception(error, std::cerr); }

void print_exception(const std::exception_ptr& error, std::ostream& out) {
  out << format_exception(error) << std::flush;
}

}  // namespace fiber

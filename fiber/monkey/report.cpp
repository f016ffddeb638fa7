// Reports patched imports, functions that still block, and objects that were not patched.
#include <fiber/exceptions/repr.hpp>
#include <fiber/monkey.hpp>
#include <fiber/monkey/blocking.hpp>
#include <fiber/monkey/patches.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

namespace fiber::monkey {
namespace {

const char* name_of(Cancel cancel) noexcept {
  switch (cancel) {
    case Cancel::error: return "error";
    case Cancel::interrupt: return "interrupt";
    case Cancel::never: return "never";
  }
  return "";
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

// Bytes of a path that are not UTF-8 are written as Python writes those of a file's name: "\udcff".
std::string quoted(std::string_view text) {
  std::string all = "\"";
  while (!text.empty()) {
    const auto next = fiber::detail::first_character(text);
    const char c = text.front();
    if (c == '"' || c == '\\') all += '\\';
    if (next.size != 0 && static_cast<unsigned char>(c) >= 0x20) {
      all += text.substr(0, next.size);
    } else {
      char escaped[8];
      const auto code = static_cast<unsigned>(next.code);
      std::snprintf(escaped, sizeof escaped, "\\u%04x", next.size != 0 ? code : 0xdc00 + code);
      all += escaped;
    }
    text.remove_prefix(std::max<std::size_t>(next.size, 1));
  }
  return all + '"';
}

std::string as_list(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + quoted(word);
  return "[" + text + "]";
}

}  // namespace

std::vector<ObjectReport> report() {
  struct Known {
    std::set<std::string> patched, copies;
    Cancel cancel = Cancel::error;
  };
  const std::vector<std::string> all_names = patchable();
  const std::set<std::string> replaceable(all_names.begin(), all_names.end());
  std::map<std::string, Known> known;
  for (const detail::PatchedImport& each : detail::patched_imports()) {
    if (!replaceable.contains(each.function)) continue;  // dlopen, patched to find new objects
    Known& object = known[each.object];
    (each.is_copy ? object.copies : object.patched).insert(each.function);
    object.cancel = each.cancel;
  }
  std::vector<ObjectReport> all;
  detail::for_each_image([&](const detail::Image& image) {
    ObjectReport object{.object = std::string(image.path())};
    const auto found = known.find(object.object);
    if (found != known.end()) {
      object.cancel = found->second.cancel;
      object.patched.assign(found->second.patched.begin(), found->second.patched.end());
      object.copies.assign(found->second.copies.begin(), found->second.copies.end());
    }
    std::set<std::string> unpatched;
    std::map<std::string, std::string_view> blocking;
    image.for_each_import([&](const char* name, void**, bool) {
      const bool is_patchable = replaceable.contains(name);
      if (is_patchable && (found == known.end() || !found->second.patched.contains(name)))
        unpatched.insert(name);
      if (const auto advice = detail::advice_on(name, is_patchable); !advice.empty())
        blocking.emplace(name, advice);
    });
    if (const char* why = detail::why_untouchable(image); why != nullptr && object.patched.empty())
      object.left_alone = why;
    else if (object.patched.empty() && !unpatched.empty())
      object.left_alone = "not patched: it was loaded later, or was not selected";
    if (detail::why_untouchable(image) == nullptr) {
      object.unpatched.assign(unpatched.begin(), unpatched.end());
      for (const auto& [name, advice] : blocking)
        object.blocking.push_back({name, std::string(advice)});
    }
    all.push_back(std::move(object));
  });
  std::sort(all.begin(), all.end(),
            [](const ObjectReport& a, const ObjectReport& b) { return a.object < b.object; });
  return all;
}

std::string str(const ObjectReport& object) {
  std::string text = object.object + "\n";
  if (!object.left_alone.empty()) text += "  left alone: " + object.left_alone + "\n";
  if (!object.patched.empty())
    text += "  patched (" + std::string(name_of(object.cancel)) +
            "): " + joined(object.patched, " ") + "\n";
  if (!object.copies.empty())
    text += "  copied pointers, patched: " + joined(object.copies, " ") + "\n";
  if (!object.unpatched.empty())
    text += "  could be patched: " + joined(object.unpatched, " ") + "\n";
  std::map<std::string, std::vector<std::string>> by_advice;
  for (const BlockingCall& call : object.blocking) by_advice[call.advice].push_back(call.function);
  for (const auto& [advice, functions] : by_advice)
    text += "  blocks: " + joined(functions, " ") + "\n    " + advice + "\n";
  return text;
}

std::string json(const std::vector<ObjectReport>& objects) {
  std::string text;
  for (const ObjectReport& object : objects) {
    std::string blocking;
    for (const BlockingCall& call : object.blocking)
      blocking += (blocking.empty() ? "" : ",") + ("{\"function\":" + quoted(call.function)) +
                  ",\"advice\":" + quoted(call.advice) + "}";
    text += (text.empty() ? "" : ",\n") + ("{\"object\":" + quoted(object.object)) +
            ",\"cancel\":" + quoted(name_of(object.cancel)) +
            ",\"patched\":" + as_list(object.patched) + ",\"copies\":" + as_list(object.copies) +
            ",\"unpatched\":" + as_list(object.unpatched) + ",\"blocking\":[" + blocking +
            "],\"left_alone\":" + quoted(object.left_alone) + "}";
  }
  return "[" + text + "]\n";
}

}  // namespace fiber::monkey

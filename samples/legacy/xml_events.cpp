// xml_events: a parser that calls back becomes a loop over events (expat).
//
// Pull from push: the parser runs on the generator's stack, and each of its callbacks yields. Code
// that reads a document no longer keeps its state between callbacks: the place in the code is the
// state, and a helper function reads as far as it wants.
#include <expat.h>
#include <fiber/generator.hpp>

#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include "../tutorial/support/print.hpp"
#include "support/callback_border.hpp"

struct Event {
  enum Kind { start, text, end } kind;
  std::string what;  // the element's name, or the text
};
using Events = fiber::Generator<Event>;

Events xml_events(std::istream& in) {
  return [&in](Events::Self& self) {
    struct Parse {
      Events::Self& self;
      CallbackBorder border;
      XML_Parser parser = XML_ParserCreate(nullptr);
      ~Parse() {
        XML_ParserFree(parser);
        print("(parser freed)");
      }
      static void report(void* parse, Event event) {
        auto* its = static_cast<Parse*>(parse);
        if (!its->border.pass([&] { its->self.yield(std::move(event)); }))
          XML_StopParser(its->parser, XML_FALSE);
      }
    } parse{self, {}};
    XML_SetUserData(parse.parser, &parse);
    XML_SetElementHandler(
        parse.parser,
        [](void* to, const XML_Char* name, const XML_Char**) {
          Parse::report(to, {Event::start, name});
        },
        [](void* to, const XML_Char* name) {
          Parse::report(to, {Event::end, name});
        });
    XML_SetCharacterDataHandler(parse.parser, [](void* to, const XML_Char* text, int size) {
      Parse::report(to, {Event::text, std::string(text, static_cast<std::size_t>(size))});
    });

    char block[64];
    for (bool more = true; more;) {
      in.read(block, sizeof block);
      more = in.good();
      const auto status = XML_Parse(parse.parser, block, static_cast<int>(in.gcount()), !more);
      parse.border.rethrow();
      if (status != XML_STATUS_OK)
        throw fiber::ValueError(std::string(XML_ErrorString(XML_GetErrorCode(parse.parser))) +
                                " in line " +
                                std::to_string(XML_GetCurrentLineNumber(parse.parser)));
    }
  };
}

// Reads to the end of the element that has just begun, and returns its text.
std::string element_text(const Events& events) {
  std::string text;
  for (const Event& event : events) {
    if (event.kind == Event::end) break;
    text += event.what;
  }
  return text;
}

int main() {
  std::istringstream orders(
      "<orders><order><item>bread</item><price>3</price></order>"
      "<order><item>butter &amp; jam</item><price>7</price></order>"
      "<order><item>never reached</item><price>0</price></order></orders>");
  int total = 0;
  std::string item;
  for (const Events events = xml_events(orders); const Event& event : events) {
    if (event.kind != Event::start) continue;
    if (event.what == "item") {
      item = element_text(events);
    } else if (event.what == "price") {
      const int price = std::stoi(element_text(events));
      print(item, "costs", price);
      total += price;
    }
    if (total >= 10) break;  // the parser is stopped in its callback, and freed
  }
  print("enough:", total);

  std::istringstream broken("<a>\n<b></a>");
  try {
    for (const Event& event : xml_events(broken))
      if (event.kind == Event::start) print("begins", event.what);
  } catch (const fiber::ValueError& error) {
    print("ValueError:", error.what());
  }
}

// The server of the accept row on the library's streams: one byte for each connection. It prints
// its port.
#include "streams.hpp"

int main() {
  streams::serve([](auto&, auto& writer) {
    writer.write("x");
    writer.close();
  });
}

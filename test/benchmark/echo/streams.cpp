// The echo server on the library's streams: a task for each connection. It prints its port.
#include "streams.hpp"

int main() { streams::serve(streams::echo); }

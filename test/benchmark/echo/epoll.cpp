// The hand-written echo server. It prints its port.
#include "socket.hpp"

int main() { echo::serve(echo::sent_all); }

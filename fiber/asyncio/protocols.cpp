#include <fiber/asyncio/protocols.hpp>

namespace fiber::asyncio {

BaseProtocol::~BaseProtocol() = default;
Protocol::~Protocol() = default;
BufferedProtocol::~BufferedProtocol() = default;
DatagramProtocol::~DatagramProtocol() = default;
SubprocessProtocol::~SubprocessProtocol() = default;

void BaseProtocol::connection_lost(const std::exception_ptr&) {}
void BaseProtocol::pause_writing() {}
void BaseProtocol::resume_writing() {}

void Protocol::connection_made(const Transport&) {}
void Protocol::data_received(std::string_view) {}
bool Protocol::eof_received() { return false; }

void BufferedProtocol::connection_made(const Transport&) {}
bool BufferedProtocol::eof_received() { return false; }

void DatagramProtocol::connection_made(const DatagramTransport&) {}
void DatagramProtocol::datagram_received(std::string_view, const SocketAddress&) {}
void DatagramProtocol::error_received(const std::exception_ptr&) {}

void SubprocessProtocol::connection_made(const SubprocessTransport&) {}
void SubprocessProtocol::pipe_data_received(int, std::string_view) {}
void SubprocessProtocol::pipe_connection_lost(int, const std::exception_ptr&) {}
void SubprocessProtocol::process_exited() {}

}  // namespace fiber::asyncio

#include <fiber/asyncio/stream_protocol.hpp>

#include <fiber/asyncio/failure.hpp>

namespace fiber::asyncio {

StreamReaderProtocol::StreamReaderProtocol(
    const StreamReader& reader, std::function<void(StreamReader&, StreamWriter&)> connected)
    : reader_(&reader.object()), connected_(std::move(connected)) {}

StreamReaderProtocol::~StreamReaderProtocol() { reader_->set_source(nullptr); }

void StreamReaderProtocol::connection_made(const Transport& transport) {
  transport_ = transport;
  reader_->set_source(this);
  if (detail::TransportObject* stream = transport.object().stream())
    stream->fed_by_protocol(*reader_, connected_ != nullptr);
  if (!connected_) return;
  const auto task =
      EventLoop(&reader_->loop())
          .create_task([connected = std::exchange(connected_, nullptr),
                        reader = StreamReader(*reader_),
                        writer = StreamWriter(transport)]() mutable { connected(reader, writer); });
  task.add_done_callback([transport](const Future<>& done) {
    if (!done.cancelled()) {
      const std::exception_ptr error = done.exception();
      if (error == nullptr) return;
      done.get_loop().object().errors().report_failure("Unhandled exception in client_connected_cb",
                                                       {.exception = error});
    }
    transport.close();
  });
}

void StreamReaderProtocol::data_received(std::string_view data) { reader_->feed_data(data); }

bool StreamReaderProtocol::eof_received() {
  reader_->feed_eof();
  return transport_.object().stream()->layer() == nullptr;
}

void StreamReaderProtocol::connection_lost(const std::exception_ptr& error) {
  reader_->set_source(nullptr);
  if (error != nullptr)
    reader_->set_exception(error);
  else
    reader_->feed_eof();
  transport_ = Transport();
}

void StreamReaderProtocol::pause_reading() {
  if (transport_) transport_.pause_reading();
}
void StreamReaderProtocol::resume_reading() {
  if (transport_) transport_.resume_reading();
}

}  // namespace fiber::asyncio

// Our loop as a source of a GLib main context, and so of every program on top of GLib: GTK,
// GStreamer, Qt on Linux.
#pragma once

#include <fiber/asyncio.hpp>
#include <glib-unix.h>

#include <exception>

class GlibHost {
 public:
  explicit GlibHost(GMainContext* context = nullptr) : loop(fiber::asyncio::new_event_loop()) {
    source_ = g_unix_fd_source_new(loop.fileno(), G_IO_IN);
    const GUnixFDSourceFunc ready = [](gint, GIOCondition, gpointer self) -> gboolean {
      static_cast<GlibHost*>(self)->turn();
      return G_SOURCE_CONTINUE;
    };
    g_source_set_callback(source_, G_SOURCE_FUNC(ready), this, nullptr);
    g_source_attach(source_, context);
  }
  GlibHost(const GlibHost&) = delete;
  GlibHost& operator=(const GlibHost&) = delete;
  ~GlibHost() {
    g_source_destroy(source_);
    g_source_unref(source_);
    loop.close();
  }

  int turns() const { return turns_; }

  const fiber::asyncio::EventLoop loop;

 private:
  // Only KeyboardInterrupt and SystemExit leave a turn; no exception may cross GLib's frames.
  void turn() noexcept {
    ++turns_;
    try {
      loop.run_ready();
    } catch (const fiber::SystemExit& exit) {
      std::exit(exit.code());
    } catch (const fiber::KeyboardInterrupt&) {
      std::exit(130);
    }
  }

  GSource* source_;
  int turns_ = 0;
};

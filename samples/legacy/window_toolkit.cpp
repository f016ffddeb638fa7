// window_toolkit: event handlers that wait, in a toolkit that has only callbacks (shown on GLib).
//
// The toolkit owns main, and its handlers must return at once. A handler starts a task; the task
// reads like a program: it asks, waits, shows progress, and can be cancelled by another button.
#include <fiber/asyncio.hpp>
#include <glib.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "../tutorial/support/print.hpp"
#include "support/glib_host.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

// A minimal toolkit: each event is a call from the main loop.
namespace toolkit {

struct Button {
  std::function<void()> on_click;
};

// Makes the main loop call a function of the user's.
void post(std::function<void()> event) {
  g_idle_add(
      [](gpointer posted) -> gboolean {
        const std::unique_ptr<std::function<void()>> called(
            static_cast<std::function<void()>*>(posted));
        (*called)();
        return G_SOURCE_REMOVE;
      },
      new std::function<void()>(std::move(event)));
}

struct Label {
  std::function<void(const std::string&)> on_change;  // an observer of the text
  void set_text(const std::string& text) {
    print("label:", text);
    if (on_change) on_change(text);
  }
};

}  // namespace toolkit

class Window {
 public:
  explicit Window(const asyncio::EventLoop& loop) : loop_(loop) {
    start.on_click = [this] {
      if (job_ && !job_.done()) return label.set_text("busy already");
      job_ = loop_.create_task([this] { export_pages(); });
    };
    cancel.on_click = [this] {
      if (job_) job_.cancel();
    };
  }

  toolkit::Button start, cancel;
  toolkit::Label label;

 private:
  // A function that would otherwise be a chain of callbacks.
  void export_pages() {
    try {
      label.set_text("exporting");
      for (int page = 1; page <= 3; ++page) {
        await(asyncio::to_thread([] { g_usleep(1000); }));  // the work itself
        label.set_text("page " + std::to_string(page));
        await(asyncio::sleep(30ms));
      }
      label.set_text("exported");
    } catch (const asyncio::CancelledError&) {
      label.set_text("given up");
      throw;
    }
  }

  asyncio::EventLoop loop_;
  asyncio::Task<void> job_;
};

int main() {
  GMainLoop* main_loop = g_main_loop_new(nullptr, FALSE);
  {
    GlibHost host;
    Window window(host.loop);

    // The user.
    const auto click = [](const char* name, toolkit::Button& button) {
      toolkit::post([&button, name] {
        print("click:", name);
        button.on_click();
      });
    };
    int runs = 0;
    window.label.on_change = [&](const std::string& text) {
      if (text == "exporting") ++runs;
      if (text == "page 1" && runs == 1) click("start", window.start);
      if (text == "page 2" && runs == 1) click("cancel", window.cancel);
      if (text == "given up") click("start", window.start);
      if (text == "exported") g_main_loop_quit(main_loop);
    };
    click("start", window.start);

    g_main_loop_run(main_loop);
  }
  g_main_loop_unref(main_loop);
}

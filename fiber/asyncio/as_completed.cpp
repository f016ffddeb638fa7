#include <fiber/asyncio/as_completed.hpp>

namespace fiber::asyncio::detail {

CompletionOrder::CompletionOrder(LoopObject& loop, const std::vector<FutureRef>& futures,
                                 const time_limit& timeout)
    : LoopDependent(loop), nodes_(core::make_owner<Node[]>(futures.size())) {
  for (const FutureRef& future : futures) {
    check_loop(future.base(), loop);
    // Its callback could not be queued: fails before any future has a node.
    if (loop.gone() && future.base().done()) loop.check_closed();
  }
  reserve_items(done_, futures.size());
  for (const FutureRef& future : futures) {
    FutureBase& base = future.base();
    if (base.marked) continue;
    base.marked = true;
    Node& node = nodes_[node_count_++];
    node.order = this;
    node.wanted = future;
    node.run = &CompletionOrder::on_done;
    node.drop = &CompletionOrder::on_drop;
  }
  todo_ = left_ = node_count_;
  for (std::size_t i = 0; i < node_count_; ++i) nodes_[i].wanted.base().marked = false;
  loop.ready_queue().claim(node_count_);
  if (todo_ != 0 && timeout.value()) {
    try {
      timeout_ = EventLoop(&loop).call_later(*timeout.value(), [this] { on_timeout(); });
    } catch (...) {
      loop.ready_queue().give_back(node_count_);
      throw;
    }
  }
  for (std::size_t i = 0; i < node_count_; ++i) {
    FutureBase& base = nodes_[i].wanted.base();
    base.add_or_schedule_claimed(&nodes_[i]);
    if (++registered_ == 1) retain();
  }
}

CompletionOrder::~CompletionOrder() { timeout_.cancel(); }

bool CompletionOrder::take() noexcept {
  if (left_ == 0) return false;
  --left_;
  return true;
}

FutureRef CompletionOrder::wait_for_one() {
  FutureRef future = await(done_.get());
  if (!future) throw TimeoutError();
  return future;
}

void CompletionOrder::on_done(Leaf* leaf) noexcept {
  auto* node = static_cast<Node*>(leaf);
  node->queued = false;
  CompletionOrder* order = node->order;
  if (order->todo_ != 0) {
    order->done_.put_nowait(std::move(node->wanted));
    if (--order->todo_ == 0) order->timeout_.cancel();
  } else {  // the time was up first
    node->wanted = FutureRef();
  }
  order->nodes_over(1);
}

void CompletionOrder::on_drop(LeafCallback* leaf) noexcept {
  static_cast<Node*>(leaf)->order->nodes_over(1);
}

void CompletionOrder::on_timeout() {
  const core::Ref<CompletionOrder> held(this);
  timeout_ = Handle();
  remove_callbacks();
  for (; todo_ != 0; --todo_) done_.put_nowait(FutureRef());
}

void CompletionOrder::remove_callbacks() noexcept {
  std::size_t removed = 0;
  for (std::size_t i = 0; i < node_count_; ++i) {
    Node& node = nodes_[i];
    if (node.future == nullptr) continue;
    node.future->remove(&node);
    node.wanted = FutureRef();
    ++removed;
  }
  nodes_over(removed);
}

void CompletionOrder::nodes_over(std::size_t count) noexcept {
  if (count == 0) return;
  registered_ -= count;
  if (registered_ == 0) release();
}

void CompletionOrder::loop_closed() noexcept {
  const core::Ref<CompletionOrder> held(this);
  timeout_ = Handle();
  remove_callbacks();
}

}  // namespace fiber::asyncio::detail

#include <fiber/asyncio/combinators.hpp>

#include <fiber/asyncio/cancellation.hpp>

#include <memory>
#include <unordered_set>

namespace fiber::asyncio::detail {

void withdraw(const FutureRef& task) noexcept {
  if (!task) return;
  auto& its = static_cast<TaskBase&>(task.base());
  if (its.done() || its.has_started()) return;
  its.log_destroy_pending = false;
  its.cancel_again({});
  its.destroy_callable();
}

// --- gather -------------------------------------------------------------------------------------

GatherBase::~GatherBase() = default;

void GatherBase::start(std::vector<FutureRef>& children) {
  for (const FutureRef& child : children) check_loop(child.base(), *loop());
  nodes_ = core::make_owner<Node[]>(children.size());
  if (children.empty()) {
    collect();
    finish();
    return;
  }
  claim(children.size());
  children_ = std::move(children);
  for (std::size_t i = 0; i < children_.size(); ++i) {
    FutureBase& child = children_[i].base();
    if (child.marked) continue;  // given twice: counts once, and appears twice
    child.marked = true;
    ++waited_for_;
    if (!child.done()) listen(i);
  }
  loop()->ready_queue().give_back(children_.size() - registered_);
  for (const FutureRef& each : children_) {
    FutureBase& child = each.base();
    if (std::exchange(child.marked, false) && child.done()) child_done(child);
  }
}

void GatherBase::listen(std::size_t index) noexcept {
  Node& node = nodes_[index];
  FutureBase& child = children_[index].base();
  node.gather = this;
  node.child = &child;
  node.run = &GatherBase::on_child;
  node.drop = &GatherBase::on_drop;
  node.dependent = [](const LeafCallback& leaf) noexcept -> FutureBase* {
    return static_cast<const Node&>(leaf).gather;
  };
  child.add(&node);
  if (++registered_ == 1) retain();
}

void GatherBase::node_over() noexcept {
  if (--registered_ == 0) release();
}

void GatherBase::on_child(Leaf* leaf) noexcept {
  auto* node = static_cast<Node*>(leaf);
  node->queued = false;
  node->gather->child_done(*node->child);
  node->gather->node_over();
}

void GatherBase::on_drop(LeafCallback* leaf) noexcept {
  static_cast<Node*>(leaf)->gather->node_over();
}

// Children that are still pending hold callbacks, and these hold the gather: end it here.
void GatherBase::loop_closed() noexcept {
  retain();
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (nodes_[i].future == nullptr) continue;
    nodes_[i].future->remove(&nodes_[i]);
    node_over();
  }
  release();
}

void GatherBase::child_done(FutureBase& child) noexcept {
  ++finished_;
  if (done()) {
    child.set_log_traceback(false);
    return;
  }
  try {
    if (!return_exceptions_) {
      // An exception, CancelledError, in place of the cancelled state: as in Python.
      if (child.cancelled()) {
        store_exception(child.make_cancelled_error());
        complete(FutureState::finished);
        return;
      }
      child.set_log_traceback(false);
      if (child.peek_exception()) {
        store_exception(child.peek_exception());
        complete(FutureState::finished);
        return;
      }
    }
    if (finished_ < waited_for_) return;
    if (return_exceptions_)
      for (const FutureRef& each : children_) each.base().set_log_traceback(false);
    if (cancel_requested_) {
      store_exception(children_.back().base().make_cancelled_error());
      complete(FutureState::finished);
      return;
    }
    collect();
    finish();
  } catch (...) {  // a result that cannot be copied or moved
    store_exception(std::current_exception());
    complete(FutureState::finished);
  }
}

bool GatherBase::cancel(std::string message) {
  return !done() && Cancellation(message).cancel(*this);
}

bool GatherInTurn::wanted() noexcept {
  const LoopObject* loop = asyncio_thread().running;
  return loop != nullptr && loop->tasks().factory() != nullptr;
}

struct GatherInTurn::Seen {
  std::unordered_set<const FutureBase*> children;
};

GatherInTurn::GatherInTurn(Make make, std::size_t count) noexcept : make_(make), count_(count) {}

GatherInTurn::~GatherInTurn() {
  if (finished_) return;
  if (gather_ != nullptr) gather_->cancel_now({});
  for (const FutureRef& task : made_) withdraw(task);
}

void GatherInTurn::begin(LoopObject* loop) {
  GatherBase* made = make_(loop);
  held_ = FutureRef(made);
  made->children_.reserve(count_);
  made->nodes_ = core::make_owner<GatherBase::Node[]>(count_);
  made->waited_for_ = count_;
  made_.reserve(count_);
  gather_ = made;
}

void GatherInTurn::add(FutureRef child, bool made) try {
  if (gather_ == nullptr) begin(child.base().loop());
  if (made) made_.push_back(child);  // there is room
  add_seen(child);
} catch (...) {
  if (made) withdraw(child);
  throw;
}

void GatherInTurn::add_seen(FutureRef child) {
  FutureBase& base = child.base();
  check_loop(base, *gather_->loop());
  const bool pending = !base.done();
  if (seen_ == nullptr) seen_ = core::make_owner<Seen>();
  if (!seen_->children.insert(&base).second) {
    --gather_->waited_for_;  // given twice: counts once, and appears twice
    gather_->children_.push_back(std::move(child));
    return;
  }
  if (pending)
    base.claim();
  else
    done_.push_back(&base);
  gather_->children_.push_back(std::move(child));  // there is room
  if (pending) gather_->listen(gather_->children_.size() - 1);
}

FutureBase* GatherInTurn::finish() {
  finished_ = true;
  made_.clear();  // the results may be moved out of tasks that only the gather holds
  for (FutureBase* child : done_) gather_->child_done(*child);
  return gather_;
}

namespace {

class GatherUntyped final : public GatherBase {
 public:
  explicit GatherUntyped(LoopObject* loop) : GatherBase(loop, true) {}

 private:
  void collect() override {}
};

}  // namespace

Future<> gather_untyped(std::vector<FutureRef> children) {
  LoopObject* loop = children.front().base().loop();
  auto* gather = new GatherUntyped(loop);
  Future<> handle(gather);
  gather->start(children);
  return handle;
}

// --- wait ---------------------------------------------------------------------------------------

namespace {

// The state of a wait. Lives until the wait is over and every callback that was already queued has
// run.
struct WaitBlock {
  struct Node : LeafCallback {
    WaitBlock* block = nullptr;
    FutureBase* future = nullptr;
  };
  struct Timer : TimerNode, Leaf {
    WaitBlock* block = nullptr;
  };

  explicit WaitBlock(LoopObject* loop) : waiter(loop) { waiter.retain(); }

  void release() {
    if (!waiter.done()) waiter.finish();
  }
  static void on_done(Leaf* leaf) noexcept {
    auto* node = static_cast<Node*>(leaf);
    node->queued = false;
    WaitBlock* block = node->block;
    --block->left;
    FutureBase& future = *node->future;
    bool failed = false;
    if (block->left != 0 && block->return_when == FIRST_EXCEPTION && !future.cancelled() &&
        future.peek_exception()) {
      future.set_log_traceback(false);
      failed = true;
    }
    if (block->over) {
      block->node_over();
    } else if (block->left == 0 || block->return_when == FIRST_COMPLETED || failed) {
      block->waiter.loop()->remove_timer(&block->timer);
      block->release();
    }
  }
  static void on_drop(LeafCallback* leaf) noexcept {
    WaitBlock* block = static_cast<Node*>(leaf)->block;
    if (block->over) block->node_over();
  }
  void node_over() noexcept {
    if (--still_queued == 0) delete this;
  }
  static void on_timeout(Leaf* leaf) noexcept { static_cast<Timer*>(leaf)->block->release(); }

  FutureBase waiter;
  std::vector<FutureRef> futures;
  std::unique_ptr<Node[]> nodes;
  Timer timer;
  std::size_t left = 0;
  std::size_t still_queued = 0;
  ReturnWhen return_when = ALL_COMPLETED;
  bool over = false;
};

void end_wait(WaitBlock* block) noexcept {
  block->waiter.loop()->remove_timer(&block->timer);
  block->over = true;
  for (std::size_t i = 0; i < block->futures.size(); ++i) {
    WaitBlock::Node& node = block->nodes[i];
    if (node.queued)
      ++block->still_queued;
    else if (node.Callback::future != nullptr)
      node.Callback::future->remove(&node);
  }
  if (block->still_queued == 0) delete block;
}

}  // namespace

void wait_for_any(std::vector<FutureBase*>& futures, const std::optional<nanoseconds>& timeout,
                  ReturnWhen return_when) {
  if (futures.empty()) throw ValueError("Set of Tasks/Futures is empty.");
  TaskBase& task = task_for_await();
  LoopObject* loop = task.loop();
  for (const FutureBase* future : futures) check_loop(*future, *loop);
  auto owned = std::make_unique<WaitBlock>(loop);
  WaitBlock* block = owned.get();
  block->return_when = return_when;
  // Everything that needs memory comes first.
  block->futures.reserve(futures.size());
  block->nodes = std::make_unique<WaitBlock::Node[]>(futures.size());
  if (loop->gone()) loop->check_closed();
  std::erase_if(futures, [](FutureBase* future) { return std::exchange(future->marked, true); });
  for (FutureBase* future : futures) future->marked = false;
  block->left = futures.size();
  struct Claimed {
    LoopObject* loop;
    std::size_t left;
    ~Claimed() { loop->ready_queue().give_back(left); }
  } claimed{loop, 0};
  loop->ready_queue().claim(futures.size());
  claimed.left = futures.size();
  if (timeout) {
    block->timer.block = block;
    block->timer.run = &WaitBlock::on_timeout;
    block->timer.when = deadline_after(loop->now(), timeout->count());
    block->timer.entry = Entry(static_cast<Leaf*>(&block->timer));
    loop->add_timer(&block->timer);
  }
  static_cast<void>(owned.release());  // end_wait() takes it over
  struct End {
    WaitBlock* block;
    ~End() { end_wait(block); }
  } end{block};
  for (std::size_t i = 0; i < futures.size(); ++i) {
    block->futures.emplace_back(futures[i]);
    WaitBlock::Node& node = block->nodes[i];
    node.block = block;
    node.future = futures[i];
    node.run = &WaitBlock::on_done;
    node.drop = &WaitBlock::on_drop;
    node.dependent = [](const LeafCallback& leaf) noexcept -> FutureBase* {
      return &static_cast<const WaitBlock::Node&>(leaf).block->waiter;
    };
    --claimed.left;
    futures[i]->add_or_schedule_claimed(&node);
  }
  task.wait(&block->waiter);
  block->waiter.check_result();
}

namespace {

struct Release : LeafCallback {
  explicit Release(LoopObject* loop) : waiter(loop) {
    waiter.retain();
    run = &Release::end_wait;
    drop = [](LeafCallback*) noexcept {};
    dependent = [](const LeafCallback& leaf) noexcept -> FutureBase* {
      return &const_cast<Release&>(static_cast<const Release&>(leaf)).waiter;
    };
  }
  static void end_wait(Leaf* leaf) noexcept {
    auto* self = static_cast<Release*>(leaf);
    self->queued = false;
    if (!self->waiter.done()) self->waiter.finish();
  }
  FutureBase waiter;
};

}  // namespace

void cancel_and_wait(FutureBase& future) {
  TaskBase& task = task_for_await();
  check_loop(future, *task.loop());  // in another loop its callbacks would run there, or never
  auto release = std::make_unique<Release>(task.loop());
  future.add_or_schedule(release.get());
  struct Remove {
    std::unique_ptr<Release>& release;
    ~Remove() {
      if (release->future != nullptr) release->future->remove(release.get());
      // A callback that is queued but has not run must stay; it finds its waiter done.
      if (release->queued) {
        release->run = [](Leaf* leaf) noexcept { delete static_cast<Release*>(leaf); };
        release->drop = [](LeafCallback* leaf) noexcept { delete static_cast<Release*>(leaf); };
        static_cast<void>(release.release());
      }
    }
  } remove{release};
  future.cancel({});
  task.wait(&release->waiter);
  release->waiter.check_result();
}

// --- shield -------------------------------------------------------------------------------------

ShieldBase::ShieldBase(LoopObject* loop, FutureRef inner) noexcept
    : FutureBase(loop), LoopDependent(*loop), inner_(std::move(inner)) {
  inner_node_.shield = this;
  inner_node_.run = &ShieldBase::on_inner;
  inner_node_.drop = &ShieldBase::on_drop;
  inner_node_.dependent = [](const LeafCallback& leaf) noexcept -> FutureBase* {
    return static_cast<const Node&>(leaf).shield;
  };
  outer_node_.shield = this;
  outer_node_.run = &ShieldBase::on_outer;
  outer_node_.drop = &ShieldBase::on_drop;
}

ShieldBase::~ShieldBase() = default;

void ShieldBase::start() {
  claim(2);
  inner_.base().add(&inner_node_);
  add(&outer_node_);
  retain();  // for the inner future's callback
  retain();  // for our own
}

void ShieldBase::on_drop(LeafCallback* leaf) noexcept {
  static_cast<Node*>(leaf)->shield->release();
}

void ShieldBase::loop_closed() noexcept {
  retain();
  for (Node* node : {&inner_node_, &outer_node_}) {
    if (node->future == nullptr) continue;
    node->future->remove(node);
    release();
  }
  release();
}

void ShieldBase::on_inner(Leaf* leaf) noexcept {
  auto* node = static_cast<Node*>(leaf);
  node->queued = false;
  ShieldBase* shield = node->shield;
  FutureBase& inner = shield->inner_.base();
  if (shield->done()) {
    inner.set_log_traceback(false);
  } else if (inner.cancelled()) {
    shield->cancel({});
  } else if (inner.peek_exception()) {
    inner.set_log_traceback(false);
    shield->end_with(inner.peek_exception());
  } else {
    try {
      shield->copy_result(inner);
      shield->finish();
    } catch (...) {
      shield->end_with(std::current_exception());
    }
  }
  shield->release();
}

void ShieldBase::on_outer(Leaf* leaf) noexcept {
  auto* node = static_cast<Node*>(leaf);
  node->queued = false;
  ShieldBase* shield = node->shield;
  if (shield->inner_node_.future != nullptr) {
    shield->inner_.base().remove(&shield->inner_node_);
    shield->release();
  }
  // The inner future's outcome is not needed any more: a failure has no taker now.
  if (!shield->inner_node_.queued) shield->inner_ = FutureRef();
  shield->release();
}

}  // namespace fiber::asyncio::detail

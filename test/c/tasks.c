#include "scenarios.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static int counts(void* argument, void** result) {
  (void)result;
  for (int i = 0; i < 2; ++i) {
    note("%s %d", (const char*)argument, i);
    int status = fiber_sleep(0);
    if (status != FIBER_OK) return status;
  }
  return FIBER_OK;
}

static int spawns_two(void* argument, void** result) {
  (void)argument;
  fiber_future *a = NULL, *b = NULL;
  fiber_spawn(&a, counts, "a", "task a");
  fiber_spawn(&b, counts, "b", NULL);
  note("main waits");
  note("a %d", fiber_await(a, FIBER_NO_LIMIT, NULL));
  note("b %d", fiber_await(b, FIBER_NO_LIMIT, NULL));
  note("in a task: run %d", fiber_run(counts, NULL, NULL));
  fiber_future_unref(a);
  fiber_future_unref(b);
  *result = "all done";
  return FIBER_OK;
}

void tasks_take_turns(void) {
  void* result = NULL;
  int status = fiber_run(spawns_two, NULL, &result);
  note("run %d %s", status, (const char*)result);
}

static int returns_pointer(void* argument, void** result) {
  *result = argument;
  return FIBER_OK;
}
static int returns_seven(void* argument, void** result) {
  (void)argument;
  (void)result;
  return 7;
}

static int awaits_results(void* argument, void** result) {
  (void)argument;
  (void)result;
  fiber_future *good = NULL, *bad = NULL;
  void* received = NULL;
  fiber_spawn(&good, returns_pointer, "pointer", NULL);
  fiber_spawn(&bad, returns_seven, NULL, NULL);
  note("not yet %d, done %d", fiber_future_result(good, NULL), fiber_future_done(good));
  note("await %d", fiber_await(good, FIBER_NO_LIMIT, &received));
  note("result %s", (const char*)received);
  const int status = fiber_await(bad, FIBER_NO_LIMIT, NULL);
  note("await %d: %s", status, fiber_last_error());
  note("done %d, result %d", fiber_future_done(bad), fiber_future_result(bad, NULL));
  note("a task's result is its own: %d", fiber_future_set_result(good, NULL));
  fiber_future_unref(good);
  fiber_future_unref(bad);
  return 8;
}

void a_task_returns(void) { note("run %d", fiber_run(awaits_results, NULL, NULL)); }

static int sleeps_long(void* argument, void** result) {
  (void)argument;
  (void)result;
  int status = fiber_sleep(3600 * FIBER_SECOND);
  note("woken: %s", fiber_strerror(status));
  return status;
}

static int cancels(void* argument, void** result) {
  (void)argument;
  (void)result;
  fiber_future* task = NULL;
  fiber_spawn(&task, sleeps_long, NULL, NULL);
  fiber_sleep(0);
  note("cancel %d", fiber_future_cancel(task));
  note("await %d", fiber_await(task, FIBER_NO_LIMIT, NULL));
  note("cancelled %d", fiber_future_cancelled(task));
  note("cancel %d", fiber_future_cancel(task));
  fiber_future_unref(task);
  fiber_spawn(NULL, sleeps_long, NULL, NULL);
  return fiber_sleep(0);
}

void a_task_is_cancelled(void) { note("run %d", fiber_run(cancels, NULL, NULL)); }

static void told(void* argument) { note("told %s", (const char*)argument); }

static int sets_result(void* argument, void** result) {
  (void)result;
  note("sets %d", fiber_future_set_result(argument, "answer"));
  note("sets %d", fiber_future_set_result(argument, "another"));
  return FIBER_OK;
}

static int awaits_future(void* argument, void** result) {
  (void)argument;
  (void)result;
  fiber_future* future = NULL;
  void* received = NULL;
  fiber_future_new(&future);
  fiber_future_on_done(future, told, "it is done");
  fiber_spawn(NULL, sets_result, future, NULL);
  note("await %d", fiber_await(future, FIBER_NO_LIMIT, &received));
  note("%s", (const char*)received);
  fiber_future_unref(future);

  fiber_future_new(&future);
  note("set status %d", fiber_future_set_status(future, 9));
  note("await %d", fiber_await(future, FIBER_NO_LIMIT, NULL));
  fiber_future* same = fiber_future_ref(future);
  fiber_future_unref(future);
  note("result %d", fiber_future_result(same, NULL));
  fiber_future_unref(same);
  return FIBER_OK;
}

void a_future_is_awaited(void) { note("run %d", fiber_run(awaits_future, NULL, NULL)); }

static int has_limits(void* argument, void** result) {
  (void)argument;
  (void)result;
  fiber_future* task = NULL;
  fiber_spawn(&task, sleeps_long, NULL, NULL);
  note("await %d", fiber_await(task, FIBER_MILLISECOND, NULL));
  note("cancelled %d", fiber_future_cancelled(task));
  fiber_future_unref(task);
  fiber_spawn(&task, returns_pointer, NULL, NULL);
  note("await %d", fiber_await(task, 3600 * FIBER_SECOND, NULL));
  fiber_future_unref(task);
  return FIBER_OK;
}

void limits(void) { note("run %d", fiber_run(has_limits, NULL, NULL)); }

static int writes(void* argument, void** result) {
  (void)result;
  fiber_sleep(FIBER_MILLISECOND);
  note("writes %d", (int)write(*(int*)argument, "x", 1));
  return FIBER_OK;
}

static int waits_for_pipe(void* argument, void** result) {
  (void)result;
  int* ends = argument;
  int ready = -1;
  note("limit: %d", fiber_wait_fd(ends[0], FIBER_READABLE, FIBER_MILLISECOND, &ready));
  note("ready %d", ready);
  fiber_spawn(NULL, writes, &ends[1], NULL);
  note("wait %d", fiber_wait_fd(ends[0], FIBER_READABLE, FIBER_NO_LIMIT, &ready));
  note("ready %d", ready);
  note("wait %d", fiber_wait_fd(ends[1], FIBER_WRITABLE, FIBER_NO_LIMIT, &ready));
  note("ready %d", ready);
  note("no event %d", fiber_wait_fd(ends[0], 0, FIBER_NO_LIMIT, NULL));
  note("no descriptor %d", fiber_wait_fd(-1, FIBER_READABLE, FIBER_NO_LIMIT, NULL));
  int closed = dup(ends[0]);
  close(closed);
  errno = 0;
  int status = fiber_wait_fd(closed, FIBER_READABLE, FIBER_NO_LIMIT, NULL);
  note("closed %d, errno %s", status, errno == EBADF ? "EBADF" : strerror(errno));
  return FIBER_OK;
}

void descriptors(void) {
  int ends[2];
  if (pipe(ends) != 0) return;
  note("run %d", fiber_run(waits_for_pipe, ends, NULL));
  close(ends[0]);
  close(ends[1]);
}

static int waits_to_read(void* argument, void** result) {
  int* ends = argument;
  int ready = 0;
  char byte = 0;
  int status = fiber_wait_fd(ends[0], FIBER_READABLE, FIBER_NO_LIMIT, &ready);
  note("wait %d, ready %d", status, ready);
  if (status == FIBER_OK) note("read %d", (int)read(ends[0], &byte, 1));
  (void)result;
  return status;
}

static int several_wait(void* argument, void** result) {
  (void)result;
  int* ends = argument;
  fiber_future* tasks[3] = {NULL};
  for (int i = 0; i < 3; ++i) fiber_spawn(&tasks[i], waits_to_read, ends, NULL);
  fiber_sleep(0);
  fiber_future_cancel(tasks[1]);
  fiber_sleep(FIBER_MILLISECOND);
  note("writes %d", (int)write(ends[1], "xy", 2));
  for (int i = 0; i < 3; ++i) {
    note("task %d: %d", i, fiber_await(tasks[i], FIBER_NO_LIMIT, NULL));
    fiber_future_unref(tasks[i]);
  }
  return FIBER_OK;
}

void several_tasks_wait_for_a_descriptor(void) {
  int ends[2];
  if (pipe(ends) != 0) return;
  note("run %d", fiber_run(several_wait, ends, NULL));
  close(ends[0]);
  close(ends[1]);
}

struct posted {
  fiber_loop* loop;
  fiber_future* future;
};

static void end_future(void* argument) { fiber_future_set_result(argument, "from another thread"); }

static void* posts(void* argument) {
  struct posted* its = argument;
  note("post %d", fiber_loop_post(its->loop, end_future, its->future));
  fiber_loop_unref(its->loop);
  return NULL;
}

static void* blocks(void* argument) {
  poll(NULL, 0, 1);
  return argument;
}

static int uses_threads(void* argument, void** result) {
  (void)argument;
  (void)result;
  struct posted its = {fiber_loop_running(), NULL};
  fiber_future_new(&its.future);
  pthread_t thread;
  pthread_create(&thread, NULL, posts, &its);
  void* received = NULL;
  int status = fiber_await(its.future, FIBER_NO_LIMIT, &received);
  pthread_join(thread, NULL);
  note("await %d, %s", status, (const char*)received);
  fiber_future_unref(its.future);
  status = fiber_to_thread(blocks, "blocked elsewhere", &received);
  note("to_thread %d, %s", status, (const char*)received);
  return FIBER_OK;
}

void threads(void) { note("run %d", fiber_run(uses_threads, NULL, NULL)); }

void a_loop_in_a_loop(void) {
  fiber_loop* loop = NULL;
  fiber_future *task = NULL, *future = NULL;
  note("new %d", fiber_loop_new(&loop));
  struct pollfd watched = {fiber_loop_fileno(loop), POLLIN, 0};
  note("timeout %d, ready %d", fiber_loop_poll_timeout(loop), poll(&watched, 1, 0));
  fiber_loop_future_new(loop, &future);
  fiber_loop_spawn(loop, &task, counts, "in the host", NULL);
  note("timeout %d, ready %d", fiber_loop_poll_timeout(loop), poll(&watched, 1, 0));
  while (!fiber_future_done(task)) {
    poll(&watched, 1, -1);
    fiber_loop_run_ready(loop);
  }
  note("done");
  fiber_future_unref(task);
  fiber_future_unref(future);
  note("close %d", fiber_loop_close(loop));
  note("fileno %d", fiber_loop_fileno(loop));
  note("post %d", fiber_loop_post(loop, told, NULL));
  fiber_loop_unref(loop);
}

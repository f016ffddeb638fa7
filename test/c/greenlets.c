#include "scenarios.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char* text(void* pointer) { return pointer != NULL ? pointer : "NULL"; }

static int echo(void* argument, void** value) {
  note("%s got %s", (const char*)argument, text(*value));
  for (int i = 0; i < 2; ++i) {
    void* received = NULL;
    int status = fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()),
                                       i == 0 ? "one" : "two", &received);
    note("%s got %s, status %d", (const char*)argument, text(received), status);
    if (status != FIBER_OK) return status;
  }
  *value = "result";
  return FIBER_OK;
}

void values_go_both_ways(void) {
  fiber_greenlet* g = NULL;
  note("new %d", fiber_greenlet_new(&g, echo, "g", NULL));
  const char* sent[] = {"a", "b", "c", "d"};
  for (int i = 0; i < 4; ++i) {
    void* received = NULL;
    int status = fiber_greenlet_switch(g, (void*)sent[i], &received);
    note("received %s, status %d, dead %d", text(received), status, fiber_greenlet_dead(g));
  }
  note("nobody looks: %d", fiber_greenlet_switch(g, NULL, NULL));
  fiber_greenlet_unref(g);
}

static int fails(void* argument, void** value) {
  (void)value;
  return *(int*)argument;
}

static int waits(void* argument, void** value) {
  (void)value;
  int status = fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), NULL, NULL);
  note("%s was told %d: %s", (const char*)argument, status, fiber_strerror(status));
  return status;
}

void statuses_go_up_and_down(void) {
  int codes[] = {7, FIBER_INVALID, FIBER_ERROR, FIBER_TIMEOUT, -99};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; ++i) {
    fiber_greenlet* g = NULL;
    fiber_greenlet_new(&g, fails, &codes[i], NULL);
    note("ended with %d", fiber_greenlet_switch(g, NULL, NULL));
    fiber_greenlet_unref(g);
  }
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, waits, "g", NULL);
  note("begins %d", fiber_greenlet_switch(g, NULL, NULL));
  note("thrown %d", fiber_greenlet_throw(g, 42, NULL));
  note("dead %d", fiber_greenlet_dead(g));
  note("a dead one passes it on: %d", fiber_greenlet_throw(g, 43, NULL));
  fiber_greenlet_unref(g);

  fiber_greenlet_new(&g, waits, "never runs", NULL);
  note("not started: %d", fiber_greenlet_throw(g, 44, NULL));
  note("dead %d", fiber_greenlet_dead(g));
  fiber_greenlet_unref(g);
}

static int holds(void* argument, void** value) {
  (void)argument;
  (void)value;
  char* held = malloc(10);
  int status = fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), NULL, NULL);
  note("told %s, frees", fiber_strerror(status));
  free(held);
  return status;
}

void a_killed_greenlet_cleans_up(void) {
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, holds, NULL, NULL);
  note("not started: killed %d", fiber_greenlet_kill(g));
  note("dead %d", fiber_greenlet_dead(g));
  fiber_greenlet_unref(g);

  fiber_greenlet_new(&g, holds, NULL, NULL);
  fiber_greenlet_switch(g, NULL, NULL);
  note("active %d", fiber_greenlet_active(g));
  note("killed %d", fiber_greenlet_kill(g));
  note("active %d, dead %d", fiber_greenlet_active(g), fiber_greenlet_dead(g));
  note("killed again %d", fiber_greenlet_kill(g));
  fiber_greenlet_unref(g);
  note("itself: %d", fiber_greenlet_kill(fiber_greenlet_current()));
}

void an_unreferenced_greenlet_is_killed(void) {
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, holds, NULL, NULL);
  fiber_greenlet_switch(g, NULL, NULL);
  fiber_greenlet* same = fiber_greenlet_ref(g);
  fiber_greenlet_unref(g);
  note("one reference is left");
  fiber_greenlet_unref(same);
  note("none");
  fiber_greenlet_unref(NULL);
}

static int stubborn(void* argument, void** value) {
  (void)argument;
  (void)value;
  for (int told = 0; told < 1;) {
    int status = fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), NULL, NULL);
    note("told %s", fiber_strerror(status));
    if (status != FIBER_OK) ++told;
  }
  return fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), NULL, NULL);
}

void a_greenlet_that_refuses_to_end(void) {
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, stubborn, NULL, NULL);
  fiber_greenlet_switch(g, NULL, NULL);
  int status = fiber_greenlet_kill(g);
  note("killed: %d, %s", status, fiber_last_error());
  note("killed: %d", fiber_greenlet_kill(g));
  fiber_greenlet_unref(g);
}

static int knows(void* argument, void** value) {
  fiber_greenlet* self = fiber_greenlet_current();
  note("itself %d, its parent %d", self == *value, fiber_greenlet_parent(self) == argument);
  note("data %s", text(fiber_greenlet_data(self)));
  note("uses its stack %d", fiber_greenlet_stack_used(self) > 0);
  return FIBER_OK;
}

void what_a_greenlet_knows(void) {
  fiber_greenlet* main_greenlet = fiber_greenlet_current();
  note("main has a parent %d", fiber_greenlet_parent(main_greenlet) != NULL);
  note("main's stack %zu", fiber_greenlet_stack_size(main_greenlet));
  fiber_greenlet_options options = {.size = sizeof options, .stack_size = 100000, .name = "worker"};
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, knows, main_greenlet, &options);
  note("data %s", text(fiber_greenlet_data(g)));
  fiber_greenlet_set_data(g, "mine");
  char name[4];
  note("name of %zu: %s", fiber_greenlet_name(g, name, sizeof name), name);
  fiber_greenlet_set_name(g, "w");
  note("name of %zu: %s", fiber_greenlet_name(g, name, sizeof name), name);
  note("length alone %zu", fiber_greenlet_name(g, NULL, 0));
  note("stack of %zu", fiber_greenlet_stack_size(g));
  note("status %d", fiber_greenlet_switch(g, g, NULL));
  note("set parent %d", fiber_greenlet_set_parent(g, main_greenlet));
  fiber_greenlet_unref(g);
}

void invalid_calls(void) {
  fiber_greenlet* g = NULL;
  note("no body %d", fiber_greenlet_new(&g, NULL, NULL, NULL));
  note("says %s", fiber_last_error());
  note("no place %d", fiber_greenlet_new(NULL, echo, NULL, NULL));
  note("switch %d", fiber_greenlet_switch(NULL, NULL, NULL));
  note("says %s", fiber_last_error());
  note("kill %d", fiber_greenlet_kill(NULL));
  note("dead %d", fiber_greenlet_dead(NULL));
  note("data %d", fiber_greenlet_set_data(NULL, NULL));
  char name[4] = "old";
  note("name of %zu: %s", fiber_greenlet_name(NULL, name, sizeof name), name);
  fiber_greenlet_new(&g, echo, "never runs", NULL);
  note("throw nothing %d", fiber_greenlet_throw(g, FIBER_OK, NULL));
  note("its own parent %d", fiber_greenlet_set_parent(g, g));
  fiber_greenlet_unref(g);
  note("sleep %d", fiber_sleep(0));
  note("says %s", fiber_last_error());
  note("spawn %d", fiber_spawn(NULL, echo, NULL, NULL));
  note("await %d", fiber_await(NULL, FIBER_NO_LIMIT, NULL));
  note("loop %d", fiber_loop_running() != NULL);
  note("post %d", fiber_loop_post(NULL, free, NULL));
  note("%s", fiber_strerror(-1000));
}

static void* meddles(void* argument) {
  note("switch %d", fiber_greenlet_switch(argument, NULL, NULL));
  note("says %s", fiber_strerror(FIBER_WRONG_THREAD));
  note("throw %d", fiber_greenlet_throw(argument, 1, NULL));
  note("kill %d", fiber_greenlet_kill(argument));
  fiber_greenlet_unref(fiber_greenlet_ref(argument));
  fiber_greenlet_unref(argument);
  return NULL;
}

void another_threads_greenlet(void) {
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, holds, NULL, NULL);
  fiber_greenlet_switch(g, NULL, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, meddles, fiber_greenlet_ref(g));
  pthread_join(thread, NULL);
  note("active %d", fiber_greenlet_active(g));
  note("killed %d", fiber_greenlet_kill(g));
  fiber_greenlet_unref(g);
}

void old_options(void) {
  /* Sent by a program that was compiled when the stack size was the only option. */
  struct {
    size_t size, stack_size;
    const char* not_a_name;
  } old = {2 * sizeof(size_t), 65536, (const char*)1};
  fiber_greenlet* g = NULL;
  note("new %d", fiber_greenlet_new(&g, echo, "old", (const fiber_greenlet_options*)(void*)&old));
  note("stack of %zu, name of %zu", fiber_greenlet_stack_size(g), fiber_greenlet_name(g, NULL, 0));
  fiber_greenlet_unref(g);
}

void options_without_size(void) {
  fiber_greenlet* g = NULL;
  const fiber_greenlet_options forgotten = {.stack_size = 1 << 20};
  const int status = fiber_greenlet_new(&g, echo, "g", &forgotten);
  note("new %d: %s", status, fiber_last_error());
  note("made %d", g != NULL);
}

static int tells_size(void* argument, void** value) {
  (void)argument;
  (void)value;
  note("stack of %zu KiB", fiber_greenlet_stack_size(fiber_greenlet_current()) / 1024);
  return FIBER_OK;
}

void sizes_of_stacks(void) {
  note("set %d", fiber_stacks_set_default_size(1 << 20));
  fiber_run(tells_size, NULL, NULL);
  fiber_greenlet* g = NULL;
  fiber_greenlet_new(&g, tells_size, NULL, NULL);
  fiber_greenlet_switch(g, NULL, NULL);
  fiber_greenlet_unref(g);
  note("too small %d", fiber_stacks_set_default_size(1000));
  note("set back %d", fiber_stacks_set_default_size(0));
  fiber_run(tells_size, NULL, NULL);
  note("trimmed %d", fiber_stacks_trim());
}

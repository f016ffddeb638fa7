/* Programs in C that use <fiber/fiber.h>; interface_test.cpp compares their notes. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include <fiber/fiber.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Appends to the list of events, as printf does. Defined by the test. */
void note(const char* format, ...) __attribute__((format(printf, 1, 2)));

void values_go_both_ways(void);
void statuses_go_up_and_down(void);
void a_killed_greenlet_cleans_up(void);
void an_unreferenced_greenlet_is_killed(void);
void a_greenlet_that_refuses_to_end(void);
void what_a_greenlet_knows(void);
void invalid_calls(void);
void another_threads_greenlet(void);
void old_options(void);
void options_without_size(void);
void sizes_of_stacks(void);

void tasks_take_turns(void);
void a_task_returns(void);
void a_task_is_cancelled(void);
void a_future_is_awaited(void);
void limits(void);
void descriptors(void);
void several_tasks_wait_for_a_descriptor(void);
void threads(void);
void a_loop_in_a_loop(void);

#ifdef __cplusplus
}
#endif

#endif

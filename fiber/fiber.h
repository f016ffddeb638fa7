/* Fibers for plain C (C11 and later): greenlets, and tasks in an event loop.
 *
 *   static int hello(void *name, void **result) {
 *     for (int i = 0; i < 3; ++i) {
 *       int status = fiber_sleep(FIBER_SECOND);     ///< others run meanwhile
 *       if (status != FIBER_OK) return status;      ///< cancelled: clean up, and pass it on
 *       printf("hello %s\n", (const char *)name);
 *     }
 *     return FIBER_OK;
 *   }
 *   int status = fiber_run(hello, "world", NULL);
 *   if (status != FIBER_OK) fprintf(stderr, "%s\n", fiber_last_error());
 *
 * Statuses. Functions that can fail return FIBER_OK (0), one of the negative statuses below, or a
 * positive one of the program's own, which a body has returned or fiber_greenlet_throw has sent.
 * The status that a body returns goes to the code that waits for its end. A body that gets a status
 * to end by (FIBER_EXIT, FIBER_CANCELLED) should clean up and return that status. To end by
 * FIBER_EXIT is no error: a greenlet's parent gets FIBER_OK, a task's awaiter FIBER_CANCELLED.
 * On failure the results of a function (made, result, received, ready) are NULL or zero. No C++
 * exception crosses this interface: exceptions of C++ code become statuses, and are thrown again
 * unchanged when a body passes the status on to C++ code.
 *
 * Handles are counted references. A function whose name ends in _new or _spawn, and those that say
 * so, give the caller a reference, to be given back with the _unref of its type. NULL may be given
 * back. Where a handle is wanted NULL is FIBER_INVALID.
 *
 * Threads. Greenlets, tasks, futures and loops belong to the thread that made them, and so do the
 * functions that take them, but for those that say otherwise: on another thread they fail with
 * FIBER_WRONG_THREAD, or, where they return no status, with NULL or zero and a text. Fibers never
 * change threads. To end a future, a worker thread posts to the future's loop (fiber_loop_post).
 * When a thread has ended, a loop that it left open and the loop's futures are any thread's: one
 * thread may close the loop, or run it from then on.
 *
 * Pointers that are passed along (arguments, results, user data) are not looked at, and belong to
 * the program. Structures of options begin with their size, and may be NULL; new members will be
 * added at the end, where zero means the default. A size is that of a struct that ends after one of
 * its members: after the size itself, all others have their defaults. A size that cuts a member in
 * two is FIBER_INVALID; so are members that are not zero beyond those that the library knows.
 */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

#include <stddef.h>
#include <stdint.h>

#define FIBER_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* --- statuses --- */

/* The statuses that bodies, and functions that can fail, return. */
enum fiber_status {
  FIBER_OK = 0,
  FIBER_ERROR = -1,     /* any other error; fiber_last_error() has its text */
  FIBER_INVALID = -2,   /* an impossible argument */
  FIBER_BAD_STATE = -3, /* not now: no loop runs, a result is there already, ... */
  FIBER_NO_MEMORY = -4,
  FIBER_WRONG_THREAD = -5, /* the greenlet, future or loop of another thread */
  FIBER_OS_ERROR = -6,     /* a system call failed; errno has the reason */
  FIBER_TIMEOUT = -7,      /* the limit has passed */
  FIBER_CANCELLED = -8,    /* the waiting task, or the future it waits for, was cancelled */
  FIBER_EXIT = -9,         /* this greenlet must end: it was killed, or has no handles */
  FIBER_INTERRUPTED = -10  /* Ctrl-C */
};

/* Returns a status's meaning in a few words; never NULL. Any thread. */
FIBER_C_API const char* fiber_strerror(int status);

/* Returns the text of the last failure in a call by this thread, "" at first. Valid until the next
   failure: read it before other fibers run. May be called as long as bodies run, also those that
   end with their thread. */
FIBER_C_API const char* fiber_last_error(void);

/* Times are in nanoseconds; as a limit, a negative time means no limit. */
#define FIBER_MILLISECOND INT64_C(1000000)
#define FIBER_SECOND INT64_C(1000000000)
#define FIBER_NO_LIMIT INT64_C(-1)

/* The body of a greenlet or a task. `argument` is the pointer given with the body. `*value` is at
   first, for a greenlet, the pointer that the first switch sent (NULL if none), for a task NULL;
   its last value is the result. */
typedef int fiber_body(void* argument, void** value);

/* --- greenlets: functions that switch to each other --- */

/* A function that runs on a stack of its own. */
typedef struct fiber_greenlet fiber_greenlet;

/* The options of fiber_greenlet_new. */
typedef struct fiber_greenlet_options {
  size_t size;            /* sizeof(fiber_greenlet_options) */
  size_t stack_size;      /* bytes; 0: the default, 256 KiB; only touched pages take memory */
  const char* name;       /* for messages; copied */
  fiber_greenlet* parent; /* control goes there at the end; NULL: the current greenlet */
} fiber_greenlet_options;

/* Makes a greenlet that has not started. Takes no stack yet. FIBER_INVALID for options that cannot
   be, such as a stack of more than 1 TiB. */
FIBER_C_API int fiber_greenlet_new(fiber_greenlet** made, fiber_body* body, void* argument,
                                   const fiber_greenlet_options* options);
/* Returns another reference to the greenlet. */
FIBER_C_API fiber_greenlet* fiber_greenlet_ref(fiber_greenlet* greenlet);
/* Gives a reference back. The last one to a suspended greenlet kills it, as fiber_greenlet_kill
   does. Any thread; the killing is left to the greenlet's own thread. */
FIBER_C_API void fiber_greenlet_unref(fiber_greenlet* greenlet);

/* Continues `target` and hands `value` over. Returns when something switches back to the caller,
   with the value sent then in *received (which may be NULL), or with the status that was thrown at
   the caller, or with which a child of it has ended. A target that has ended passes the value to
   its parent. FIBER_BAD_STATE for a target that waits, or on whose behalf another greenlet waits:
   only its loop continues it. */
FIBER_C_API int fiber_greenlet_switch(fiber_greenlet* target, void* value, void** received);

/* Continues `target` as fiber_greenlet_switch does, but the switch in which `target` is suspended
   returns `status`, which must not be FIBER_OK; a target that has not started ends with
   `status`. */
FIBER_C_API int fiber_greenlet_throw(fiber_greenlet* target, int status, void** received);

/* Ends a greenlet: throws FIBER_EXIT into it. FIBER_BAD_STATE if it has not ended then. */
FIBER_C_API int fiber_greenlet_kill(fiber_greenlet* target);

/* Returns the running greenlet; the thread's main one at first. Not a new reference. NULL only when
   there is no memory, or the thread has ended its fibers. */
FIBER_C_API fiber_greenlet* fiber_greenlet_current(void);
/* Returns the parent, NULL for a main greenlet; not a new reference. */
FIBER_C_API fiber_greenlet* fiber_greenlet_parent(const fiber_greenlet* greenlet);
/* Sets the parent. FIBER_INVALID for a cycle, FIBER_BAD_STATE for a main greenlet. */
FIBER_C_API int fiber_greenlet_set_parent(fiber_greenlet* greenlet, fiber_greenlet* parent);
/* Return 1 or 0. Active: started and not ended. Dead: ended. */
FIBER_C_API int fiber_greenlet_active(const fiber_greenlet* greenlet);
FIBER_C_API int fiber_greenlet_dead(const fiber_greenlet* greenlet);

/* A pointer of the program's for each greenlet (main greenlets and tasks, too); NULL at first. */
FIBER_C_API void* fiber_greenlet_data(const fiber_greenlet* greenlet);
FIBER_C_API int fiber_greenlet_set_data(fiber_greenlet* greenlet, void* data);

/* Copies the name, cut to fit, and returns its length, as snprintf does. */
FIBER_C_API size_t fiber_greenlet_name(const fiber_greenlet* greenlet, char* buffer, size_t size);
/* Sets the name, which is copied. */
FIBER_C_API int fiber_greenlet_set_name(fiber_greenlet* greenlet, const char* name);

/* Return bytes. The size of the greenlet's stack (the requested size while it has no stack, 0 for a
   main greenlet); and the part of it that was touched so far, in whole pages. */
FIBER_C_API size_t fiber_greenlet_stack_size(const fiber_greenlet* greenlet);
FIBER_C_API size_t fiber_greenlet_stack_used(const fiber_greenlet* greenlet);

/* The stacks of the calling thread. The first function sets the size of stacks made from now on,
   for tasks and for greenlets without a stack_size of their own: bytes, 0 for 256 KiB again;
   FIBER_INVALID for less than 16 KiB or more than 1 TiB. The second gives back the memory that idle
   stacks keep for the next fibers. */
FIBER_C_API int fiber_stacks_set_default_size(size_t bytes);
FIBER_C_API int fiber_stacks_trim(void);

/* --- tasks: functions that wait without holding others up --- */

/* A result that is not ready yet. A task is the future of its body's result. */
typedef struct fiber_future fiber_future;
/* An event loop. */
typedef struct fiber_loop fiber_loop;

/* Runs `body` as the first task of a loop of its own, until the body ends; tasks that are left then
   are cancelled. Returns the body's status, with its result in *result (which may be NULL).
   FIBER_BAD_STATE where a loop runs. */
FIBER_C_API int fiber_run(fiber_body* body, void* argument, void** result);

/* Starts a task that runs concurrently; its first step comes when the caller waits. `made` may be
   NULL if the task is of no interest: then an error with which it ends is reported on stderr. */
FIBER_C_API int fiber_spawn(fiber_future** made, fiber_body* body, void* argument,
                            const char* name);

/* Waits in the current task (FIBER_BAD_STATE outside of one). */
FIBER_C_API int fiber_sleep(int64_t nanoseconds);

/* The events for which fiber_wait_fd waits. */
enum fiber_events { FIBER_READABLE = 1, FIBER_WRITABLE = 2 };

/* Waits until a descriptor is ready for one of `events`; *ready (which may be NULL) gets the events
   for which it is ready. A descriptor at its end, or failed, is ready, and so is a file on a disk.
   Several tasks may wait for one descriptor; all of them wake. Closing a descriptor wakes none of
   them: cancel the tasks that wait for it first. */
FIBER_C_API int fiber_wait_fd(int fd, int events, int64_t limit, int* ready);

/* Waits for a future or task; returns its result and status. FIBER_CANCELLED: the future was
   cancelled, or the caller is being cancelled; fiber_future_cancelled tells the two apart. After
   the limit the future is cancelled, and the status FIBER_TIMEOUT once it has ended; but a task
   that swallows the cancellation gives the status and the result with which it ends, such as
   FIBER_OK. FIBER_BAD_STATE for a future of another loop. */
FIBER_C_API int fiber_await(fiber_future* future, int64_t limit, void** result);

/* Runs `function` on a thread of a pool, and waits for its result. The function must call nothing
   of this interface but functions for any thread. */
FIBER_C_API int fiber_to_thread(void* (*function)(void* argument), void* argument, void** result);

/* Makes a future of the running loop, which has not ended. */
FIBER_C_API int fiber_future_new(fiber_future** made);
/* Returns another reference to the future, on its own thread. */
FIBER_C_API fiber_future* fiber_future_ref(fiber_future* future);
/* Gives a reference back. Any thread; on another one the last is left to the future's loop. Needs no
   memory. */
FIBER_C_API void fiber_future_unref(fiber_future* future);
/* End a future, with FIBER_CANCELLED by cancelling it; tasks that wait for it go on.
   FIBER_BAD_STATE if it has ended, and for a task, which ends by itself. */
FIBER_C_API int fiber_future_set_result(fiber_future* future, void* result);
FIBER_C_API int fiber_future_set_status(fiber_future* future, int status);
/* Asks for cancellation: a task's wait returns FIBER_CANCELLED. FIBER_BAD_STATE if it has ended. */
FIBER_C_API int fiber_future_cancel(fiber_future* future);
/* Return 1 or 0. */
FIBER_C_API int fiber_future_done(const fiber_future* future);
FIBER_C_API int fiber_future_cancelled(const fiber_future* future);
/* Returns a future's status and result without waiting. FIBER_BAD_STATE while it has not ended. */
FIBER_C_API int fiber_future_result(fiber_future* future, void** result);
/* Calls `function(argument)` in the loop once the future has ended. The function must not wait. */
FIBER_C_API int fiber_future_on_done(fiber_future* future, void (*function)(void* argument),
                                     void* argument);

/* --- loops --- */

/* Returns the loop that runs in this thread, as a new reference; NULL if no loop runs. */
FIBER_C_API fiber_loop* fiber_loop_running(void);
/* Makes a loop for a main loop of the program's own: see below. Ended by fiber_loop_close. */
FIBER_C_API int fiber_loop_new(fiber_loop** made);
/* Any thread. */
FIBER_C_API fiber_loop* fiber_loop_ref(fiber_loop* loop);
FIBER_C_API void fiber_loop_unref(fiber_loop* loop);

/* Calls `function(argument)` in the loop's thread, soon. Any thread. The function must not wait,
   but may spawn a task or end a future. FIBER_BAD_STATE if the loop is closed. */
FIBER_C_API int fiber_loop_post(fiber_loop* loop, void (*function)(void* argument), void* argument);

/* The counterparts of fiber_spawn and fiber_future_new for a loop that does not run at the moment.
   FIBER_BAD_STATE if the loop is closed. */
FIBER_C_API int fiber_loop_spawn(fiber_loop* loop, fiber_future** made, fiber_body* body,
                                 void* argument, const char* name);
FIBER_C_API int fiber_loop_future_new(fiber_loop* loop, fiber_future** made);

/* For a program with a main loop of its own. The first function returns a descriptor that is
   readable when the loop has work, -1 on failure; the second does that work, and does not wait.
   fiber_loop_poll_timeout returns milliseconds as poll() takes them, -1 for no limit, for programs
   that do not rely on the descriptor for timers; 0 on failure. */
FIBER_C_API int fiber_loop_fileno(fiber_loop* loop);
FIBER_C_API int fiber_loop_run_ready(fiber_loop* loop);
FIBER_C_API int fiber_loop_poll_timeout(fiber_loop* loop);
/* Closes a loop. Nothing is cancelled: tasks and futures that have not ended are dropped. */
FIBER_C_API int fiber_loop_close(fiber_loop* loop);

/* --- blocking calls of libc, in the library fiber-monkey: see <fiber/monkey.hpp> --- */

/* How cancellation cuts a patched call short: the call fails with ECANCELED, or with EINTR, or
   waits to its end. FIBER_CANCEL_DEFAULT: the way known to be right for the object, else
   FIBER_CANCEL_ERROR. */
enum fiber_cancel {
  FIBER_CANCEL_DEFAULT = 0,
  FIBER_CANCEL_ERROR = 1,
  FIBER_CANCEL_INTERRUPT = 2,
  FIBER_CANCEL_NEVER = 3
};

/* The options of fiber_patch_all and fiber_patch_library. */
typedef struct fiber_patch_options {
  size_t size;      /* sizeof(fiber_patch_options) */
  int cancel;       /* enum fiber_cancel */
  int dependencies; /* not 0: also the libraries that the named one needs */
  int future;       /* > 0: also objects loaded later; < 0: not; 0: only by fiber_patch_all */
} fiber_patch_options;

/* Patch all loaded objects, or one by its name or path. `count` gets the number of replaced calls;
   it may be NULL, and gets 0 on failure. FIBER_INVALID: no such object is loaded, its name is
   empty, or the options cannot be. Any thread; so for the three functions below. */
FIBER_C_API int fiber_patch_all(const fiber_patch_options* options, size_t* count);
FIBER_C_API int fiber_patch_library(const char* name, const fiber_patch_options* options,
                                    size_t* count);
/* Put back all replaced calls, or those of one object. NULL: none. */
FIBER_C_API void fiber_unpatch(void);
FIBER_C_API void fiber_unpatch_library(const char* name);
/* Returns a JSON text of what is patched and what blocks all the same, to be freed with free().
   NULL on failure. */
FIBER_C_API char* fiber_patch_report(void);
/* Sets the time, in nanoseconds, that patched calls of the current task may wait in all once one
   was cut short: ten minutes at most. FIBER_BAD_STATE outside of a task. */
FIBER_C_API int fiber_patch_grace(int64_t limit);

#ifdef __cplusplus
}
#endif

#endif

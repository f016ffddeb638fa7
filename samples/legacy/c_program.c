// c_program: tasks and a greenlet in plain C, with <fiber/fiber.h>.
//
// A lexer and a parser, each written as a loop of its own: the lexer hands every token over by a
// switch. And three clients that wait at the same time.
#include <ctype.h>
#include <fiber/fiber.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a generator by greenlets --- */

struct token {
  char text[20];
};

/* Switches to its parent with each token; NULL at the end. */
static int lexer(void* argument, void** value) {
  const char* at = argument;
  (void)value;
  while (*at != '\0') {
    struct token token = {{*at, '\0'}};
    if (isspace((unsigned char)*at)) {
      ++at;
      continue;
    }
    size_t size = isdigit((unsigned char)*at) ? strspn(at, "0123456789") : 1;
    memcpy(token.text, at, size);
    at += size;
    int status =
        fiber_greenlet_switch(fiber_greenlet_parent(fiber_greenlet_current()), &token, NULL);
    if (status != FIBER_OK) {
      puts("lexer: told to end");
      return status;
    }
  }
  return FIBER_OK;
}

/* "1 + 20 + 3" */
static int sum(fiber_greenlet* tokens, int limit) {
  int result = 0;
  void* received = NULL;
  while (fiber_greenlet_switch(tokens, NULL, &received) == FIBER_OK && received != NULL) {
    const struct token* token = received;
    if (isdigit((unsigned char)token->text[0])) result += atoi(token->text);
    if (result > limit) break;
  }
  return result;
}

static void parse(void* text, int limit) {
  fiber_greenlet* tokens = NULL;
  if (fiber_greenlet_new(&tokens, lexer, text, NULL) != FIBER_OK) {
    puts(fiber_last_error());
    return;
  }
  printf("%s = %d\n", (char*)text, sum(tokens, limit));
  fiber_greenlet_unref(tokens); /* a lexer that is not at its end is told so */
}

/* --- tasks --- */

struct client {
  const char* name;
  int64_t pause;
  int answer;
};

static int serve(void* argument, void** result) {
  struct client* its = argument;
  int status = fiber_sleep(its->pause);
  if (status != FIBER_OK) {
    printf("%s: %s\n", its->name, fiber_strerror(status));
    return status;
  }
  printf("%s is served\n", its->name);
  its->answer = (int)strlen(its->name);
  *result = &its->answer;
  return its->answer == 5 ? 42 : FIBER_OK; /* a status of our own */
}

static int serve_all(void* argument, void** result) {
  struct client* clients = argument;
  fiber_future* tasks[3];
  (void)result;
  for (int i = 0; i < 3; ++i) {
    int status = fiber_spawn(&tasks[i], serve, &clients[i], clients[i].name);
    if (status == FIBER_OK) continue;
    while (i-- > 0) fiber_future_unref(tasks[i]);
    return status;
  }
  for (int i = 0; i < 3; ++i) {
    void* answer = NULL;
    int status = fiber_await(tasks[i], 200 * FIBER_MILLISECOND, &answer);
    printf("%s: status %d (%s), answer %d\n", clients[i].name, status, fiber_strerror(status),
           answer != NULL ? *(int*)answer : 0);
    fiber_future_unref(tasks[i]);
  }
  return FIBER_OK;
}

int main(void) {
  parse("1 + 20 + 3", 100);
  parse("70 + 50 + 3", 100);
  /* They outlive the tasks, all of which end with fiber_run. */
  struct client clients[] = {{"Ada", 60 * FIBER_MILLISECOND, 0},
                             {"Bella", 20 * FIBER_MILLISECOND, 0},
                             {"Charlotte", 3600 * FIBER_SECOND, 0}};
  int status = fiber_run(serve_all, clients, NULL);
  if (status != FIBER_OK) fprintf(stderr, "%s\n", fiber_last_error());
  return status != FIBER_OK;
}
